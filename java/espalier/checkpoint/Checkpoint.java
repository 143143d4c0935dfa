// SPDX-License-Identifier: Apache-2.0
package espalier.checkpoint;

import com.fasterxml.jackson.databind.node.ObjectNode;
import espalier.report.EspalierException;
import espalier.report.Event;
import espalier.tensor.Tensor;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * A model folder as Hugging Face lays it out: weights in safetensors files, JSON and tokenizer
 * files beside them.
 *
 * <pre>
 * folder = config.json companion… weights
 * weights = model.safetensors
 *         | model.safetensors.index.json  model-00001-of-0000N.safetensors …
 * </pre>
 *
 * If both spellings are there, the index counts when it lists model.safetensors itself; otherwise
 * model.safetensors alone is read, as transformers does, and an event says so. Pickled weights
 * (.bin, .pt) are never opened: they can run code. Opening maps files and reads headers only;
 * tensors are views that die with {@link #close()}. Safe to share between threads.
 */
public final class Checkpoint implements AutoCloseable {
  static final String EXTENSION = ".safetensors";
  static final String INDEX = ".index.json";

  private static final String SINGLE = "model" + EXTENSION;
  private static final long MAX_CONFIG_BYTES = 8L << 20;

  private final Path folder;
  private final List<Safetensors> shards;
  private final Map<String, Safetensors> byName;
  private final Map<String, String> metadata;
  private final Companions companions;
  private final List<Event> events;

  private Checkpoint(Path folder, List<Safetensors> shards, List<Event> notes) {
    this.folder = folder;
    this.shards = List.copyOf(shards);
    Map<String, Safetensors> holders = new LinkedHashMap<>();
    Map<String, String> merged = new LinkedHashMap<>();
    for (Safetensors shard : shards) {
      shard.names().forEach(name -> holders.put(name, shard));
      shard.metadata().forEach(merged::putIfAbsent);
      notes.addAll(shard.events());
    }
    this.byName = Collections.unmodifiableMap(holders);
    this.metadata = Collections.unmodifiableMap(merged);
    this.companions = Companions.of(folder);
    notes.addAll(companions.events());
    this.events = List.copyOf(notes);
  }

  /**
   * Opens a model folder or one safetensors file. The caller closes the result.
   *
   * @throws EspalierException (INPUT) when something is missing, malformed or inconsistent;
   *     (UNSUPPORTED) when the weights are in another format
   */
  public static Checkpoint open(Path path) {
    if (Files.isDirectory(path)) {
      return openFolder(path);
    }
    if (!Files.exists(path)) {
      throw EspalierException.input(path + ": no such file or folder", "Check the path.");
    }
    if (!path.getFileName().toString().endsWith(EXTENSION)) {
      throw EspalierException.unsupported(
          path + ": not a safetensors file", "Give a model folder or a .safetensors file.");
    }
    List<Safetensors> shards = new ArrayList<>();
    return guarded(
        shards,
        () -> {
          shards.add(Safetensors.open(path));
          return new Checkpoint(path.toAbsolutePath().getParent(), shards, new ArrayList<>());
        });
  }

  private static Checkpoint openFolder(Path folder) {
    Path single = folder.resolve(SINGLE);
    Path indexFile = folder.resolve(SINGLE + INDEX);
    boolean hasSingle = Files.isRegularFile(single);
    List<Event> events = new ArrayList<>();
    List<Safetensors> shards = new ArrayList<>();
    if (Files.isRegularFile(indexFile)) {
      ShardIndex index = ShardIndex.read(indexFile);
      if (!hasSingle || index.files().contains(SINGLE)) {
        return guarded(
            shards,
            () -> {
              new ShardSet(folder, indexFile, index, events).open(shards);
              return new Checkpoint(folder, shards, events);
            });
      }
      events.add(
          Event.warning(
              "index-ignored",
              indexFile.toString(),
              "the folder also holds " + SINGLE + ", which is read instead, as transformers does"));
    }
    if (!hasSingle) {
      throw noWeights(folder);
    }
    return guarded(
        shards,
        () -> {
          shards.add(Safetensors.open(single));
          return new Checkpoint(folder, shards, events);
        });
  }

  private interface Opening {
    Checkpoint open();
  }

  private static Checkpoint guarded(List<Safetensors> shards, Opening opening) {
    try {
      return opening.open();
    } catch (Throwable e) {
      shards.forEach(Safetensors::close);
      throw e;
    }
  }

  private static EspalierException noWeights(Path folder) {
    List<String> names = new ArrayList<>();
    try (var children = Files.list(folder)) {
      children.map(child -> child.getFileName().toString()).sorted().forEach(names::add);
    } catch (IOException e) {
      return EspalierException.input(
          folder + ": cannot be listed: " + e.getMessage(), "Check the permissions of the folder.");
    }
    for (String name : names) {
      if (name.matches(".*\\.(bin|pt|pth|ckpt)")) {
        return EspalierException.unsupported(
            folder + ": holds only pickled weights (" + name + "), which can run code when opened",
            "Convert the model to safetensors first.");
      }
    }
    String present =
        names.isEmpty() ? "the folder is empty" : "it holds " + String.join(", ", names);
    return EspalierException.input(
        String.format(
            "%s: no %s and no %s%s; %s",
            folder,
            SINGLE,
            SINGLE,
            INDEX,
            present.length() > 500 ? present.substring(0, 500) + "…" : present),
        "Give a model folder or a .safetensors file.");
  }

  public Path folder() {
    return folder;
  }

  /** Returns the weight files, in the order of their names. */
  public List<Path> weightFiles() {
    return shards.stream().map(Safetensors::file).toList();
  }

  /** Returns the tensor names, file by file, in the order of their data. */
  public List<String> names() {
    return List.copyOf(byName.keySet());
  }

  /** Returns a tensor's name, type and shape without touching its data. */
  public Optional<TensorSpec> spec(String name) {
    return Optional.ofNullable(byName.get(name)).flatMap(s -> s.entry(name)).map(TensorEntry::spec);
  }

  /** Returns a view of a tensor, valid until close. */
  public Optional<Tensor> find(String name) {
    return Optional.ofNullable(byName.get(name)).flatMap(shard -> shard.find(name));
  }

  /**
   * Returns a view of a tensor, valid until close.
   *
   * @throws EspalierException (INPUT) naming tensor and folder when there is none
   */
  public Tensor get(String name) {
    return find(name)
        .orElseThrow(
            () ->
                EspalierException.input(
                    folder + ": no tensor " + TensorSpec.quoted(name),
                    "Check that the weights belong to this config.json."));
  }

  /** Returns {@code __metadata__} of the weight files; the first file that has a key wins. */
  public Map<String, String> metadata() {
    return metadata;
  }

  /**
   * Reads a JSON file of the folder, such as config.json; empty when there is none. A byte order
   * mark and the tokens NaN and Infinity are tolerated, as transformers writes them.
   *
   * @throws EspalierException (INPUT) when it is not a JSON object
   */
  public Optional<ObjectNode> json(String fileName) {
    Path file = sibling(fileName);
    return Files.isRegularFile(file)
        ? Optional.of(JsonFile.object(file, MAX_CONFIG_BYTES))
        : Optional.empty();
  }

  /**
   * Returns the files to carry over unchanged: tokenizer, templates, generation settings, licences.
   * They lie in {@link #folder()} or one level below it.
   */
  public List<Path> companions() {
    return companions.files();
  }

  /** Returns what a user should know about this folder. */
  public List<Event> events() {
    return events;
  }

  /** Returns a SHA-256 over the names, sizes and headers of all weight files, not their data. */
  public String headersSha256() {
    MessageDigest digest = sha256();
    for (Safetensors shard : shards) {
      byte[] name = shard.file().getFileName().toString().getBytes(StandardCharsets.UTF_8);
      ByteBuffer sizes = ByteBuffer.allocate(16).order(ByteOrder.LITTLE_ENDIAN);
      digest.update(sizes.putLong(name.length).putLong(shard.fileBytes()).array());
      digest.update(name);
      shard.digestHeader(digest);
    }
    return HexFormat.of().formatHex(digest.digest());
  }

  /**
   * Returns the SHA-256 of one whole file of the folder.
   *
   * @throws EspalierException (INPUT) when it cannot be read
   */
  public String sha256(String fileName) {
    return sha256(sibling(fileName));
  }

  /** Returns the SHA-256 of a companion, otherwise as {@link #sha256(String)}. */
  public String sha256(Path file) {
    MessageDigest digest = sha256();
    byte[] chunk = new byte[1 << 20];
    try (InputStream input = Files.newInputStream(file)) {
      for (int count = input.read(chunk); count >= 0; count = input.read(chunk)) {
        digest.update(chunk, 0, count);
      }
    } catch (IOException e) {
      throw EspalierException.input(
          file + ": cannot be read: " + e.getMessage(), "Check the path.");
    }
    return HexFormat.of().formatHex(digest.digest());
  }

  private Path sibling(String fileName) {
    if (!ShardIndex.isPlain(fileName)) {
      throw new IllegalArgumentException(fileName + " is not a plain file name");
    }
    return folder.resolve(fileName);
  }

  private static MessageDigest sha256() {
    try {
      return MessageDigest.getInstance("SHA-256");
    } catch (NoSuchAlgorithmException e) {
      throw new AssertionError("every Java platform has SHA-256", e);
    }
  }

  /** Unmaps all files; later use of their tensors fails in Java. Closing twice does nothing. */
  @Override
  public void close() {
    shards.forEach(Safetensors::close);
  }
}
