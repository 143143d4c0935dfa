// SPDX-License-Identifier: Apache-2.0
package espalier.tensor;

import java.util.ArrayDeque;
import java.util.Collections;
import java.util.Deque;
import java.util.IdentityHashMap;
import java.util.Set;

/**
 * Memory that was used and may be used again; see {@link Context#keepMemory}. Only what was
 * allocated here is kept here; what was not asked for longest goes first.
 */
public final class Spares implements AutoCloseable {
  private static final long LEAST = 1 << 16;

  private final long mostBytes;
  private final Runnable atClose;
  private final Deque<Storage> unused = new ArrayDeque<>(); // oldest first
  private final Set<Storage> lent = Collections.newSetFromMap(new IdentityHashMap<>());
  private long unusedBytes;

  Spares(long mostBytes, Runnable atClose) {
    this.mostBytes = mostBytes;
    this.atClose = atClose;
  }

  /** Returns memory of at least so many bytes, and at most a quarter more and a grain. */
  Storage take(long bytes) {
    Storage best = null;
    for (Storage storage : unused) {
      long size = storage.sizeBytes();
      boolean fits = size >= bytes && size <= bytes + bytes / 4 + LEAST;
      if (fits && (best == null || size <= best.sizeBytes())) {
        best = storage;
      }
    }
    if (best == null) {
      best = Storage.allocate(rounded(bytes));
    } else {
      unused.remove(best);
      unusedBytes -= best.sizeBytes();
    }
    lent.add(best);
    return best;
  }

  /**
   * Rounds up by at most an eighth, to eighths of a power of two, so that results a few rows apart
   * can take each other's place.
   */
  private static long rounded(long bytes) {
    long grain = Math.max(LEAST, Long.highestOneBit(Math.max(1, bytes)) / 8);
    return (bytes + grain - 1) / grain * grain;
  }

  /** Takes memory back; returns false when it is not from here. */
  boolean keep(Storage storage) {
    if (!lent.remove(storage) || !storage.isOpen()) {
      return false;
    }
    unused.addLast(storage);
    unusedBytes += storage.sizeBytes();
    while (unusedBytes > mostBytes) {
      Storage oldest = unused.removeFirst();
      unusedBytes -= oldest.sizeBytes();
      oldest.close();
    }
    return true;
  }

  /** Frees what is unused; what is in use stays so and is freed as any other memory. */
  @Override
  public void close() {
    unused.forEach(Storage::close);
    unused.clear();
    unusedBytes = 0;
    lent.clear();
    atClose.run();
  }
}
