// SPDX-License-Identifier: Apache-2.0
package espalier.checkpoint;

import espalier.report.EspalierException;
import espalier.report.Event;
import espalier.tensor.DType;
import espalier.tensor.Shape;
import espalier.tensor.Tensor;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
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
 * is held back; {@link #finish}, which checks that nothing is missing, syncs and gives the folder
 * its name ({@link #seal} before it, to look at the result first). Text files and copies may be
 * added any time before finish.
 *
 * <p>A writer that was {@linkplain #create created} owns its folder: {@link #close()} without
 * finish removes everything, and so does any failure of the disk. One that works {@linkplain #in
 * in} a folder leaves what it wrote to the folder's owner; after {@link #sync}, what was written by
 * then can be {@linkplain #resume taken over} by a later process. One thread at a time.
 */
public final class CheckpointWriter implements AutoCloseable {
  /** What {@code __metadata__} of every weight file says unless more is added. */
  public static final Map<String, String> METADATA = Map.of("format", "pt");

  private final PartialFolder folder;
  private final Path root;
  private final boolean owner;
  private final long shardBytes;
  private final List<Event> events;
  private final Map<String, String> metadata = new TreeMap<>(METADATA);
  private final Map<String, TensorSpec> declared = new LinkedHashMap<>();
  private final Set<String> files = new HashSet<>();
  private String stem = "model";
  private ShardFiles shards;
  private boolean sealed;
  private boolean open = true;

  private interface Work {
    void run() throws IOException;
  }

  private CheckpointWriter(
      PartialFolder folder, Path root, boolean owner, long shardBytes, List<Event> events) {
    this.folder = folder;
    this.root = root;
    this.owner = owner;
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
    requirePositive(shardBytes);
    List<Event> events = new ArrayList<>();
    PartialFolder folder = PartialFolder.create(out, events);
    return new CheckpointWriter(folder, folder.payload(), true, shardBytes, events);
  }

  /**
   * Writes into the payload of a folder that the caller owns, publishes and closes.
   *
   * @param name of a folder in the payload, or empty for the payload itself
   * @throws EspalierException (USAGE) when the limit is not positive
   */
  public static CheckpointWriter in(PartialFolder folder, String name, long shardBytes) {
    requirePositive(shardBytes);
    Path root = name.isEmpty() ? folder.payload() : folder.payload().resolve(name);
    return new CheckpointWriter(folder, root, false, shardBytes, List.of());
  }

  private static void requirePositive(long shardBytes) {
    if (shardBytes <= 0) {
      throw EspalierException.usage("shard size " + shardBytes + " is not positive", "Try 5e9.");
    }
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
    ShardPlan layout = layout();
    ShardFiles files = new ShardFiles(root, layout);
    guarded(
        () -> {
          Files.createDirectories(root);
          files.create();
        });
    shards = files;
    return layout;
  }

  /**
   * Fixes the layout and takes over the weight files that an earlier process began with the same
   * declarations. Every other file of the payload is removed.
   *
   * @param written the {@link #checksums} of that process at its last {@link #sync}
   * @return the layout, to the byte
   * @throws EspalierException (INPUT) naming the weight file that is not as it was left; (RESOURCE)
   *     when the disk has less room than the rest of the weights needs
   */
  public ShardPlan resume(Map<String, Long> written) {
    ShardPlan layout = layout();
    ShardFiles files = new ShardFiles(root, layout);
    guarded(() -> files.adopt(written));
    guarded(() -> PartialFolder.retain(root, layout.fileNames()));
    shards = files;
    return layout;
  }

  private ShardPlan layout() {
    requireBegun(false);
    ShardPlan layout = ShardPlan.of(declared.values(), stem, shardBytes, metadata);
    for (String name : layout.fileNames()) {
      claim(name);
    }
    return layout;
  }

  /**
   * Writes one tensor from host memory or a mapped file.
   *
   * @throws IllegalArgumentException when it was not declared so, or was written before
   * @throws EspalierException (RESOURCE) when the disk fails; the writer is then closed
   */
  public void write(String name, Tensor data) {
    ShardFiles.Place place = take(name);
    if (data.dtype() != place.entry().dtype() || !data.shape().equals(place.entry().shape())) {
      throw new IllegalArgumentException(data + " written to " + place.entry().spec());
    }
    guarded(() -> shards.write(place, data));
  }

  /**
   * Writes the raw little-endian bytes of one tensor, otherwise as {@link #write(String, Tensor)}.
   */
  public void write(String name, ByteBuffer bytes) {
    ShardFiles.Place place = take(name);
    if (bytes.remaining() != place.entry().sizeBytes()) {
      throw new IllegalArgumentException(
          bytes.remaining() + " bytes written to " + place.entry().spec());
    }
    guarded(() -> shards.write(place, bytes));
  }

  /**
   * Puts the tensors written so far on the disk: they are there after a crash from now on.
   *
   * @throws EspalierException (RESOURCE) when the disk fails
   */
  public void sync() {
    requireBegun(true);
    guarded(shards::sync);
  }

  /** Returns CRC-32C checksums of the tensors written so far, by name. */
  public Map<String, Long> checksums() {
    requireBegun(true);
    return shards.checksums();
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

  /** Copies what {@link #copyCompanions(Checkpoint)} would of a folder that may have no weights. */
  public void copyCompanions(Path source) {
    for (Path file : Companions.of(source).files()) {
      copy(file, source.relativize(file).toString().replace('\\', '/'));
    }
  }

  /** Returns whether a declared tensor has been written. */
  public boolean isWritten(String name) {
    requireBegun(true);
    return shards.isWritten(name);
  }

  /** Returns the folder that grows until finish. */
  public Path partial() {
    return root;
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
   *     fails. The writer is then closed
   */
  public void seal() {
    requireBegun(true);
    if (sealed) {
      return;
    }
    List<String> missing =
        declared.keySet().stream().filter(name -> !shards.isWritten(name)).toList();
    if (!missing.isEmpty()) {
      close();
      throw EspalierException.failed(
          missing.size()
              + " declared tensors were not written, first "
              + TensorSpec.quoted(missing.get(0)),
          "This is a fault of ours; please report it with the recipe.");
    }
    sealed = true;
  }

  /**
   * Seals the folder and puts it in place; for a writer that owns it.
   *
   * @return the output folder
   * @throws EspalierException as {@link #seal()}
   */
  public Path finish() {
    if (!owner) {
      throw new IllegalStateException("the owner of " + folder.path() + " publishes it");
    }
    seal();
    try {
      return folder.publish();
    } finally {
      close();
    }
  }

  private ShardFiles.Place take(String name) {
    requireBegun(true);
    ShardFiles.Place place = shards.place(name);
    if (place == null || shards.isWritten(name)) {
      throw new IllegalArgumentException(
          "tensor "
              + TensorSpec.quoted(name)
              + (place != null ? " is written twice" : " was not declared"));
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
    return root.resolve(name);
  }

  private static String requireText(String text) {
    if (!StandardCharsets.UTF_8.newEncoder().canEncode(text)) {
      throw new IllegalArgumentException(
          TensorSpec.quoted(text) + " is not valid Unicode (a lone surrogate)");
    }
    return text;
  }

  private void guarded(Work work) {
    try {
      work.run();
    } catch (IOException e) {
      throw closedAfter(PartialFolder.failure(folder.path(), e));
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
    if (wanted != (shards != null)) {
      throw new IllegalStateException(wanted ? "begin() comes first" : "begin() was called before");
    }
  }

  /** Removes the folder that this writer made and did not finish. Closing twice does nothing. */
  @Override
  public void close() {
    open = false;
    if (owner) {
      folder.close();
    }
  }
}
