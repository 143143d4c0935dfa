// SPDX-License-Identifier: Apache-2.0
package espalier.tensor;

import espalier.internal.Abi;
import espalier.internal.Native;
import espalier.internal.Words;
import espalier.report.EspalierException;
import java.nio.file.Files;
import java.nio.file.Path;

/**
 * Owns one region of memory: allocated on the host, a file mapped read-only, or memory that lives
 * in a file of its own. Whoever created it closes it; any use of its address after that fails in
 * Java, not in native code. Safe to share between threads for reading; close it once, when nobody
 * computes with it.
 */
public final class Storage implements AutoCloseable {
  private enum Kind {
    ALLOCATED,
    MAPPED,
    SPILLED
  }

  private final Kind kind;
  private final long sizeBytes;
  private final String name;
  private volatile long address;
  private volatile boolean open = true;

  private Storage(Kind kind, long address, long sizeBytes, String name) {
    this.kind = kind;
    this.address = address;
    this.sizeBytes = sizeBytes;
    this.name = name;
  }

  /**
   * Allocates zeroed host memory, aligned to 64 bytes. The caller closes the result.
   *
   * @throws EspalierException (RESOURCE) when memory is exhausted
   */
  public static Storage allocate(long sizeBytes) {
    Words out = new Words(1);
    Native.check(Abi.esp_memory_allocate(sizeBytes, out.address(0)));
    return new Storage(Kind.ALLOCATED, out.get(0), sizeBytes, "memory");
  }

  /** Does the same for memory of which parts will never be touched, and then take no room. */
  public static Storage allocateSparse(long sizeBytes) {
    Storage storage = allocate(sizeBytes);
    Native.check(Abi.esp_memory_sparse(storage.address, sizeBytes));
    return storage;
  }

  /**
   * Maps a whole file read-only; files beyond 2 GiB are fine. The caller closes the result.
   *
   * @throws EspalierException (INPUT) when the file is missing or unreadable
   */
  public static Storage map(Path file) {
    if (!Files.isRegularFile(file)) {
      throw EspalierException.input(file + ": not a readable file", "Check the path.");
    }
    Words out = new Words(2);
    Native.check(Abi.esp_file_map(file.toString(), out.address(0), out.address(1)));
    return new Storage(Kind.MAPPED, out.get(0), out.get(1), file.toString());
  }

  /**
   * Makes zeroed memory that lives in an unnamed file of a folder, so that its pages may leave
   * memory by {@link #forget} and keep their content. The file goes with {@link #close}, or with
   * the process however that ends.
   *
   * @param sizeBytes more than 0; the disk sets that much aside at once
   * @throws EspalierException (RESOURCE) when the disk has no room
   */
  public static Storage spill(Path folder, long sizeBytes) {
    Words out = new Words(1);
    try {
      Native.check(Abi.esp_file_spill(folder.toString(), sizeBytes, out.address(0)));
    } catch (EspalierException e) {
      throw EspalierException.resource(
          folder + ": no room for " + sizeBytes + " bytes of temporary data: " + e.getMessage(),
          "Free some space, or choose another disk for the output.",
          e);
    }
    return new Storage(Kind.SPILLED, out.get(0), sizeBytes, "spilled memory");
  }

  public long sizeBytes() {
    return sizeBytes;
  }

  public Device device() {
    return Device.HOST;
  }

  /** Returns whether this is a read-only file mapping. */
  public boolean isMapped() {
    return kind == Kind.MAPPED;
  }

  public boolean isOpen() {
    return open;
  }

  /**
   * Returns the native address of the first byte.
   *
   * @throws IllegalStateException after close
   */
  public long address() {
    if (!open) {
      throw new IllegalStateException("storage of " + name + " is closed");
    }
    return address;
  }

  /**
   * Tells the system that the pages of a mapped or spilled range are not needed for now. No effect
   * on data, nor on allocated memory.
   */
  public void forget(long offsetBytes, long bytes) {
    if (kind != Kind.ALLOCATED) {
      Native.check(Abi.esp_file_forget(address() + offsetBytes, bytes));
    }
  }

  @Override
  public synchronized void close() {
    if (!open) {
      return;
    }
    open = false;
    long freed = address;
    address = 0;
    if (kind != Kind.ALLOCATED) {
      Native.check(Abi.esp_file_unmap(freed, sizeBytes));
    } else {
      Native.check(Abi.esp_memory_free(freed, sizeBytes));
    }
  }

  @Override
  public String toString() {
    return name + " (" + sizeBytes + " bytes" + (open ? ")" : ", closed)");
  }
}
