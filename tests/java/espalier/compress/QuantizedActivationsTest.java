// SPDX-License-Identifier: Apache-2.0
package espalier.compress;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import espalier.CompressionJob;
import espalier.Espalier;
import espalier.internal.Json;
import espalier.kernel.Eager;
import espalier.layer.Activations;
import espalier.layer.Quantized;
import espalier.model.Model;
import espalier.model.TinyModels;
import espalier.report.EspalierException;
import espalier.report.EspalierException.Kind;
import espalier.report.Report;
import espalier.tensor.Context;
import espalier.tensor.DType;
import espalier.tensor.Tensor;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** W8A8, W4A8 and both spellings of W8A16 from the request to the reopened folder. */
class QuantizedActivationsTest {
  private static final String LAYER = "model.layers.0.mlp.down_proj";
  @TempDir Path folder;
  private Path data;

  @BeforeEach
  void writeTexts() throws IOException {
    Random random = new Random(12);
    StringBuilder lines = new StringBuilder();
    for (int text = 0; text < 12; text++) {
      lines.append("{\"input_ids\": ").append(random.ints(14, 0, 24).boxed().toList());
      lines.append("}\n");
    }
    data = Files.writeString(folder.resolve("texts.jsonl"), lines);
  }

  private CompressionJob job(TinyModels model, String name) {
    return Espalier.compress(model.fill().write(folder.resolve(name)))
        .data(data)
        .samples(12)
        .threads(1)
        .output(folder.resolve(name + "-out"));
  }

  private CompressionJob recipe(String name, String modifier) throws IOException {
    String text = "s_stage:\n  m_modifiers:\n    " + modifier + "\n";
    return job(TinyModels.llama(), name)
        .recipe(Files.writeString(folder.resolve(name + ".y"), text));
  }

  @ParameterizedTest
  @CsvSource({
    "llama, W8A8, gptq",
    "qwen2, W8A8, rtn",
    "gpt2, W8A8, gptq",
    "llama, W4A8, gptq",
    "qwen3, W4A8, rtn",
    "gpt2, W4A8, rtn"
  })
  void everyFamilyIsReadBackToTheBit(String family, String scheme, String method) {
    TinyModels model =
        switch (family) {
          case "llama" -> TinyModels.llama();
          case "qwen2" -> TinyModels.qwen2();
          case "qwen3" -> TinyModels.qwen3();
          default -> TinyModels.gpt2();
        };
    CompressionJob job = job(model, family).scheme(scheme).method(method);
    Report report = (scheme.equals("W4A8") ? job.groupSize(4) : job).run();
    assertEquals(0.0, report.facts().get("reopened_logits_max_difference"));
    try (Context context = Context.cpu(1);
        Model reopened = Model.open(folder.resolve(family + "-out"), context)) {
      List<Quantized> rounded =
          reopened.linears().values().stream()
              .filter(Quantized.class::isInstance)
              .map(Quantized.class::cast)
              .filter(l -> l.scheme().activations() == Activations.INT8_PER_TOKEN)
              .toList();
      assertEquals(family.equals("gpt2") ? 8 : 14, rounded.size());
    }
  }

  @Test
  void theConfigSaysWhatCompressedTensorsWouldSay() throws IOException {
    job(TinyModels.llama(), "config").scheme("W8A8").method("rtn").run();
    JsonNode quantization = quantization("config-out");
    assertEquals("int-quantized", quantization.path("format").asText());
    JsonNode group = quantization.at("/config_groups/group_0");
    assertEquals(
        Json.STRICT.readTree(
            """
            {"dynamic": true, "group_size": null, "num_bits": 8, "strategy": "token",
             "symmetric": true, "type": "int"}"""),
        group.path("input_activations"));
    assertEquals("channel", group.at("/weights/strategy").asText());
    assertEquals("int-quantized", group.path("format").asText());
    assertTrue(group.path("output_activations").isNull());
  }

  private JsonNode quantization(String name) throws IOException {
    Path file = folder.resolve(name).resolve("config.json");
    return Json.STRICT.readTree(file.toFile()).path("quantization_config");
  }

  @ParameterizedTest
  @CsvSource({"int-quantized, true", "pack-quantized, true", "int-quantized, false"})
  void eightBitWeightsAloneTakeEitherSpelling(String format, boolean symmetric) throws IOException {
    String name = format + symmetric;
    String weights = "{num_bits: 8, strategy: group, group_size: 4, symmetric: " + symmetric + "}";
    Report report =
        recipe(
                name,
                "QuantizationModifier: {ignore: [lm_head], config_groups: {g: {targets: [Linear],"
                    + (" weights: " + weights + ", format: " + format + "}}}"))
            .run();
    assertEquals(0.0, report.facts().get("reopened_logits_max_difference"));
    assertEquals(format, quantization(name + "-out").path("format").asText());
    try (Context context = Context.cpu(1);
        Model reopened = Model.open(folder.resolve(name + "-out"), context)) {
      Quantized linear = (Quantized) reopened.linears().get(LAYER);
      assertEquals(Activations.FLOAT, linear.scheme().activations());
      boolean bytes = reopened.checkpoint().find(LAYER + ".weight").isPresent();
      assertEquals(format.equals("int-quantized"), bytes);
      assertEquals(!symmetric, linear.zeros() != null);
      assertEquals(List.of(), reopened.unknownTensors());
    }
  }

  @Test
  void bothSpellingsHoldTheSameWeights() throws IOException {
    for (String format : List.of("int-quantized", "pack-quantized")) {
      recipe(
              format,
              "GPTQModifier: {ignore: [lm_head], config_groups: {g: {targets: [Linear], weights:"
                  + (" {num_bits: 8, strategy: channel}, format: " + format + "}}}"))
          .run();
    }
    try (Context context = Context.cpu(1);
        Model bytes = Model.open(folder.resolve("int-quantized-out"), context);
        Model words = Model.open(folder.resolve("pack-quantized-out"), context)) {
      bytes
          .linears()
          .forEach(
              (name, linear) ->
                  assertArrayEquals(
                      linear.weight(context).toFloats(),
                      words.linears().get(name).weight(context).toFloats(),
                      name));
    }
  }

  @Test
  void groupsOfDifferentSpellingsMakeAMixedFile() throws IOException {
    recipe(
            "mixed",
            "QuantizationModifier: {ignore: [lm_head], config_groups: {a: {targets:"
                + " ['re:.*self_attn.*'], weights: {num_bits: 8, strategy: channel},"
                + " input_activations: {num_bits: 8, strategy: token, dynamic: true}}, b: {targets:"
                + " ['re:.*mlp.*'], weights: {num_bits: 4, strategy: group, group_size: 4}}}}")
        .run();
    assertEquals("mixed-precision", quantization("mixed-out").path("format").asText());
    JsonNode groups = quantization("mixed-out").path("config_groups");
    assertEquals("int-quantized", groups.at("/group_0/format").asText());
    assertEquals("pack-quantized", groups.at("/group_1/format").asText());
    assertTrue(groups.at("/group_1/input_activations").isNull());
  }

  @Test
  void theForwardPassIsTheDefinition() {
    try (Context context = Context.cpu(2)) {
      Random random = new Random(3);
      for (int bits : new int[] {4, 8}) {
        int in = 24;
        int out = 5;
        float[] weight = floats(random, in * out);
        float[] x = floats(random, 3 * in);
        LinearInput input =
            new LinearInput(
                "layer",
                context.floats(weight, out, in),
                context.floats(floats(random, out), out),
                new espalier.layer.Scheme(bits, false, 8, Activations.INT8_PER_TOKEN),
                espalier.kernel.Quantize.Range.MIN_MAX,
                DType.F32,
                null);
        Quantized linear = new Rtn().apply(input, context).quantized();
        Tensor given = context.floats(x, 3, in);
        float[] found = linear.forward(new Eager(context), given).toFloats();
        float[] values = linear.weight(context).toFloats();
        float[] bias = input.bias().toFloats();
        for (int row = 0; row < 3; row++) {
          float most = 0;
          for (int c = 0; c < in; c++) {
            most = Math.max(most, Math.abs(x[row * in + c]));
          }
          float scale = most / 127.5f;
          for (int r = 0; r < out; r++) {
            double expected = bias[r];
            for (int c = 0; c < in; c++) {
              double q = Math.rint(Math.max(-128, Math.min(127, x[row * in + c] / scale)));
              expected += values[r * in + c] * q * scale;
            }
            assertEquals(expected, found[row * out + r], 1e-5);
          }
        }
        // Rounding the input is not nothing, and only Eager(context, false) leaves it out.
        float[] plain = linear.forward(new Eager(context, false), given).toFloats();
        assertFalse(java.util.Arrays.equals(plain, found));
        // At most 24 products of |w| < 4 with an input off by half a step, |x| < 4: 24 * 4 * 2 /
        // 127.
        assertArrayEquals(found, plain, 1.6f);
      }
    }
  }

  private static float[] floats(Random random, int count) {
    float[] values = new float[count];
    for (int i = 0; i < count; i++) {
      values[i] = (float) random.nextGaussian();
    }
    return values;
  }

  @Test
  void aDenseOutputWarnsThatInputsStayAsTheyAre() {
    Report report =
        job(TinyModels.llama(), "dense")
            .scheme("W8A8")
            .method("rtn")
            .format(OutputFormat.DENSE)
            .run();
    assertTrue(report.events().stream().anyMatch(e -> e.kind().equals("inputs-not-rounded")));
  }

  @Test
  void theHessianIsThatOfUnroundedInputs() throws IOException {
    // With and without activations the same weights are chosen: only the forward pass differs.
    for (String inputs :
        List.of("", ", input_activations: {num_bits: 8, strategy: token, dynamic: true}")) {
      recipe(
              inputs.isEmpty() ? "plain" : "rounded",
              "GPTQModifier: {ignore: [lm_head], config_groups: {g: {targets: [Linear], weights:"
                  + (" {num_bits: 4, strategy: channel}" + inputs + "}}}"))
          .run();
    }
    try (Context context = Context.cpu(1);
        Model plain = Model.open(folder.resolve("plain-out"), context);
        Model rounded = Model.open(folder.resolve("rounded-out"), context)) {
      plain
          .linears()
          .forEach(
              (name, linear) ->
                  assertArrayEquals(
                      linear.weight(context).toFloats(),
                      rounded.linears().get(name).weight(context).toFloats(),
                      name));
    }
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "num_bits: 8, strategy: tensor | weights: {num_bits: 8, strategy: channel} | activations",
        "num_bits: 4, strategy: token, dynamic: true | weights: {num_bits: 8, strategy: channel} | activations",
        "num_bits: 8, strategy: token, dynamic: true, symmetric: false | weights: {num_bits: 8, strategy: channel} | activations",
        "num_bits: 8, strategy: token, dynamic: true | weights: {num_bits: 3, strategy: channel} | 3-bit weights",
        "num_bits: 8, strategy: token, dynamic: true | weights: {num_bits: 8, strategy: channel}, format: float-quantized | float-quantized",
      })
  void whatIsNotBuiltIsRefusedByName(String inputs, String rest, String word) throws IOException {
    CompressionJob job =
        recipe(
            "no",
            "QuantizationModifier: {ignore: [lm_head], config_groups: {g: {targets: [Linear],"
                + (" input_activations: {" + inputs + "}, " + rest + "}}}"));
    EspalierException refused = assertThrows(EspalierException.class, job::run);
    assertEquals(Kind.UNSUPPORTED, refused.kind(), refused.getMessage());
    assertTrue(refused.getMessage().contains(word), refused.getMessage());
    assertFalse(Files.exists(folder.resolve("no-out")));
  }

  @Test
  void oneSchemeInTwoSpellingsIsAUsageError() throws IOException {
    CompressionJob job =
        recipe(
            "two",
            "QuantizationModifier: {ignore: [lm_head], config_groups: {a: {targets:"
                + " ['re:.*mlp.*'], weights: {num_bits: 8, strategy: channel}, format:"
                + " int-quantized}, b: {targets: ['re:.*self_attn.*'], weights: {num_bits: 8,"
                + " strategy: channel}}}}");
    EspalierException refused = assertThrows(EspalierException.class, job::run);
    assertEquals(Kind.USAGE, refused.kind());
    assertTrue(
        refused.getMessage().contains("int-quantized and pack")
            || refused.getMessage().contains("pack-quantized and int"),
        refused.getMessage());
  }
}
