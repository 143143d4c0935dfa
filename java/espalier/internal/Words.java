// SPDX-License-Identifier: Apache-2.0
package espalier.internal;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import org.bytedeco.javacpp.Pointer;

/**
 * A few zeroed 64-bit words of native memory, where C functions find arguments and leave results.
 * JavaCPP's own pointers would do, but each allocation of theirs throws OutOfMemoryError once the
 * process holds four times the Java heap, which our tensors do as a matter of course. Freed with
 * the object.
 */
public final class Words {
  private final ByteBuffer bytes;
  private final long address;

  /** Makes {@code count} words. */
  public Words(int count) {
    bytes = ByteBuffer.allocateDirect(count * Long.BYTES).order(ByteOrder.nativeOrder());
    // A pointer over a buffer owns nothing and is not accounted.
    address = new Pointer(bytes).address();
  }

  /** Returns the native address of word {@code i}. */
  public long address(int i) {
    return address + (long) i * Long.BYTES;
  }

  /** Returns word {@code i}. Reading also keeps the memory alive up to here. */
  public long get(int i) {
    return bytes.getLong(i * Long.BYTES);
  }

  /** Overwrites word {@code i}. */
  public void set(int i, long value) {
    bytes.putLong(i * Long.BYTES, value);
  }

  /** Returns word {@code i} as a double. */
  public double getDouble(int i) {
    return bytes.getDouble(i * Long.BYTES);
  }
}
