// SPDX-License-Identifier: Apache-2.0
package espalier.cli;

import espalier.checkpoint.CheckpointWriter;
import espalier.tensor.DType;
import espalier.tensor.Shape;
import java.io.IOException;
import java.io.OutputStream;
import java.io.PrintStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;

/**
 * Runs the common commands once on a checkpoint of a few thousand random weights. The launcher
 * starts this after a build with {@code -XX:ArchiveClassesAtExit}: every later start then maps the
 * classes it will need, read and verified, instead of taking them out of the jars one by one.
 */
final class Rehearsal {
  private static final int WIDTH = 32;
  private static final int VOCABULARY = 8;

  private static final String CONFIG =
      """
      {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu",
       "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "vocab_size": 8,
       "num_attention_heads": 2, "num_key_value_heads": 2, "max_position_embeddings": 16,
       "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "tie_word_embeddings": true,
       "bos_token_id": 1, "eos_token_id": 1, "torch_dtype": "float32"}
      """;

  private static final String TOKENIZER =
      """
      {"version": "1.0", "pre_tokenizer": {"type": "Whitespace"},
       "model": {"type": "WordLevel", "unk_token": "?",
                 "vocab": {"?": 0, "<end>": 1, "once": 2, "upon": 3, "a": 4, "time": 5}}}
      """;

  private Rehearsal() {}

  /** Works in a folder that does not exist yet; ends with 1 and a line when a command failed. */
  public static void main(String[] words) throws IOException {
    System.exit(run(Path.of(words[0]), System.err) ? 0 : 1);
  }

  /** Returns whether every command succeeded; the first that does not says why and is the last. */
  static boolean run(Path folder, PrintStream err) throws IOException {
    Path model = Files.createDirectories(folder).resolve("model");
    write(model);
    Path texts = folder.resolve("texts.jsonl");
    Files.writeString(texts, "{\"text\": \"once upon a time\"}\n".repeat(4));
    String out = folder.resolve("out").toString();
    String data = texts.toString();
    PrintStream nothing = new PrintStream(OutputStream.nullOutputStream());
    List<List<String>> commands =
        List.of(
            List.of("--help"),
            List.of("inspect", model.toString()),
            List.of(
                "compress",
                model.toString(),
                "--scheme",
                "W4A16",
                "--group-size",
                "" + WIDTH,
                "--data",
                data,
                "-o",
                out),
            List.of("eval", out, "--data", data, "--against", model.toString(), "--json"),
            List.of("generate", out, "--prompt", "once", "--tokens", "2"));
    for (List<String> command : commands) {
      if (Cli.run(command.toArray(String[]::new), nothing, err) != 0) {
        return false;
      }
    }
    return true;
  }

  private static void write(Path model) {
    Map<String, Shape> shapes = new LinkedHashMap<>();
    shapes.put("model.embed_tokens.weight", Shape.of(VOCABULARY, WIDTH));
    shapes.put("model.norm.weight", Shape.of(WIDTH));
    for (String norm : List.of("input_layernorm", "post_attention_layernorm")) {
      shapes.put("model.layers.0." + norm + ".weight", Shape.of(WIDTH));
    }
    for (String linear : List.of("q_proj", "k_proj", "v_proj", "o_proj")) {
      shapes.put("model.layers.0.self_attn." + linear + ".weight", Shape.of(WIDTH, WIDTH));
    }
    for (String linear : List.of("gate_proj", "up_proj", "down_proj")) {
      shapes.put("model.layers.0.mlp." + linear + ".weight", Shape.of(WIDTH, WIDTH));
    }
    Random random = new Random(1);
    try (CheckpointWriter writer = CheckpointWriter.create(model, Long.MAX_VALUE)) {
      writer.text("config.json", CONFIG);
      writer.text("tokenizer.json", TOKENIZER);
      shapes.forEach((name, shape) -> writer.declare(name, DType.F32, shape));
      writer.begin();
      shapes.forEach((name, shape) -> writer.write(name, noise(random, shape.elements())));
      writer.finish();
    }
  }

  private static ByteBuffer noise(Random random, long elements) {
    ByteBuffer bytes =
        ByteBuffer.allocate(Math.toIntExact(DType.F32.bytes(elements)))
            .order(ByteOrder.LITTLE_ENDIAN);
    while (bytes.hasRemaining()) {
      bytes.putFloat(random.nextFloat() - 0.5f);
    }
    return bytes.flip();
  }
}
