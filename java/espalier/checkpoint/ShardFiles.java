// SPDX-License-Identifier: Apache-2.0
package espalier.checkpoint;

import espalier.report.EspalierException;
import espalier.tensor.Tensor;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.HashMap;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.zip.CRC32C;

/**
 * The weight files of a {@link ShardPlan} on the disk. They have their full length and their
 * headers from the start; tensors come in any order, straight to their places, and their checksums
 * (CRC-32C) are kept, so that a later process can tell what is there from what is not.
 */
final class ShardFiles {
  private static final long CHUNK_BYTES = 1L << 26;
  private static final int READ_BYTES = 1 << 20;

  private final Path folder;
  private final ShardPlan plan;
  private final Map<String, Place> places = new HashMap<>();
  private final Map<String, Long> checksums = new TreeMap<>();
  private final Set<Path> unsynced = new TreeSet<>();

  /** Where a tensor goes. */
  record Place(Path file, TensorEntry entry) {}

  ShardFiles(Path folder, ShardPlan plan) {
    this.folder = folder;
    this.plan = plan;
    for (SafetensorsLayout shard : plan.shards()) {
      Path file = folder.resolve(shard.fileName());
      shard.entries().forEach(e -> places.put(e.name(), new Place(file, e)));
    }
  }

  /** Makes the files, none of which may exist, and checks that the disk has room for them. */
  void create() throws IOException {
    requireSpace(plan.fileBytes());
    unsynced.add(folder);
    unsynced.add(folder.getParent());
    for (SafetensorsLayout shard : plan.shards()) {
      Path file = folder.resolve(shard.fileName());
      try (FileChannel channel =
          FileChannel.open(file, StandardOpenOption.WRITE, StandardOpenOption.CREATE_NEW)) {
        put(channel, 0, shard.head());
        if (shard.fileBytes() > channel.size()) {
          put(channel, shard.fileBytes() - 1, ByteBuffer.allocate(1));
        }
      }
      unsynced.add(file);
    }
    if (plan.index().isPresent()) {
      Path file = folder.resolve(plan.indexName());
      Files.writeString(file, plan.index().get(), StandardOpenOption.CREATE_NEW);
      unsynced.add(file);
    }
  }

  /**
   * Takes over the files of an earlier process.
   *
   * @param written the tensors that process wrote and synced, with their checksums
   * @throws EspalierException (INPUT) naming the file that is not as that process left it
   */
  void adopt(Map<String, Long> written) throws IOException {
    for (SafetensorsLayout shard : plan.shards()) {
      Path file = folder.resolve(shard.fileName());
      if (!Files.isRegularFile(file)) {
        throw damaged(file, "is missing");
      }
      if (Files.size(file) != shard.fileBytes()) {
        throw damaged(file, "has " + Files.size(file) + " bytes, expected " + shard.fileBytes());
      }
      try (FileChannel channel = FileChannel.open(file, StandardOpenOption.READ)) {
        ByteBuffer head = shard.head();
        if (!read(channel, 0, ByteBuffer.allocate(head.remaining())).equals(head)) {
          throw damaged(file, "has another header");
        }
        for (TensorEntry entry : shard.entries()) {
          Long expected = written.get(entry.name());
          if (expected != null && checksum(channel, entry) != expected) {
            throw damaged(file, TensorSpec.quoted(entry.name()) + " is not what was written");
          }
        }
      }
    }
    if (plan.index().isPresent()) {
      Files.writeString(folder.resolve(plan.indexName()), plan.index().get());
    }
    for (Map.Entry<String, Long> tensor : written.entrySet()) {
      if (!places.containsKey(tensor.getKey())) {
        throw damaged(folder, "there is no tensor " + TensorSpec.quoted(tensor.getKey()));
      }
      checksums.put(tensor.getKey(), tensor.getValue());
    }
    requireSpace(
        places.values().stream()
            .filter(place -> !isWritten(place.entry().name()))
            .mapToLong(place -> place.entry().sizeBytes())
            .sum());
  }

  private static EspalierException damaged(Path file, String what) {
    return EspalierException.input(
        file + ": " + what + "; the run cannot go on from it",
        "Restore the file; or " + PartialFolder.ADVICE + ".");
  }

  private void requireSpace(long bytes) throws IOException {
    long free = Files.getFileStore(folder).getUsableSpace();
    // Some file systems answer 0 for "unknown"; a full one will say so at the first write.
    if (free > 0 && free < bytes) {
      throw new IOException("No space left: " + bytes + " bytes needed, " + free + " free");
    }
  }

  /** Returns the place of a tensor, or null when there is none of that name. */
  Place place(String name) {
    return places.get(name);
  }

  /** Returns whether all of a tensor has been written. */
  boolean isWritten(String name) {
    return checksums.containsKey(name);
  }

  /** Returns the checksums of the written tensors, by name. */
  Map<String, Long> checksums() {
    return new TreeMap<>(checksums);
  }

  void write(Place place, Tensor data) throws IOException {
    try (FileChannel channel = FileChannel.open(place.file(), StandardOpenOption.WRITE)) {
      CRC32C sum = new CRC32C();
      for (long at = 0; at < data.sizeBytes(); at += CHUNK_BYTES) {
        ByteBuffer bytes = data.buffer(at, Math.min(CHUNK_BYTES, data.sizeBytes() - at));
        sum.update(bytes.duplicate());
        put(channel, place.entry().offsetBytes() + at, bytes);
        data.forget(at, Math.min(CHUNK_BYTES, data.sizeBytes() - at));
      }
      written(place, sum);
    }
  }

  void write(Place place, ByteBuffer data) throws IOException {
    try (FileChannel channel = FileChannel.open(place.file(), StandardOpenOption.WRITE)) {
      CRC32C sum = new CRC32C();
      sum.update(data.duplicate());
      put(channel, place.entry().offsetBytes(), data.duplicate());
      written(place, sum);
    }
  }

  private void written(Place place, CRC32C sum) {
    checksums.put(place.entry().name(), sum.getValue());
    unsynced.add(place.file());
  }

  /** Puts all that was written since the last call on the disk, names of files included. */
  void sync() throws IOException {
    for (Path file : unsynced) {
      DurableFiles.sync(file);
    }
    unsynced.clear();
  }

  /** Reads in small parts: a mapping would count as memory of the run. */
  private static long checksum(FileChannel channel, TensorEntry entry) throws IOException {
    CRC32C sum = new CRC32C();
    ByteBuffer part = ByteBuffer.allocate(READ_BYTES);
    for (long at = entry.offsetBytes(); at < entry.endBytes(); at += part.limit()) {
      part.clear().limit((int) Math.min(READ_BYTES, entry.endBytes() - at));
      sum.update(read(channel, at, part));
    }
    return sum.getValue();
  }

  private static ByteBuffer read(FileChannel channel, long from, ByteBuffer to) throws IOException {
    while (to.hasRemaining()) {
      if (channel.read(to, from + to.position()) < 0) {
        throw new IOException("the file became shorter while it was read");
      }
    }
    return to.flip();
  }

  private static void put(FileChannel channel, long position, ByteBuffer bytes) throws IOException {
    long at = position;
    while (bytes.hasRemaining()) {
      at += channel.write(bytes, at);
    }
  }
}
