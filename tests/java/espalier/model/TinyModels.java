// SPDX-License-Identifier: Apache-2.0
package espalier.model;

import com.fasterxml.jackson.databind.ObjectMapper;
import espalier.tensor.DType;
import java.io.IOException;
import java.io.OutputStream;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;

/**
 * A checkpoint folder with random weights, small enough for plain loops to check. Its values are
 * multiples of 1/512 below 1/4 (norms: of 1/128 below 3/2), exact in F32, F16 and BF16, so that
 * every stored type gives the same numbers. Names and shapes are spelt out here, not taken from the
 * code under test. Config and tensors may be changed before {@link #write}.
 */
public final class TinyModels {
  /** One tensor. */
  public record Values(float[] values, long... shape) {}

  private final Map<String, Object> config = new LinkedHashMap<>();
  private final Map<String, Values> tensors = new LinkedHashMap<>();
  private final Map<String, DType> types = new LinkedHashMap<>();
  private DType dtype = DType.F32;
  private final Random random = new Random(7);

  private TinyModels() {}

  /** Returns a Llama-like config without tensors: 2 layers, 4 heads on 2 key heads of width 6. */
  public static TinyModels gated(String modelType, String architecture) {
    TinyModels model = new TinyModels();
    model
        .with("architectures", List.of(architecture))
        .with("model_type", modelType)
        .with("vocab_size", 24)
        .with("hidden_size", 16)
        .with("intermediate_size", 20)
        .with("num_hidden_layers", 2)
        .with("num_attention_heads", 4)
        .with("num_key_value_heads", 2)
        .with("head_dim", 6)
        .with("hidden_act", "silu")
        .with("max_position_embeddings", 64)
        .with("rms_norm_eps", 1e-5)
        .with("rope_theta", 100.0)
        .with("tie_word_embeddings", false)
        .with("eos_token_id", 2);
    return model;
  }

  public static TinyModels llama() {
    return gated("llama", "LlamaForCausalLM");
  }

  public static TinyModels mistral() {
    return gated("mistral", "MistralForCausalLM").with("sliding_window", 3);
  }

  public static TinyModels qwen2() {
    return gated("qwen2", "Qwen2ForCausalLM");
  }

  public static TinyModels qwen3() {
    return gated("qwen3", "Qwen3ForCausalLM");
  }

  /** Returns a GPT-2 config without tensors: 2 layers, 4 heads of width 4, 16 positions. */
  public static TinyModels gpt2() {
    return new TinyModels()
        .with("architectures", List.of("GPT2LMHeadModel"))
        .with("model_type", "gpt2")
        .with("vocab_size", 24)
        .with("n_positions", 16)
        .with("n_embd", 16)
        .with("n_layer", 2)
        .with("n_head", 4)
        .with("activation_function", "gelu_new")
        .with("layer_norm_epsilon", 1e-5)
        .with("eos_token_id", 2);
  }

  /** Sets a config field; null is written as null. */
  public TinyModels with(String field, Object value) {
    config.put(field, value);
    return this;
  }

  public TinyModels without(String field) {
    config.remove(field);
    return this;
  }

  /** Sets the stored type of all tensors that have none of their own. */
  public TinyModels stored(DType type) {
    dtype = type;
    return this;
  }

  /** Sets the stored type of one tensor. */
  public TinyModels stored(String tensor, DType type) {
    types.put(tensor, type);
    return this;
  }

  /** Returns the config, to read or to change. */
  public Map<String, Object> config() {
    return config;
  }

  /** Returns the tensors by name, to read or to change; {@link #fill} makes them. */
  public Map<String, Values> tensors() {
    return tensors;
  }

  int integer(String field) {
    return ((Number) config.get(field)).intValue();
  }

  boolean flag(String field) {
    return Boolean.TRUE.equals(config.get(field));
  }

  /** Makes random tensors for the config as it is now. */
  public TinyModels fill() {
    if (config.get("model_type").equals("gpt2")) {
      fillGpt2();
    } else {
      fillGated();
    }
    return this;
  }

  private void fillGated() {
    int hidden = integer("hidden_size");
    int inner = integer("intermediate_size");
    int width = config.get("head_dim") == null ? hidden / 4 : integer("head_dim");
    int queries = integer("num_attention_heads") * width;
    int keys =
        config.get("num_key_value_heads") == null
            ? queries
            : integer("num_key_value_heads") * width;
    boolean qwen2 = config.get("model_type").equals("qwen2");
    boolean attention = flag("attention_bias");
    matrix("model.embed_tokens", integer("vocab_size"), hidden, false);
    for (int layer = 0; layer < integer("num_hidden_layers"); layer++) {
      String prefix = "model.layers." + layer + ".";
      norm(prefix + "input_layernorm.weight", hidden);
      matrix(prefix + "self_attn.q_proj", queries, hidden, qwen2 || attention);
      matrix(prefix + "self_attn.k_proj", keys, hidden, qwen2 || attention);
      matrix(prefix + "self_attn.v_proj", keys, hidden, qwen2 || attention);
      matrix(prefix + "self_attn.o_proj", hidden, queries, attention);
      if (config.get("model_type").equals("qwen3")) {
        norm(prefix + "self_attn.q_norm.weight", width);
        norm(prefix + "self_attn.k_norm.weight", width);
      }
      norm(prefix + "post_attention_layernorm.weight", hidden);
      matrix(prefix + "mlp.gate_proj", inner, hidden, flag("mlp_bias"));
      matrix(prefix + "mlp.up_proj", inner, hidden, flag("mlp_bias"));
      matrix(prefix + "mlp.down_proj", hidden, inner, flag("mlp_bias"));
    }
    norm("model.norm.weight", hidden);
    if (!flag("tie_word_embeddings")) {
      matrix("lm_head", integer("vocab_size"), hidden, false);
    }
  }

  private void fillGpt2() {
    int hidden = integer("n_embd");
    int inner = config.get("n_inner") == null ? 4 * hidden : integer("n_inner");
    matrix("transformer.wte", integer("vocab_size"), hidden, false);
    matrix("transformer.wpe", integer("n_positions"), hidden, false);
    for (int layer = 0; layer < integer("n_layer"); layer++) {
      String prefix = "transformer.h." + layer + ".";
      layerNorm(prefix + "ln_1", hidden);
      conv(prefix + "attn.c_attn", hidden, 3 * hidden);
      conv(prefix + "attn.c_proj", hidden, hidden);
      layerNorm(prefix + "ln_2", hidden);
      conv(prefix + "mlp.c_fc", hidden, inner);
      conv(prefix + "mlp.c_proj", inner, hidden);
    }
    layerNorm("transformer.ln_f", hidden);
    if (Boolean.FALSE.equals(config.get("tie_word_embeddings"))) {
      matrix("lm_head", integer("vocab_size"), hidden, false);
    }
  }

  private void matrix(String module, int rows, int columns, boolean bias) {
    tensors.put(module + ".weight", random(rows, columns));
    if (bias) {
      tensors.put(module + ".bias", random(rows));
    }
  }

  private void conv(String module, int in, int out) {
    tensors.put(module + ".weight", random(in, out));
    tensors.put(module + ".bias", random(out));
  }

  private void layerNorm(String module, int width) {
    norm(module + ".weight", width);
    tensors.put(module + ".bias", random(width));
  }

  private void norm(String name, int width) {
    float[] values = new float[width];
    for (int i = 0; i < width; i++) {
      values[i] = (64 + random.nextInt(128)) / 128f;
    }
    tensors.put(name, new Values(values, width));
  }

  /** Returns a tensor of this model's kind of random values. */
  public Values random(long... shape) {
    long elements = 1;
    for (long dimension : shape) {
      elements *= dimension;
    }
    float[] values = new float[Math.toIntExact(elements)];
    for (int i = 0; i < values.length; i++) {
      values[i] = (random.nextInt(255) - 127) / 512f;
    }
    return new Values(values, shape);
  }

  /** Removes a prefix from all tensor names, as checkpoints saved from the base class have them. */
  public TinyModels bare(String prefix) {
    Map<String, Values> renamed = new LinkedHashMap<>();
    tensors.forEach(
        (name, values) ->
            renamed.put(name.startsWith(prefix) ? name.substring(prefix.length()) : name, values));
    tensors.clear();
    tensors.putAll(renamed);
    return this;
  }

  /** Writes config.json and model.safetensors into a folder, which is created, and returns it. */
  public Path write(Path folder) {
    try {
      Files.createDirectories(folder);
      ObjectMapper json = new ObjectMapper();
      Files.write(folder.resolve("config.json"), json.writeValueAsBytes(config));
      Map<String, Object> header = new LinkedHashMap<>();
      long offset = 0;
      for (var entry : tensors.entrySet()) {
        DType type = types.getOrDefault(entry.getKey(), dtype);
        long end = offset + type.bytes(entry.getValue().values().length);
        header.put(
            entry.getKey(),
            Map.of(
                "dtype", type.name(),
                "shape", entry.getValue().shape(),
                "data_offsets", List.of(offset, end)));
        offset = end;
      }
      String text = json.writeValueAsString(header);
      byte[] padded =
          (text + " ".repeat((8 - text.length() % 8) % 8)).getBytes(StandardCharsets.UTF_8);
      try (OutputStream out = Files.newOutputStream(folder.resolve("model.safetensors"))) {
        out.write(little(Long.BYTES).putLong(padded.length).array());
        out.write(padded);
        for (var entry : tensors.entrySet()) {
          out.write(bytes(entry.getValue().values(), types.getOrDefault(entry.getKey(), dtype)));
        }
      }
      return folder;
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private static ByteBuffer little(int bytes) {
    return ByteBuffer.allocate(bytes).order(ByteOrder.LITTLE_ENDIAN);
  }

  private static byte[] bytes(float[] values, DType type) {
    ByteBuffer bytes = little(Math.toIntExact(type.bytes(values.length)));
    for (float value : values) {
      switch (type) {
        case F64 -> bytes.putDouble(value);
        case F32 -> bytes.putFloat(value);
        case BF16 -> bytes.putShort((short) (Float.floatToRawIntBits(value) >>> 16));
        case F16 -> bytes.putShort(half(value));
        case I32 -> bytes.putInt((int) value);
        default -> throw new IllegalArgumentException("cannot write " + type);
      }
    }
    return bytes.array();
  }

  /** Exact for this class's values: zero or normal halves with no more than ten mantissa bits. */
  private static short half(float value) {
    int bits = Float.floatToRawIntBits(value);
    int exponent = ((bits >>> 23) & 0xff) - 127 + 15;
    int magnitude = value == 0 ? 0 : (exponent << 10) | ((bits >>> 13) & 0x3ff);
    return (short) ((bits >>> 16) & 0x8000 | magnitude);
  }
}
