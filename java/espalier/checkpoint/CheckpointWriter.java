// SPDX-License-Identifier: Apache-2.0
package espalier.checkpoint;

import espalier.report.EspalierException;
import espalier.report.EspalierException.Kind;
import espalier.report.Event;
import espalier.tensor.DType;
import espalier.tensor.Shape;
import espalier.tensor.Tensor;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.ClosedByInterruptException;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;

/**
 * Writes a model folder so that it appears whole or not at all.
 *
 * <p>Use, in this order: {@link #create}; {@link #declare} every tensor, in the order of sharding;
 * {@link #begin}, which fixes the layout (see {@link ShardPlan}), checks the free space and writes
 * the headers; {@link #write} each tensor once, in any order, straight to its final place, nothing
 * is held back; {@link #finish}, which checks that nothing is missing, syncs and renames {@code
 * OUT.partial} to {@code OUT} ({@link #seal} before it, to look at the result first). Text files
 * and copies may be added any time before finish.
 *
 * <p>{@link #close()} without finish removes everything, and so does any failure of the disk. One
 * thread at a time.
 */
public final class CheckpointWriter implements AutoCloseable {
  /** What {@code __metadata__} of every weight file says unless more is added. */
  public static final Map<String, String> METADATA = Map.of("format", "pt");

  /** Of a mapped tensor no more than this is in memory while it is copied. */
  private static final long CHUNK_BYTES = 1L << 26;

  private final PartialFolder folder;
  private final long shardBytes;
  private final List<Event> events;
  private final Map<String, String> metadata = new TreeMap<>(METADATA);
  private final Map<String, TensorSpec> declared = new LinkedHashMap<>();
  private final Map<String, Place> pending = new HashMap<>();
  private final Set<String> files = new HashSet<>();
  private String stem = "model";
  private ShardPlan plan;
  private boolean sealed;
  private boolean open = true;

  private record Place(Path file, TensorEntry entry) {}

  private interface Work {
    void run() throws IOException;
  }

  private CheckpointWriter(PartialFolder folder, long shardBytes, List<Event> events) {
    this.folder = folder;
    this.shardBytes = shardBytes;
    this.events = events;
  }

  /**
   * Claims an output folder, which must be absent. The caller closes the result.
   *
   * @param shardBytes the most tensor data in one file, see {@link ShardPlan#DEFAULT_SHARD_BYTES}
   * @throws EspalierException (USAGE) when the output stands in the way or the limit is not
   *     positive; (RESOURCE) when it cannot be made
   */
  public static CheckpointWriter create(Path out, long shardBytes) {
    if (shardBytes <= 0) {
      throw EspalierException.usage("shard size " + shardBytes + " is not positive", "Try 5e9.");
    }
    List<Event> events = new ArrayList<>();
    return new CheckpointWriter(PartialFolder.create(out, events), shardBytes, events);
  }

  /** Names the weight files {@code STEM.safetensors} instead of {@code model.safetensors}. */
  public void stem(String name) {
    requireBegun(false);
    if (!ShardIndex.isPlain(name)) {
      throw new IllegalArgumentException(name + " is not a plain file name");
    }
    stem = name;
  }

  /** Adds a pair to {@code __metadata__} of every weight file, beside {@code format = pt}. */
  public void metadata(String key, String value) {
    requireBegun(false);
    metadata.put(requireText(key), requireText(value));
  }

  /**
   * Announces a tensor. The order of announcing is the order of sharding.
   *
   * @throws IllegalArgumentException when the name is taken or cannot be stored
   */
  public void declare(TensorSpec spec) {
    requireBegun(false);
    requireText(spec.name());
    SafetensorsLayout.checkedBytes(spec);
    if (spec.name().equals("__metadata__")) {
      throw new IllegalArgumentException("__metadata__ cannot be the name of a tensor");
    }
    if (declared.putIfAbsent(spec.name(), spec) != null) {
      throw new IllegalArgumentException("tensor " + spec + " is declared twice");
    }
  }

  /** Announces a tensor, see {@link #declare(TensorSpec)}. */
  public void declare(String name, DType dtype, Shape shape) {
    declare(new TensorSpec(name, dtype, shape));
  }

  /**
   * Fixes the layout and writes the headers.
   *
   * @return the layout, to the byte
   * @throws EspalierException (RESOURCE) when the disk has less room than the weights need
   */
  public ShardPlan begin() {
    requireBegun(false);
    ShardPlan layout = ShardPlan.of(declared.values(), stem, shardBytes, metadata);
    for (String name : layout.fileNames()) {
      claim(name);
    }
    guarded(
        () -> {
          long free = Files.getFileStore(folder.path()).getUsableSpace();
          // Some file systems answer 0 for "unknown"; a full one will say so at the first write.
          if (free > 0 && free < layout.fileBytes()) {
            throw new IOException(
                "No space left: " + layout.fileBytes() + " bytes needed, " + free + " free");
          }
          for (SafetensorsLayout shard : layout.shards()) {
            Path file = folder.path().resolve(shard.fileName());
            try (FileChannel channel =
                FileChannel.open(file, StandardOpenOption.WRITE, StandardOpenOption.CREATE_NEW)) {
              put(channel, 0, shard.head());
            }
            shard.entries().forEach(e -> pending.put(e.name(), new Place(file, e)));
          }
        });
    plan = layout;
    return layout;
  }

  /**
   * Writes one tensor from host memory or a mapped file.
   *
   * @throws IllegalArgumentException when it was not declared so, or was written before
   * @throws EspalierException (RESOURCE) when the disk fails; the output is then removed
   */
  public void write(String name, Tensor data) {
    Place place = take(name);
    if (data.dtype() != place.entry.dtype() || !data.shape().equals(place.entry.shape())) {
      throw new IllegalArgumentException(data + " written to " + place.entry.spec());
    }
    guarded(
        () -> {
          try (FileChannel channel = FileChannel.open(place.file, StandardOpenOption.WRITE)) {
            for (long at = 0; at < data.sizeBytes(); at += CHUNK_BYTES) {
              long count = Math.min(CHUNK_BYTES, data.sizeBytes() - at);
              put(channel, place.entry.offsetBytes() + at, data.buffer(at, count));
              data.forget(at, count);
            }
          }
        });
    pending.remove(name);
  }

  /**
   * Writes the raw little-endian bytes of one tensor, otherwise as {@link #write(String, Tensor)}.
   */
  public void write(String name, ByteBuffer bytes) {
    Place place = take(name);
    if (bytes.remaining() != place.entry.sizeBytes()) {
      throw new IllegalArgumentException(
          bytes.remaining() + " bytes written to " + place.entry.spec());
    }
    guarded(
        () -> {
          try (FileChannel channel = FileChannel.open(place.file, StandardOpenOption.WRITE)) {
            put(channel, place.entry.offsetBytes(), bytes.duplicate());
          }
        });
    pending.remove(name);
  }

  /** Writes a UTF-8 text file, such as config.json, at the top of the folder. */
  public void text(String fileName, String content) {
    requireOpen();
    Path file = claim(fileName);
    guarded(() -> Files.writeString(file, content, StandardOpenOption.CREATE_NEW));
  }

  /**
   * Copies the content of a file; a link is followed.
   *
   * @param name where it goes, relative to the output, with '/' between folders
   * @throws EspalierException (INPUT) when it cannot be read
   */
  public void copy(Path file, String name) {
    requireOpen();
    if (!Files.isRegularFile(file) || !Files.isReadable(file)) {
      throw EspalierException.input(file + ": cannot be read", "Check the path.");
    }
    Path target = claim(name);
    guarded(
        () -> {
          Files.createDirectories(target.getParent());
          Files.copy(file, target);
        });
  }

  /** Copies the companions of a checkpoint, see {@link Checkpoint#companions()}. */
  public void copyCompanions(Checkpoint source) {
    for (Path file : source.companions()) {
      copy(file, source.folder().relativize(file).toString().replace('\\', '/'));
    }
  }

  /** Returns whether a declared tensor has been written. */
  public boolean isWritten(String name) {
    requireBegun(true);
    return declared.containsKey(name) && !pending.containsKey(name);
  }

  /** Returns the folder that grows until finish. */
  public Path partial() {
    return folder.path();
  }

  /** Returns what a user should know about this output so far. */
  public List<Event> events() {
    return List.copyOf(events);
  }

  /**
   * Completes the weights: after this the folder under {@link #partial()} can be opened as a
   * checkpoint, to be checked before it is put in place. Files may still be added.
   *
   * @throws EspalierException (FAILED) when a declared tensor is missing; (RESOURCE) when the disk
   *     fails. The output is then removed
   */
  public void seal() {
    requireBegun(true);
    if (sealed) {
      return;
    }
    if (!pending.isEmpty()) {
      String missing =
          declared.keySet().stream().filter(pending::containsKey).findFirst().orElseThrow();
      int count = pending.size();
      close();
      throw EspalierException.failed(
          count + " declared tensors were not written, first " + TensorSpec.quoted(missing),
          "This is a fault of ours; please report it with the recipe.");
    }
    if (plan.index().isPresent()) {
      guarded(
          () ->
              Files.writeString(
                  folder.path().resolve(plan.indexName()),
                  plan.index().get(),
                  StandardOpenOption.CREATE_NEW));
    }
    sealed = true;
  }

  /**
   * Seals the folder and puts it in place.
   *
   * @return the output folder
   * @throws EspalierException as {@link #seal()}
   */
  public Path finish() {
    seal();
    Path[] result = new Path[1];
    guarded(() -> result[0] = folder.publish());
    open = false;
    return result[0];
  }

  private Place take(String name) {
    requireBegun(true);
    Place place = pending.get(name);
    if (place == null) {
      throw new IllegalArgumentException(
          "tensor "
              + TensorSpec.quoted(name)
              + (declared.containsKey(name) ? " is written twice" : " was not declared"));
    }
    return place;
  }

  private Path claim(String name) {
    for (String part : name.split("/", -1)) {
      if (!ShardIndex.isPlain(part)) {
        throw new IllegalArgumentException(name + " is not a plain file name");
      }
    }
    if (!files.add(name)) {
      throw new IllegalArgumentException(name + " is written twice");
    }
    return folder.path().resolve(name);
  }

  private static String requireText(String text) {
    if (!StandardCharsets.UTF_8.newEncoder().canEncode(text)) {
      throw new IllegalArgumentException(
          TensorSpec.quoted(text) + " is not valid Unicode (a lone surrogate)");
    }
    return text;
  }

  private static void put(FileChannel channel, long position, ByteBuffer bytes) throws IOException {
    long at = position;
    while (bytes.hasRemaining()) {
      at += channel.write(bytes, at);
    }
  }

  private void guarded(Work work) {
    try {
      work.run();
    } catch (ClosedByInterruptException e) {
      EspalierException failure =
          new EspalierException(Kind.INTERRUPTED, folder.path() + ": interrupted", "", e);
      throw closedAfter(failure);
    } catch (IOException e) {
      throw closedAfter(
          EspalierException.resource(
              folder.path() + ": cannot be written: " + PartialFolder.reason(e),
              "Free some space, or choose another disk for the output.",
              e));
    }
  }

  private EspalierException closedAfter(EspalierException failure) {
    try {
      close();
    } catch (EspalierException e) {
      failure.addSuppressed(e);
    }
    return failure;
  }

  private void requireOpen() {
    if (!open) {
      throw new IllegalStateException("writer of " + folder.path() + " is closed");
    }
  }

  private void requireBegun(boolean wanted) {
    requireOpen();
    if (wanted != (plan != null)) {
      throw new IllegalStateException(wanted ? "begin() comes first" : "begin() was called before");
    }
  }

  /** Removes the output unless it is finished. Closing twice does nothing. */
  @Override
  public void close() {
    open = false;
    folder.close();
  }
}
