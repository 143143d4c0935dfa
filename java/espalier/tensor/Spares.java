// SPDX-License-Identifier: Apache-2.0
package espalier.tensor;

import java.util.ArrayDeque;
import java.util.Collections;
import java.util.Deque;
import java.util.IdentityHashMap;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;

/**
 * Memory that was used and may be used again, by size; see {@link Context#keepMemory}. Only what was
 * allocated here is kept here.
 */
public final class Spares implements AutoCloseable {
  /** Sizes are rounded up to this, so that results a few rows apart can take each other's place. */
  private static final long GRAIN = 1 << 16;

  private final long mostBytes;
  private final Runnable atClose;
  private final TreeMap<Long, Deque<Storage>> unused = new TreeMap<>();
  private final Set<Storage> lent = Collections.newSetFromMap(new IdentityHashMap<>());
  private long unusedBytes;

  Spares(long mostBytes, Runnable atClose) {
    this.mostBytes = mostBytes;
    this.atClose = atClose;
  }

  /** Returns memory of at least so many bytes, and at most half as many again and a grain. */
  Storage take(long bytes) {
    Map.Entry<Long, Deque<Storage>> fitting = unused.ceilingEntry(bytes);
    Storage storage;
    if (fitting != null && fitting.getKey() <= bytes + bytes / 2 + GRAIN) {
      storage = fitting.getValue().pop();
      unusedBytes -= storage.sizeBytes();
      if (fitting.getValue().isEmpty()) {
        unused.remove(fitting.getKey());
      }
    } else {
      storage = Storage.allocate((bytes + GRAIN - 1) / GRAIN * GRAIN);
    }
    lent.add(storage);
    return storage;
  }

  /** Takes memory back; returns false when it is not from here or would be too much. */
  boolean keep(Storage storage) {
    boolean mine = lent.remove(storage) && storage.isOpen();
    if (!mine || unusedBytes + storage.sizeBytes() > mostBytes) {
      return false;
    }
    unusedBytes += storage.sizeBytes();
    unused.computeIfAbsent(storage.sizeBytes(), size -> new ArrayDeque<>()).push(storage);
    return true;
  }

  /** Frees what is unused; what is in use stays so and is freed as any other memory. */
  @Override
  public void close() {
    unused.values().forEach(storages -> storages.forEach(Storage::close));
    unused.clear();
    unusedBytes = 0;
    lent.clear();
    atClose.run();
  }
}
