// SPDX-License-Identifier: Apache-2.0
package espalier.checkpoint;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.json.JsonWriteFeature;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import espalier.internal.Json;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;

/**
 * Which tensor goes where: the files of a checkpoint to the byte, before any data exists.
 *
 * <p>Shards are cut as huggingface_hub does it: tensors in the given order; one larger than the
 * limit gets a file of its own; a file is closed when the next tensor would take it beyond the
 * limit. One file is {@code STEM.safetensors}; more are {@code STEM-00001-of-0000N.safetensors}
 * with {@code STEM.safetensors.index.json}, its keys sorted, indented by two, ended by a newline.
 */
public final class ShardPlan {
  /** The limit of huggingface_hub: 5 GB = 5·10⁹ bytes of tensor data. */
  public static final long DEFAULT_SHARD_BYTES = 5_000_000_000L;

  private final List<SafetensorsLayout> shards;
  private final Optional<String> index;
  private final String stem;

  private ShardPlan(String stem, List<SafetensorsLayout> shards, Optional<String> index) {
    this.stem = stem;
    this.shards = shards;
    this.index = index;
  }

  /**
   * Lays out files.
   *
   * @param specs the tensors in the order of sharding, with distinct names
   * @param stem the start of the file names, usually {@code model}
   * @param shardBytes the most tensor data a file may hold
   * @param metadata the {@code __metadata__} of every file
   * @throws IllegalArgumentException on a name or type that cannot be written, naming the tensor
   */
  public static ShardPlan of(
      Collection<TensorSpec> specs, String stem, long shardBytes, Map<String, String> metadata) {
    List<List<TensorSpec>> groups = split(specs, shardBytes);
    List<SafetensorsLayout> shards = new ArrayList<>();
    for (int i = 0; i < groups.size(); i++) {
      String name =
          groups.size() == 1 ? stem : String.format("%s-%05d-of-%05d", stem, i + 1, groups.size());
      shards.add(SafetensorsLayout.of(name + Checkpoint.EXTENSION, groups.get(i), metadata));
    }
    return new ShardPlan(
        stem,
        List.copyOf(shards),
        shards.size() == 1 ? Optional.empty() : Optional.of(indexText(shards)));
  }

  private static List<List<TensorSpec>> split(Collection<TensorSpec> specs, long shardBytes) {
    List<List<TensorSpec>> groups = new ArrayList<>();
    List<TensorSpec> current = new ArrayList<>();
    long currentBytes = 0;
    for (TensorSpec spec : specs) {
      long bytes = SafetensorsLayout.checkedBytes(spec);
      if (bytes > shardBytes) {
        groups.add(List.of(spec));
        continue;
      }
      // Both are at most shardBytes, so the difference cannot overflow where the sum might.
      if (currentBytes > shardBytes - bytes) {
        groups.add(current);
        current = new ArrayList<>();
        currentBytes = 0;
      }
      current.add(spec);
      currentBytes += bytes;
    }
    if (!current.isEmpty() || groups.isEmpty()) {
      groups.add(current);
    }
    return groups;
  }

  private static String indexText(List<SafetensorsLayout> shards) {
    Map<String, String> files = new TreeMap<>(SafetensorsLayout.BYTE_ORDER);
    long total = 0;
    for (SafetensorsLayout shard : shards) {
      for (TensorEntry entry : shard.entries()) {
        files.put(entry.name(), shard.fileName());
        total = Math.addExact(total, entry.sizeBytes());
      }
    }
    ObjectNode root = JsonNodeFactory.instance.objectNode();
    root.putObject("metadata").put("total_size", total);
    ObjectNode map = root.putObject("weight_map");
    files.forEach(map::put);
    try {
      return Json.pretty()
              .with(JsonWriteFeature.ESCAPE_NON_ASCII)
              .without(JsonWriteFeature.WRITE_HEX_UPPER_CASE)
              .writeValueAsString(root)
          + "\n";
    } catch (JsonProcessingException e) {
      throw new AssertionError("a tree of strings can be written", e);
    }
  }

  /** Returns the names of the weight files, and of the index if there is one. */
  public List<String> fileNames() {
    List<String> names = new ArrayList<>();
    shards.forEach(shard -> names.add(shard.fileName()));
    index.ifPresent(text -> names.add(indexName()));
    return List.copyOf(names);
  }

  /** Returns every weight file, and the index if there is one, with its size in bytes. */
  public Map<String, Long> sizes() {
    Map<String, Long> sizes = new LinkedHashMap<>();
    shards.forEach(shard -> sizes.put(shard.fileName(), shard.fileBytes()));
    index.ifPresent(
        text -> sizes.put(indexName(), (long) text.getBytes(StandardCharsets.UTF_8).length));
    return sizes;
  }

  /** Returns the sizes of weight files and index together: what they take on disk. */
  public long fileBytes() {
    long bytes = index.map(text -> (long) text.getBytes(StandardCharsets.UTF_8).length).orElse(0L);
    for (SafetensorsLayout shard : shards) {
      bytes = Math.addExact(bytes, shard.fileBytes());
    }
    return bytes;
  }

  List<SafetensorsLayout> shards() {
    return shards;
  }

  Optional<String> index() {
    return index;
  }

  String indexName() {
    return stem + Checkpoint.EXTENSION + Checkpoint.INDEX;
  }
}
