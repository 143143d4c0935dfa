// SPDX-License-Identifier: Apache-2.0
package espalier.compress;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import espalier.CompressionJob;
import espalier.Espalier;
import espalier.internal.Json;
import espalier.layer.Dense;
import espalier.layer.Linear;
import espalier.layer.Quantized;
import espalier.model.Model;
import espalier.model.TinyModels;
import espalier.report.EspalierException;
import espalier.report.EspalierException.Kind;
import espalier.report.Event;
import espalier.report.LinearRow;
import espalier.report.Report;
import espalier.tensor.Context;
import espalier.tensor.DType;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Pruning as a whole job: what is written holds its pattern, and is what was computed. */
class PruningTest {
  @TempDir Path folder;
  private Path data;

  @BeforeEach
  void writeTexts() throws IOException {
    Random random = new Random(12);
    StringBuilder lines = new StringBuilder();
    for (int text = 0; text < 12; text++) {
      lines
          .append("{\"input_ids\": ")
          .append(random.ints(14, 0, 24).boxed().toList())
          .append("}\n");
    }
    data = Files.writeString(folder.resolve("texts.jsonl"), lines);
  }

  private CompressionJob job(TinyModels model, String name) {
    return again(model.fill().write(folder.resolve(name)), name);
  }

  private CompressionJob again(Path model, String name) {
    return Espalier.compress(model)
        .data(data)
        .samples(12)
        .threads(2)
        .output(folder.resolve(name + "-out"));
  }

  private Path recipe(String modifiers) throws IOException {
    return Files.writeString(
        folder.resolve("recipe.yaml"), "s_stage:\n  s_modifiers:\n" + modifiers);
  }

  /** A linear's values row by row. */
  private record Values(float[] weights, int columns) {
    int zeros(int row, int from, int to) {
      int zeros = 0;
      for (int i = row * columns + from; i < row * columns + to; i++) {
        zeros += weights[i] == 0 ? 1 : 0;
      }
      return zeros;
    }

    int rows() {
      return weights.length / columns;
    }

    int zeros() {
      int zeros = 0;
      for (int row = 0; row < rows(); row++) {
        zeros += zeros(row, 0, columns);
      }
      return zeros;
    }
  }

  /** Returns the values of every linear of a folder but the head. */
  private static Map<String, Values> values(Path out) {
    Map<String, Values> values = new TreeMap<>();
    try (Context context = Context.cpu(1);
        Model model = Model.open(out, context);
        Context.Scope scope = context.scope()) {
      model.linears().forEach((name, linear) -> values.put(name, values(context, linear)));
    }
    values.remove("lm_head");
    return values;
  }

  private static Values values(Context context, Linear linear) {
    return new Values(linear.weight(context).toFloats(), (int) linear.inFeatures());
  }

  @ParameterizedTest
  @ValueSource(strings = {"llama", "mistral", "qwen2", "qwen3", "gpt2"})
  void everyFamilyIsPrunedAndReadBackAsPlainTensors(String family) throws IOException {
    TinyModels model =
        switch (family) {
          case "llama" -> TinyModels.llama();
          case "mistral" -> TinyModels.mistral();
          case "qwen2" -> TinyModels.qwen2();
          case "qwen3" -> TinyModels.qwen3();
          default -> TinyModels.gpt2();
        };
    Report report = job(model, family).sparsity("2:4").run();
    assertEquals(0.0, report.facts().get("reopened_logits_max_difference"));
    Path out = folder.resolve(family + "-out");
    JsonNode config = Json.STRICT.readTree(out.resolve("config.json").toFile());
    assertFalse(config.has("quantization_config"), "zeros speak for themselves");
    Map<String, Values> pruned = values(out);
    assertEquals(family.equals("gpt2") ? 8 : 14, pruned.size());
    pruned.forEach(
        (name, linear) -> {
          for (int row = 0; row < linear.rows(); row++) {
            for (int c = 0; c < linear.columns(); c += 4) {
              int end = Math.min(linear.columns(), c + 4);
              assertTrue(linear.zeros(row, c, end) >= (end - c) / 2, name + " " + row + " " + c);
            }
          }
        });
    for (LinearRow row : report.rows()) {
      if (row.isCompressed()) {
        assertEquals("sparsegpt", row.method());
        assertEquals("2:4", row.scheme());
        assertTrue(row.density() > 0.4 && row.density() <= 0.5, row.toString());
        assertEquals(32, row.bitsPerWeight());
        assertTrue(row.relativeError() > 0);
      }
    }
  }

  @ParameterizedTest
  @CsvSource({"F32", "F16", "BF16", "F64"})
  void everyStoredTypeKeepsItsZeros(DType type) {
    Report report = job(TinyModels.llama().stored(type), "typed").sparsity("0.6").run();
    assertEquals(0.0, report.facts().get("reopened_logits_max_difference"));
    values(folder.resolve("typed-out"))
        .forEach((name, l) -> assertTrue(l.zeros() >= 0.6 * l.weights().length, name));
  }

  @ParameterizedTest
  @CsvSource({
    "sparsegpt, 0.05", "sparsegpt, 0.5", "sparsegpt, 0.95",
    "wanda, 0.05", "wanda, 0.5", "wanda, 0.95",
    "magnitude, 0.05", "magnitude, 0.5", "magnitude, 0.95"
  })
  void sharesAreExact(String method, double sparsity) {
    // Weights of more digits than the tiny models have: no zero is there by itself, no two are
    // equal.
    Path model = spread(TinyModels.llama());
    again(model, "m").sparsity("" + sparsity).pruneMethod(method).run();
    values(folder.resolve("m-out"))
        .forEach(
            (name, linear) -> {
              long size = linear.weights().length;
              long expected =
                  method.equals("wanda")
                      ? linear.rows() * (long) (linear.columns() * sparsity)
                      : (long) (size * sparsity) + 1; // all columns are in one block
              assertEquals(expected, linear.zeros(), name);
            });
  }

  /** Writes a model whose weights are all different and none is 0. */
  private Path spread(TinyModels model) {
    Random random = new Random(3);
    model.fill();
    model
        .tensors()
        .replaceAll(
            (name, old) -> {
              float[] values = new float[old.values().length];
              for (int i = 0; i < values.length; i++) {
                values[i] = (random.nextBoolean() ? 1 : -1) * (0.01f + random.nextFloat() / 4);
              }
              return name.contains("proj") ? new TinyModels.Values(values, old.shape()) : old;
            });
    return model.write(folder.resolve("spread"));
  }

  @Test
  void theMeanErrorIsSmallerThanThatOfMagnitude() {
    Path model = spread(TinyModels.llama());
    for (String sparsity : List.of("0.5", "2:4", "4:8")) {
      String name = sparsity.replace(":", "of");
      Report report = again(model, name).sparsity(sparsity).run();
      List<LinearRow> rows = report.rows().stream().filter(LinearRow::isCompressed).toList();
      double solved = rows.stream().mapToDouble(LinearRow::relativeError).average().orElseThrow();
      double plain = rows.stream().mapToDouble(LinearRow::nearestError).average().orElseThrow();
      assertTrue(solved < plain, sparsity + ": " + solved + " against " + plain);
    }
  }

  @ParameterizedTest
  @CsvSource({"0.5, ", "2:4, ", "0.5, W4A16", "2:4, W4A16_ASYM"})
  void oneAndThreeThreadsGiveTheSameBytes(String sparsity, String scheme) throws IOException {
    Path model = TinyModels.llama().fill().write(folder.resolve("model"));
    for (int threads : List.of(1, 3)) {
      CompressionJob job = again(model, "t" + threads).sparsity(sparsity).threads(threads);
      if (scheme != null) {
        job.scheme(scheme).groupSize(4);
      }
      job.run();
    }
    for (String file : List.of("model.safetensors", "config.json", "README.md")) {
      assertEquals(
          -1,
          Files.mismatch(
              folder.resolve("t1-out").resolve(file), folder.resolve("t3-out").resolve(file)),
          file);
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"W4A16", "W4A16_ASYM", "W8A16", "W3A16"})
  void theJointSolveHoldsThePatternInItsCodes(String scheme) {
    Report report =
        job(TinyModels.llama(), "joint").sparsity("2:4").scheme(scheme).groupSize(4).run();
    assertEquals(0.0, report.facts().get("reopened_logits_max_difference"));
    try (Context context = Context.cpu(1);
        Model model = Model.open(folder.resolve("joint-out"), context)) {
      Linear down = model.linears().get("model.layers.1.mlp.down_proj");
      assertInstanceOf(Quantized.class, down);
    }
    values(folder.resolve("joint-out"))
        .forEach(
            (name, l) -> {
              for (int row = 0; row < l.rows(); row++) {
                for (int c = 0; c < l.columns(); c += 4) {
                  assertTrue(l.zeros(row, c, c + 4) >= 2, name + " row " + row + " column " + c);
                }
              }
              assertTrue(l.zeros() < 0.8 * l.weights().length, name + " is all but empty");
            });
    LinearRow row = report.rows().get(0);
    assertEquals("sparsegpt", row.method());
    assertTrue(row.scheme().startsWith("2:4, W" + scheme.charAt(1)), row.scheme());
  }

  @Test
  void sparseThenQuantizedKeepsTheMask() throws IOException {
    Path model = spread(TinyModels.llama());
    String prune =
        "    SparseGPTModifier: {sparsity: 0.5, mask_structure: '2:4', ignore: [lm_head]}\n";
    String quantize =
        "    GPTQModifier: {ignore: [lm_head], config_groups: {g: {targets: [Linear], weights:"
            + " {num_bits: 4, strategy: group, group_size: 4}}}}\n";
    again(model, "pruned").recipe(recipe(prune)).run();
    Report report = again(model, "both").recipe(recipe(prune + quantize)).run();
    assertEquals("sparsegpt+gptq", report.rows().get(0).method());
    Map<String, Values> both = values(folder.resolve("both-out"));
    // The first layer of all reads the same inputs in both runs, and has the same mask.
    String first = "model.layers.0.self_attn.q_proj";
    float[] alone = values(folder.resolve("pruned-out")).get(first).weights();
    float[] rounded = both.get(first).weights();
    int stayed = 0;
    for (int i = 0; i < alone.length; i++) {
      assertTrue(alone[i] != 0 || rounded[i] == 0, "a pruned weight came back at " + i);
      stayed += rounded[i] != 0 ? 1 : 0;
    }
    assertTrue(stayed > 0.8 * alone.length / 2, "only " + stayed + " of " + alone.length);
    both.forEach((name, l) -> assertTrue(l.zeros() < 0.75 * l.weights().length, name));
  }

  @Test
  void aPrunedModelStaysPrunedWhenItIsQuantizedLater() throws IOException {
    Path model = spread(TinyModels.llama());
    again(model, "pruned").sparsity("2:4").run();
    Path pruned = folder.resolve("pruned-out");
    Report report = again(pruned, "later").scheme("W4A16").groupSize(4).run();
    assertTrue(report.events().stream().anyMatch(e -> e.kind().equals("zeros-kept")));
    Map<String, Values> before = values(pruned);
    values(folder.resolve("later-out"))
        .forEach(
            (name, l) -> {
              float[] was = before.get(name).weights();
              for (int i = 0; i < was.length; i++) {
                assertTrue(was[i] != 0 || l.weights()[i] == 0, name + " " + i);
              }
              assertTrue(l.zeros() < 0.75 * was.length, name + " is all but empty");
            });
  }

  @Test
  void constantPruningSaysSoAndPreservedMasksGrow() throws IOException {
    Path model = spread(TinyModels.llama());
    again(model, "half").sparsity("0.3").pruneMethod("magnitude").run();
    Path half = folder.resolve("half-out");
    Report kept =
        again(half, "kept")
            .recipe(recipe("    ConstantPruningModifier: {targets: ['re:model.*']}\n"))
            .run();
    assertEquals("constant", kept.rows().get(0).method());
    assertEquals(0.7, kept.rows().get(0).density(), 0.01);
    again(half, "more")
        .recipe(
            recipe(
                "    SparseGPTModifier: {sparsity: 0.6, preserve_sparsity_mask: true, ignore:"
                    + " [lm_head]}\n"))
        .run();
    Map<String, Values> before = values(half);
    values(folder.resolve("more-out"))
        .forEach(
            (name, l) -> {
              float[] was = before.get(name).weights();
              for (int i = 0; i < was.length; i++) {
                assertTrue(was[i] != 0 || l.weights()[i] == 0, name + " " + i);
              }
              assertEquals((long) (was.length * 0.6) + 1, l.zeros(), name);
            });
  }

  @Test
  void aRestThatCanLoseItsShareIsTold() {
    // 20 inputs of down_proj in two blocks: two sets of 8 and a rest of 4, which loses 2.
    Report report = job(TinyModels.llama(), "rest").sparsity("4:8").run();
    List<Event> rests =
        report.events().stream().filter(e -> e.kind().equals("pattern-rest")).toList();
    assertEquals(2, rests.size());
    assertTrue(rests.get(0).message().contains("the last 4 lose 2"), rests.get(0).message());
  }

  @Test
  void aRestThatCannotIsRefusedBeforeAnythingIsWritten() {
    EspalierException fault =
        assertThrows(
            EspalierException.class, () -> job(TinyModels.llama(), "r").sparsity("3:8").run());
    assertEquals(Kind.USAGE, fault.kind());
    assertTrue(fault.getMessage().contains("down_proj"), fault.getMessage());
    assertFalse(Files.exists(folder.resolve("r-out")));
    assertFalse(Files.exists(folder.resolve("r-out.partial")));
  }

  @Test
  void pruningAfterQuantizingIsRefused() throws IOException {
    Path recipe =
        recipe(
            "    QuantizationModifier: {ignore: [lm_head], config_groups: {g: {targets: [Linear],"
                + " weights: {num_bits: 8, strategy: channel}}}}\n"
                + "    WandaPruningModifier: {sparsity: 0.5, ignore: [lm_head]}\n");
    Path model = TinyModels.llama().fill().write(folder.resolve("model"));
    EspalierException fault =
        assertThrows(EspalierException.class, () -> again(model, "o").recipe(recipe).run());
    assertEquals(Kind.USAGE, fault.kind());
    assertTrue(fault.getMessage().contains("prune first"), fault.getMessage());
  }

  @Test
  void listsAndContainersGiveEveryLayerItsOwn() throws IOException {
    Path model = spread(TinyModels.llama());
    again(model, "list")
        .recipe(
            recipe(
                "    WandaPruningModifier: {sparsity: [0.25, 0.75], targets:"
                    + " [LlamaDecoderLayer]}\n"))
        .run();
    values(folder.resolve("list-out"))
        .forEach(
            (name, l) -> {
              double share = name.contains("layers.0.") ? 0.25 : 0.75;
              assertEquals(l.rows() * (int) (share * l.columns()), l.zeros(), name);
            });
  }

  @ParameterizedTest
  @ValueSource(strings = {"SparseGPTModifier", "WandaPruningModifier"})
  void owlPrunesBlocksWithOutliersLess(String modifier) throws IOException {
    TinyModels tiny = TinyModels.llama();
    tiny.fill();
    Random random = new Random(8);
    // Block 1 has a few weights far above the others.
    tiny.tensors()
        .replaceAll(
            (name, old) -> {
              float[] values = new float[old.values().length];
              for (int i = 0; i < values.length; i++) {
                float size = name.contains("layers.1.") && i % 40 == 0 ? 4 : 0.1f;
                values[i] = size * (random.nextFloat() - 0.5f);
              }
              return name.contains("proj") ? new TinyModels.Values(values, old.shape()) : old;
            });
    Path model = tiny.write(folder.resolve("owl"));
    Report report =
        again(model, "owl")
            .recipe(
                recipe(
                    "    "
                        + modifier
                        + ": {sparsity: 0.6, sparsity_profile: owl, owl_m: 5, owl_lmbda: 0.1,"
                        + " ignore: [lm_head]}\n"))
            .run();
    assertEquals(1, report.events().stream().filter(e -> e.kind().equals("owl-ratios")).count());
    // Two blocks: one is lambda below the mean, the other lambda above.
    values(folder.resolve("owl-out"))
        .forEach(
            (name, l) -> {
              double share = name.contains("layers.1.") ? 0.5 : 0.7;
              double slack = modifier.startsWith("Wanda") ? 1.0 / l.columns() : 0.02;
              assertEquals(share, (double) l.zeros() / l.weights().length, slack, name);
            });
  }

  @Test
  void aPanelAtATimeGivesTheSameBytes() throws IOException {
    Path model = TinyModels.llama().fill().write(folder.resolve("model"));
    for (String sparsity : List.of("2:4", "0.5")) {
      String name = sparsity.replace(':', '-');
      again(model, name).sparsity(sparsity).run();
      try (Context context = Context.cpu(1);
          Model opened = Model.open(model, context)) {
        String text =
            espalier.recipe.ShortForm.of(
                    espalier.recipe.PruneForm.of(sparsity, null),
                    null,
                    null,
                    null,
                    Modifiers.REGISTRY)
                .yaml();
        var recipe = espalier.recipe.Recipe.parse(text, "r", Modifiers.REGISTRY);
        Plan plan = Plan.of(opened, recipe, List.of(OutputFormat.COMPRESSED_TENSORS), text);
        List<int[]> texts = texts();
        MemoryPlan memory = MemoryPlan.frugal(opened, plan, Workload.of(texts), 5);
        Report report = new Report(espalier.report.Listener.NONE);
        Path out = folder.resolve(name + "-frugal");
        new CompressionRun(context, opened, plan, report, espalier.report.Listener.NONE)
            .within(memory)
            .to(out, CompressionJob.DEFAULT_SHARD_BYTES, texts);
        assertEquals(
            -1,
            Files.mismatch(
                out.resolve("model.safetensors"),
                folder.resolve(name + "-out").resolve("model.safetensors")));
      }
    }
  }

  private List<int[]> texts() throws IOException {
    try (Stream<String> lines = Files.lines(data)) {
      return lines
          .map(
              line -> {
                try {
                  return Json.STRICT.treeToValue(
                      Json.STRICT.readTree(line).get("input_ids"), int[].class);
                } catch (IOException e) {
                  throw new java.io.UncheckedIOException(e);
                }
              })
          .toList();
    }
  }

  @ParameterizedTest
  @CsvSource({"0.5, ", "2:4, W4A16", "0.5, W8A16"})
  void aDryRunForetellsMethodsAndBytes(String sparsity, String scheme) throws IOException {
    Path model = TinyModels.llama().fill().write(folder.resolve("model"));
    CompressionJob job = again(model, "dry").sparsity(sparsity);
    if (scheme != null) {
      job.scheme(scheme).groupSize(4);
    }
    DryRun dry = job.machines(new MachineCache(folder.resolve("cache").resolve("m.json"))).dryRun();
    JsonNode after = job.run().toJson();
    int compressed = 0;
    for (JsonNode row : after.get("linears")) {
      if (!row.get("method").textValue().equals("none")) {
        JsonNode told = dry.toJson().get("linears").get(compressed++);
        for (String field : new String[] {"name", "method", "scheme", "bits_per_weight"}) {
          assertEquals(row.get(field), told.get(field));
        }
      }
    }
    assertEquals(14, compressed);
    long bytes = Files.size(folder.resolve("dry-out").resolve("model.safetensors"));
    assertEquals(bytes, dry.sizes().files().get("model.safetensors"));
  }

  @Test
  void wandaTakesTheNormsOfItsInputsAndNothingElse() {
    try (Context context = Context.cpu(1);
        Context.Scope scope = context.scope()) {
      Statistics statistics = Statistics.ofDiagonal(context, 3);
      statistics.add(context.floats(new float[] {1, 0, 10, 1, 2, 10}, 2, 3));
      LinearInput input =
          new LinearInput(
              "w",
              context.floats(new float[] {5, 4, 1, -3, 2, 1}, 2, 3),
              null,
              null,
              null,
              DType.F32,
              statistics);
      // Norms 1, √2, 10: scores 5, 5.66, 10 and 3, 2.83, 10; a third of each row goes.
      Dense result = (Dense) new Wanda(Pattern.of(0.34)).apply(input, context).linear();
      assertArrayEquals(new float[] {0, 4, 1, -3, 0, 1}, result.matrix().toFloats());
      assertThrows(IllegalStateException.class, statistics::gram);
    }
  }
}
