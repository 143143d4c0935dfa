// SPDX-License-Identifier: Apache-2.0
package espalier.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import espalier.model.TinyModels;
import espalier.tensor.DType;
import java.io.IOException;
import java.io.OutputStream;
import java.io.RandomAccessFile;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * Checkpoints, texts and requests as they occur in the field: what is refused says why and where.
 */
class FieldKindsTest {
  private static final String UP = "model.layers.1.mlp.up_proj";

  @TempDir Path folder;
  private Path data;

  @BeforeEach
  void writeIds() throws IOException {
    data = text("ids.jsonl", "{\"input_ids\": [1, 2, 3, 4, 5]}\n{\"input_ids\": [6, 5, 9]}\n");
  }

  private Path text(String name, String content) throws IOException {
    return Files.writeString(folder.resolve(name), content);
  }

  private String write(TinyModels model) {
    return model.write(folder.resolve("model")).toString();
  }

  private CommandRun eval(TinyModels model) {
    return CommandRun.of("eval", write(model), "--data", data.toString());
  }

  private CommandRun compress(TinyModels model, String... more) {
    List<String> words = new ArrayList<>(List.of("compress", write(model)));
    words.addAll(List.of(more));
    words.addAll(List.of("-o", folder.resolve("out").toString(), "--json"));
    return CommandRun.of(words);
  }

  private CommandRun gptq(TinyModels model) {
    return compress(model, "--scheme", "W4A16", "--group-size", "0", "--data", data.toString());
  }

  private CommandRun rtn(TinyModels model) {
    return compress(model, "--scheme", "W4A16", "--group-size", "0", "--method", "rtn");
  }

  private void refused(CommandRun run, int code, String... mentions) {
    assertEquals(code, run.code(), run.err());
    assertEquals("", run.out());
    assertEquals(1, run.err().lines().filter(line -> line.startsWith("error: ")).count());
    assertTrue(run.err().contains("\ntry: "), run.err());
    for (String mention : mentions) {
      assertTrue(run.err().contains(mention), run.err());
    }
    assertFalse(Files.exists(folder.resolve("out")));
    assertFalse(Files.exists(folder.resolve("out.partial")));
  }

  @ParameterizedTest
  @ValueSource(strings = {"model.norm.weight", "lm_head.weight", UP + ".weight"})
  void aWeightThatIsNotFiniteIsNamedByEveryCommand(String name) {
    TinyModels model = TinyModels.llama().fill();
    model.tensors().get(name).values()[5] = Float.NaN;
    refused(eval(model), 3, name);
    refused(rtn(model), 3, name);
    String written = write(model);
    refused(CommandRun.of("generate", written, "--ids", "1,2", "--greedy"), 3, name);
    CommandRun against =
        CommandRun.of("eval", written, "--data", data.toString(), "--against", written);
    refused(against, 3, name);
  }

  @Test
  void aNumberBeyondFp32IsNotFiniteEither() throws IOException {
    TinyModels model = TinyModels.llama().fill().stored("lm_head.weight", DType.F64);
    String written = write(model);
    try (var file = new RandomAccessFile(written + "/model.safetensors", "rw")) {
      file.seek(file.length() - Double.BYTES); // the head is the last tensor
      ByteBuffer huge = ByteBuffer.allocate(Double.BYTES).order(ByteOrder.LITTLE_ENDIAN);
      file.write(huge.putDouble(1e300).array());
    }
    refused(CommandRun.of("eval", written, "--data", data.toString()), 3, "lm_head.weight");
  }

  @Test
  void infinitiesThatNothingReadsAreCarriedOver() {
    TinyModels model = TinyModels.llama().fill();
    float[] mask = {Float.NEGATIVE_INFINITY, 0};
    model.tensors().put("model.mask", new TinyModels.Values(mask, 2));
    CommandRun run = rtn(model);
    assertEquals(0, run.code(), run.err());
    assertTrue(run.err().contains("model.mask"), run.err());
  }

  @Test
  void scalesBesideAWeightMeanItIsNotTheWeight() {
    for (String suffix : List.of(".weight_scale", ".weight_scale_inv", ".SCB")) {
      TinyModels model = TinyModels.llama().fill();
      model.tensors().put(UP + suffix, model.random(20, 1));
      refused(eval(model), 4, UP + suffix);
      refused(rtn(model), 4, UP + suffix);
    }
    TinyModels model = TinyModels.llama().fill();
    model.tensors().remove(UP + ".weight");
    model.tensors().put(UP + ".qweight", model.random(2, 20));
    refused(eval(model), 4, UP + ".qweight");
  }

  @Test
  void theFieldThatSaysQuantizedIsNamed() {
    TinyModels model = TinyModels.llama().fill();
    for (String field : List.of("quantization_config", "compression_config")) {
      model.with(field, java.util.Map.of("quant_method", "bitsandbytes"));
      refused(eval(model), 4, field, "bitsandbytes");
      model.without(field);
    }
  }

  @Test
  void aBiasOfIntegersIsRefused() {
    TinyModels model = TinyModels.llama().with("mlp_bias", true).fill();
    refused(eval(model.stored(UP + ".bias", DType.I32)), 4, UP + ".bias");
  }

  @Test
  void faultsOfTheConfigComeWithAdvice() {
    TinyModels model = TinyModels.llama().fill();
    refused(eval(model.with("rope_scaling", java.util.Map.of("type", "linear"))), 3, "factor");
    refused(eval(model.with("rope_scaling", null).with("head_dim", 5)), 3, "head_dim");
    model.with("head_dim", 6).tensors().put(UP + ".weight", model.random(320));
    refused(eval(model), 3, UP + ".weight");
  }

  @Test
  void textsThatRepeatEachOtherDetermineNoHessian() throws IOException {
    String ids = Arrays.toString(new int[] {3, 4, 5, 6, 7, 8});
    data = text("same.jsonl", ("{\"input_ids\": " + ids + "}\n").repeat(40));
    CommandRun run = gptq(TinyModels.llama().fill());
    assertEquals(0, run.code(), run.err());
    assertTrue(run.err().contains("singular") && run.err().contains("only 6"), run.err());
  }

  @Test
  void channelsThatAlwaysEqualAnotherAreCounted() {
    TinyModels model = TinyModels.llama().fill();
    float[] gate = model.tensors().get("model.layers.0.mlp.gate_proj.weight").values();
    float[] up = model.tensors().get("model.layers.0.mlp.up_proj.weight").values();
    System.arraycopy(gate, 0, gate, 16, 16); // rows 0 and 1 of 20
    System.arraycopy(up, 0, up, 16, 16);
    CommandRun run =
        compress(model, "--scheme", "W8A16", "--group-size", "0", "--data", data.toString(), "-q");
    assertEquals(0, run.code(), run.err());
    List<String> found = new ArrayList<>();
    run.json()
        .get("events")
        .forEach(
            event -> {
              if (event.get("kind").textValue().equals("duplicate-columns")) {
                found.add(event.get("where").textValue() + " " + event.get("message").textValue());
              }
            });
    assertEquals(1, found.size(), found.toString());
    assertTrue(found.get(0).startsWith("model.layers.0.mlp.down_proj 1 of 20"), found.get(0));
  }

  @Test
  void packedTextIsNamedNotRead() throws IOException {
    String model = write(TinyModels.llama().fill());
    for (String head : List.of("BZh91AY&SY", "\u00fd7zXZ\0", "7z\u00bc\u00af'", "ARROW1\0\0")) {
      Path packed = folder.resolve("packed");
      Files.write(packed, head.getBytes(StandardCharsets.ISO_8859_1));
      refused(CommandRun.of("eval", model, "--data", packed.toString()), 4, packed.toString());
    }
  }

  @Test
  void requestsThatCannotBeMetAreUsageErrors() throws IOException {
    TinyModels model = TinyModels.llama().fill();
    refused(compress(model, "--scheme", "W4A16", "--method", "rtn", "--threads", "257"), 2, "257");
    String written = write(model);
    CommandRun root =
        CommandRun.of(
            "compress",
            written,
            "--scheme",
            "W4A16",
            "--method",
            "rtn",
            "--group-size",
            "0",
            "-o",
            "/");
    refused(root, 2, "/: exists already");
    refused(CommandRun.of("generate", written, "--ids", "1", "--tokens", "0"), 2, "--tokens");
    Path recipe = text("bad.yaml", "q_stage:\n  q_modifiers:\n    GPTQModifier: {banana: 1}\n");
    refused(compress(model, "--recipe", recipe.toString()), 2, "bad.yaml:3", "banana");
    Path endless = Path.of("/dev/zero");
    if (Files.exists(endless)) {
      refused(compress(model, "--recipe", endless.toString()), 2, endless.toString());
    }
  }

  @Test
  void aResultThatGoesNowhereIsAFailureUnlessItsReaderWentAway() throws IOException {
    ResultStream sound = new ResultStream(OutputStream.nullOutputStream());
    sound.write(1);
    assertNull(sound.lost());
    assertNotNull(failing("No space left on device").lost());
    assertEquals(5, failing("No space left on device").lost().kind().exitCode());
    assertNull(failing("Broken pipe").lost());
  }

  private static ResultStream failing(String reason) {
    ResultStream stream =
        new ResultStream(
            new OutputStream() {
              @Override
              public void write(int b) throws IOException {
                throw new IOException(reason);
              }
            });
    try {
      stream.write(1);
    } catch (IOException expected) {
      return stream;
    }
    throw new AssertionError("an error was swallowed");
  }
}
