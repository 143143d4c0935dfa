// SPDX-License-Identifier: Apache-2.0
package espalier.tensor;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import org.bytedeco.javacpp.BytePointer;
import org.bytedeco.javacpp.Pointer;

/**
 * An immutable row-major view into a {@link Storage}. It never owns: whoever owns the storage
 * closes it. The data behind a view of allocated memory may change; the view does not.
 */
public final class Tensor {
  private final Storage storage;
  private final long offsetBytes;
  private final DType dtype;
  private final Shape shape;
  private final long sizeBytes;

  /**
   * Creates a view of {@code shape} elements from {@code offsetBytes} on.
   *
   * @throws IllegalArgumentException if the view does not lie inside the storage
   */
  public Tensor(Storage storage, long offsetBytes, DType dtype, Shape shape) {
    this.storage = storage;
    this.offsetBytes = offsetBytes;
    this.dtype = dtype;
    this.shape = shape;
    this.sizeBytes = dtype.bytes(shape.elements());
    if (offsetBytes < 0 || offsetBytes > storage.sizeBytes() - sizeBytes) {
      throw new IllegalArgumentException(
          dtype + shape.toString() + " at byte " + offsetBytes + " is outside " + storage);
    }
  }

  public Storage storage() {
    return storage;
  }

  public DType dtype() {
    return dtype;
  }

  public Shape shape() {
    return shape;
  }

  /** Returns dimension {@code i} of the shape; negative indices count from the end. */
  public long dimension(int i) {
    return shape.dimension(i);
  }

  public long elements() {
    return shape.elements();
  }

  public long sizeBytes() {
    return sizeBytes;
  }

  /**
   * Returns the native address of the first element.
   *
   * @throws IllegalStateException if the storage is closed
   */
  public long address() {
    return storage.address() + offsetBytes;
  }

  /** Returns the same bytes under another shape of as many elements. */
  public Tensor reshape(long... dimensions) {
    Shape other = Shape.of(dimensions);
    if (other.elements() != shape.elements()) {
      throw new IllegalArgumentException("cannot view " + shape + " as " + other);
    }
    return new Tensor(storage, offsetBytes, dtype, other);
  }

  /** Returns rows [{@code from}, {@code to}) of the first dimension. */
  public Tensor rows(long from, long to) {
    long[] dimensions = shape.toArray();
    if (dimensions.length == 0 || from < 0 || to < from || to > dimensions[0]) {
      throw new IndexOutOfBoundsException("rows " + from + ".." + to + " of " + shape);
    }
    long rowBytes = dimensions[0] == 0 ? 0 : sizeBytes / dimensions[0];
    dimensions[0] = to - from;
    return new Tensor(storage, offsetBytes + from * rowBytes, dtype, Shape.of(dimensions));
  }

  /** Tells the system that a mapped or spilled tensor's pages are not needed for now. */
  public void forget() {
    storage.forget(offsetBytes, sizeBytes);
  }

  /** Does the same for {@code bytes} bytes from {@code from} on. */
  public void forget(long from, long bytes) {
    storage.forget(offsetBytes + from, bytes);
  }

  /**
   * Returns a direct little-endian buffer over at most 2 GiB of this tensor. It is valid while the
   * storage is open; a mapped tensor's buffer must not be written.
   */
  public ByteBuffer buffer() {
    return buffer(0, sizeBytes);
  }

  /** Returns a direct little-endian buffer over {@code bytes} bytes from {@code from} on. */
  public ByteBuffer buffer(long from, long bytes) {
    if (from < 0 || bytes < 0 || bytes > Integer.MAX_VALUE || from > sizeBytes - bytes) {
      throw new IndexOutOfBoundsException(bytes + " bytes at " + from + " of " + this);
    }
    if (bytes == 0) {
      return ByteBuffer.allocateDirect(0).order(ByteOrder.LITTLE_ENDIAN);
    }
    // Not owned by the pointer (no deallocator), so JavaCPP's accounting never sees it.
    BytePointer pointer = new BytePointer(new Address(address() + from));
    pointer.capacity(bytes);
    return pointer.asBuffer().order(ByteOrder.LITTLE_ENDIAN);
  }

  /** Copies an F32 tensor into a new array. */
  public float[] toFloats() {
    require(DType.F32);
    ByteBuffer bytes = buffer();
    float[] values = new float[Math.toIntExact(elements())];
    bytes.asFloatBuffer().get(values);
    return values;
  }

  /** Copies an F64 tensor into a new array. */
  public double[] toDoubles() {
    require(DType.F64);
    ByteBuffer bytes = buffer();
    double[] values = new double[Math.toIntExact(elements())];
    bytes.asDoubleBuffer().get(values);
    return values;
  }

  /** Copies an I32 tensor into a new array. */
  public int[] toInts() {
    require(DType.I32);
    ByteBuffer bytes = buffer();
    int[] values = new int[Math.toIntExact(elements())];
    bytes.asIntBuffer().get(values);
    return values;
  }

  /** Copies the raw bytes of any tensor below 2 GiB into a new array. */
  public byte[] toBytes() {
    ByteBuffer bytes = buffer();
    byte[] values = new byte[Math.toIntExact(sizeBytes)];
    bytes.get(values);
    return values;
  }

  /** Overwrites an F32 tensor. */
  public Tensor fill(float[] values) {
    require(DType.F32);
    requireLength(values.length);
    buffer().asFloatBuffer().put(values);
    return this;
  }

  /** Overwrites an I32 tensor. */
  public Tensor fill(int[] values) {
    require(DType.I32);
    requireLength(values.length);
    buffer().asIntBuffer().put(values);
    return this;
  }

  /** Overwrites the raw bytes of any tensor. */
  public Tensor fill(byte[] values) {
    if (values.length != sizeBytes) {
      throw new IllegalArgumentException(values.length + " bytes into " + this);
    }
    buffer().put(values);
    return this;
  }

  private void require(DType wanted) {
    if (dtype != wanted) {
      throw new IllegalArgumentException("expected " + wanted + ", not " + this);
    }
  }

  private void requireLength(long length) {
    if (length != elements()) {
      throw new IllegalArgumentException(length + " values into " + this);
    }
  }

  @Override
  public String toString() {
    return dtype + shape.toString();
  }

  /** A bare address for JavaCPP. */
  private static final class Address extends Pointer {
    Address(long address) {
      super((Pointer) null);
      this.address = address;
    }
  }
}
