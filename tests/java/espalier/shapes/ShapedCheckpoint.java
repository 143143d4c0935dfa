// SPDX-License-Identifier: Apache-2.0
package espalier.shapes;

import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.SplittableRandom;
import java.util.TreeMap;

/**
 * Writes a bf16 checkpoint of the shape of a well-known Llama, to see what a run costs: with
 * weights drawn from normal(0, 0.02) and norms of 1, or sparse, so that only the headers take room
 * on disk. No tokenizer: {@link #texts} writes token ids, which {@code --data} takes.
 *
 * <pre>
 * java -cp target/test-classes:target/classes:target/lib/* espalier.shapes.ShapedCheckpoint \
 *     1b|8b|70b FOLDER [--layers N] [--sparse] [--texts FILE COUNT LENGTH]
 * </pre>
 *
 * @param hidden width of the residual stream
 * @param layers number of blocks
 * @param heads query heads
 * @param keyHeads key and value heads
 * @param headWidth dimensions of a head
 * @param intermediate width of the feed-forward part
 * @param vocabulary rows of the embedding
 * @param tied whether the head is the embedding
 */
public record ShapedCheckpoint(
    int hidden,
    int layers,
    int heads,
    int keyHeads,
    int headWidth,
    int intermediate,
    int vocabulary,
    boolean tied) {
  private static final double DEVIATION = 0.02;
  private static final long SHARD_BYTES = 5_000_000_000L;

  /** Llama 3.2 1B. */
  public static final ShapedCheckpoint LLAMA_1B =
      new ShapedCheckpoint(2048, 16, 32, 8, 64, 8192, 128256, true);

  /** Llama 3.1 8B. */
  public static final ShapedCheckpoint LLAMA_8B =
      new ShapedCheckpoint(4096, 32, 32, 8, 128, 14336, 128256, false);

  /** Llama 3.1 70B. */
  public static final ShapedCheckpoint LLAMA_70B =
      new ShapedCheckpoint(8192, 80, 64, 8, 128, 28672, 128256, false);

  /** Returns the same shape with another number of blocks. */
  public ShapedCheckpoint cut(int blocks) {
    return new ShapedCheckpoint(
        hidden, blocks, heads, keyHeads, headWidth, intermediate, vocabulary, tied);
  }

  public static void main(String[] words) throws IOException {
    ShapedCheckpoint shape =
        switch (words[0]) {
          case "1b" -> LLAMA_1B;
          case "8b" -> LLAMA_8B;
          case "70b" -> LLAMA_70B;
          default -> throw new IllegalArgumentException("unknown shape " + words[0]);
        };
    boolean sparse = false;
    for (int i = 2; i < words.length; i++) {
      switch (words[i]) {
        case "--layers" -> shape = shape.cut(Integer.parseInt(words[++i]));
        case "--sparse" -> sparse = true;
        case "--texts" ->
            shape.texts(
                Path.of(words[++i]), Integer.parseInt(words[++i]), Integer.parseInt(words[++i]));
        default -> throw new IllegalArgumentException("unknown option " + words[i]);
      }
    }
    shape.write(Path.of(words[1]), sparse);
  }

  /** Returns every tensor's dimensions by name, in file order. */
  public Map<String, long[]> tensors() {
    Map<String, long[]> tensors = new LinkedHashMap<>();
    long queries = (long) heads * headWidth;
    long keys = (long) keyHeads * headWidth;
    tensors.put("model.embed_tokens.weight", new long[] {vocabulary, hidden});
    for (int layer = 0; layer < layers; layer++) {
      String prefix = "model.layers." + layer + ".";
      tensors.put(prefix + "input_layernorm.weight", new long[] {hidden});
      tensors.put(prefix + "self_attn.q_proj.weight", new long[] {queries, hidden});
      tensors.put(prefix + "self_attn.k_proj.weight", new long[] {keys, hidden});
      tensors.put(prefix + "self_attn.v_proj.weight", new long[] {keys, hidden});
      tensors.put(prefix + "self_attn.o_proj.weight", new long[] {hidden, queries});
      tensors.put(prefix + "post_attention_layernorm.weight", new long[] {hidden});
      tensors.put(prefix + "mlp.gate_proj.weight", new long[] {intermediate, hidden});
      tensors.put(prefix + "mlp.up_proj.weight", new long[] {intermediate, hidden});
      tensors.put(prefix + "mlp.down_proj.weight", new long[] {hidden, intermediate});
    }
    tensors.put("model.norm.weight", new long[] {hidden});
    if (!tied) {
      tensors.put("lm_head.weight", new long[] {vocabulary, hidden});
    }
    return tensors;
  }

  /**
   * Writes config.json and the weight files.
   *
   * @param sparse whether data is left as a hole, which reads as zeros and takes no room
   */
  public void write(Path folder, boolean sparse) throws IOException {
    Files.createDirectories(folder);
    ObjectMapper json = new ObjectMapper();
    Files.write(folder.resolve("config.json"), json.writeValueAsBytes(config()));
    List<Map<String, long[]>> shards = shards();
    Map<String, String> files = new TreeMap<>();
    long seed = 1;
    for (int i = 0; i < shards.size(); i++) {
      String name =
          shards.size() == 1
              ? "model.safetensors"
              : String.format("model-%05d-of-%05d.safetensors", i + 1, shards.size());
      shards.get(i).keySet().forEach(tensor -> files.put(tensor, name));
      seed = writeShard(json, folder.resolve(name), shards.get(i), sparse, seed);
    }
    if (shards.size() > 1) {
      Files.write(
          folder.resolve("model.safetensors.index.json"),
          json.writeValueAsBytes(Map.of("metadata", Map.of(), "weight_map", files)));
    }
  }

  private Map<String, Object> config() {
    Map<String, Object> config = new LinkedHashMap<>();
    config.put("architectures", List.of("LlamaForCausalLM"));
    config.put("model_type", "llama");
    config.put("hidden_size", hidden);
    config.put("num_hidden_layers", layers);
    config.put("num_attention_heads", heads);
    config.put("num_key_value_heads", keyHeads);
    config.put("head_dim", headWidth);
    config.put("intermediate_size", intermediate);
    config.put("vocab_size", vocabulary);
    config.put("tie_word_embeddings", tied);
    config.put("hidden_act", "silu");
    config.put("rms_norm_eps", 1e-5);
    config.put("rope_theta", 500000.0);
    config.put("max_position_embeddings", 8192);
    config.put("torch_dtype", "bfloat16");
    return config;
  }

  private List<Map<String, long[]>> shards() {
    List<Map<String, long[]>> shards = new ArrayList<>();
    long bytes = SHARD_BYTES;
    for (var entry : tensors().entrySet()) {
      long size = 2 * elements(entry.getValue());
      if (bytes + size > SHARD_BYTES) {
        shards.add(new LinkedHashMap<>());
        bytes = 0;
      }
      shards.get(shards.size() - 1).put(entry.getKey(), entry.getValue());
      bytes += size;
    }
    return shards;
  }

  private static long elements(long[] shape) {
    long elements = 1;
    for (long dimension : shape) {
      elements *= dimension;
    }
    return elements;
  }

  private static long writeShard(
      ObjectMapper json, Path file, Map<String, long[]> tensors, boolean sparse, long firstSeed)
      throws IOException {
    Map<String, Object> header = new LinkedHashMap<>();
    long offset = 0;
    for (var entry : tensors.entrySet()) {
      long end = offset + 2 * elements(entry.getValue());
      header.put(
          entry.getKey(),
          Map.of("dtype", "BF16", "shape", entry.getValue(), "data_offsets", List.of(offset, end)));
      offset = end;
    }
    String text = json.writeValueAsString(header);
    byte[] padded =
        (text + " ".repeat((8 - text.length() % 8) % 8)).getBytes(StandardCharsets.UTF_8);
    long seed = firstSeed;
    try (RandomAccessFile whole = new RandomAccessFile(file.toFile(), "rw");
        FileChannel channel = whole.getChannel()) {
      ByteBuffer head =
          ByteBuffer.allocate(Long.BYTES + padded.length).order(ByteOrder.LITTLE_ENDIAN);
      channel.write(head.putLong(padded.length).put(padded).flip());
      if (sparse) {
        whole.setLength(Long.BYTES + padded.length + offset);
        return seed;
      }
      for (long[] shape : tensors.values()) {
        fill(channel, elements(shape), shape.length == 1, seed++);
      }
    }
    return seed;
  }

  /**
   * Appends a tensor. A normal variable is the sum of the four 16-bit parts of a random word, which
   * is close enough and four times as fast as the exact way.
   */
  private static void fill(FileChannel channel, long elements, boolean norm, long seed)
      throws IOException {
    SplittableRandom random = new SplittableRandom(seed);
    // Each part is uniform on 2^16 values: variance 2^32 / 12, of four together 2^32 / 3.
    float scale = (float) (DEVIATION / Math.sqrt(0x1p32 / 3));
    ByteBuffer chunk = ByteBuffer.allocateDirect(1 << 22).order(ByteOrder.LITTLE_ENDIAN);
    for (long i = 0; i < elements; i++) {
      long word = random.nextLong();
      long sum = (word & 0xffff) + (word >>> 16 & 0xffff) + (word >>> 32 & 0xffff) + (word >>> 48);
      float value = norm ? 1 : (sum - 2 * 65535) * scale;
      chunk.putShort((short) (Float.floatToRawIntBits(value) >>> 16));
      if (!chunk.hasRemaining()) {
        drain(channel, chunk);
      }
    }
    drain(channel, chunk);
  }

  private static void drain(FileChannel channel, ByteBuffer chunk) throws IOException {
    chunk.flip();
    while (chunk.hasRemaining()) {
      channel.write(chunk);
    }
    chunk.clear();
  }

  /** Writes a JSONL file of random token ids. */
  public void texts(Path file, int count, int length) throws IOException {
    SplittableRandom random = new SplittableRandom(count);
    StringBuilder lines = new StringBuilder();
    for (int text = 0; text < count; text++) {
      lines
          .append("{\"input_ids\": ")
          .append(random.ints(length, 0, vocabulary).boxed().toList())
          .append("}\n");
    }
    Files.writeString(file, lines);
  }
}
