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
import espalier.kernel.Eager;
import espalier.kernel.Sparse.Pattern;
import espalier.layer.Dense;
import espalier.layer.Quantized;
import espalier.layer.Sparse;
import espalier.layer.SparseQuantized;
import espalier.model.Model;
import espalier.model.Past;
import espalier.model.PrunedModels;
import espalier.model.TinyModels;
import espalier.report.EspalierException;
import espalier.report.Report;
import espalier.tensor.Context;
import espalier.tensor.DType;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Pruned models without their zeros: the same model, as small as was foretold, through a kill. */
class SparseOutputTest extends InterruptedRuns {
  private static final String[] FAMILIES = {"llama", "qwen2", "gpt2"};

  @Override
  TinyModels tiny() {
    return PrunedModels.structured(
        TinyModels.llama().with("num_hidden_layers", 3).stored(stored).fill(), 2, 4);
  }

  private static TinyModels family(String name) {
    TinyModels model =
        switch (name) {
          case "llama" -> TinyModels.llama();
          case "qwen2" -> TinyModels.qwen2();
          default -> TinyModels.gpt2();
        };
    return model.fill();
  }

  private CompressionJob sparse(Path source, String out) {
    return Espalier.compress(source)
        .format(OutputFormat.SPARSE)
        .threads(2)
        .output(folder.resolve(out));
  }

  private float[] logits(Path model) {
    try (Context context = Context.cpu(1);
        Model opened = Model.open(model, context);
        Context.Scope scope = context.scope()) {
      return opened
          .forward(new Eager(context), context.ints(new int[] {3, 1, 4, 1, 5, 9, 2}, 7), Past.NONE)
          .toFloats();
    }
  }

  /** Bytes under the rules of the format, told again: places, offsets, values. */
  private static long formula(TinyModels model, DType type, boolean pairs, boolean turned) {
    long bytes = 0;
    for (Map.Entry<String, TinyModels.Values> entry : model.tensors().entrySet()) {
      long[] shape = entry.getValue().shape();
      long elements = entry.getValue().values().length;
      String name = entry.getKey();
      boolean linear = shape.length == 2 && (name.contains(".layers.") || name.contains(".h."));
      if (!linear) {
        bytes += type.bytes(elements);
        continue;
      }
      long out = shape[turned ? 1 : 0];
      long in = shape[turned ? 0 : 1];
      bytes += out * ((in + 7) / 8) + (pairs ? 0 : 8 * out);
      bytes += type.bytes(pairs ? out * in / 2 : PrunedModels.kept(entry.getValue()));
    }
    return bytes;
  }

  @ParameterizedTest
  @CsvSource({"F32, 2:4", "BF16, 2:4", "F16, 2:4", "F32, 70", "BF16, 70", "F16, 70"})
  void aPrunedModelIsTheSameAndAsSmallAsTheFormulaSays(DType type, String how) throws IOException {
    for (String name : FAMILIES) {
      boolean pairs = how.equals("2:4");
      boolean turned = name.equals("gpt2");
      TinyModels model = family(name).stored(type);
      // GPT-2 stores [in, out]: groups of four in its rows are none of its matrices.
      model =
          pairs && !turned
              ? PrunedModels.structured(model, 2, 4)
              : PrunedModels.unstructured(model, 0.7);
      Path source = model.write(folder.resolve(name));
      CompressionJob job = sparse(source, name + "-out");
      Map<String, Long> foretold = new TreeMap<>(job.dryRun().sizes().files());
      Report report = job.run();
      assertEquals(0.0, report.facts().get("reopened_logits_max_difference"));
      Path out = folder.resolve(name + "-out");
      assertEquals(foretold, sizes(out));
      long tensors;
      try (Context context = Context.cpu(1);
          Model opened = Model.open(out, context)) {
        tensors =
            opened.checkpoint().names().stream()
                .mapToLong(t -> opened.checkpoint().spec(t).orElseThrow().sizeBytes())
                .sum();
        opened
            .linears()
            .forEach(
                (linear, form) -> {
                  if (!linear.equals("lm_head")) {
                    Sparse found = assertInstanceOf(Sparse.class, form, linear);
                    assertEquals(type, found.type());
                    assertEquals(
                        pairs && !turned ? Pattern.TWO_OF_FOUR : Pattern.BITMASK,
                        found.matrix().pattern());
                  }
                });
        assertEquals(type, opened.stateType());
      }
      assertEquals(formula(model, type, pairs && !turned, turned), tensors, name);
      assertArrayEquals(logits(source), logits(out), 1e-5f, name);
    }
  }

  private static Map<String, Long> sizes(Path out) throws IOException {
    Map<String, Long> written = new TreeMap<>();
    try (Stream<Path> files = Files.walk(out)) {
      for (Path file : files.filter(Files::isRegularFile).toList()) {
        written.put(out.relativize(file).toString(), Files.size(file));
      }
    }
    written.keySet().removeIf(name -> name.contains("espalier-report"));
    return written;
  }

  @ParameterizedTest
  @CsvSource({
    "W4A16, 4, true",
    "W8A16, 4, true",
    "W4A16, 4, false",
    "W8A16, 0, false",
    "W3A16, 4, false"
  })
  void codesOfAPrunedModelAreStoredSparse(String scheme, int group, boolean pairs)
      throws IOException {
    TinyModels model = TinyModels.llama().stored(DType.BF16).fill();
    model = pairs ? PrunedModels.structured(model, 2, 4) : PrunedModels.unstructured(model, 0.8);
    Path source = model.write(folder.resolve("m"));
    CompressionJob job = sparse(source, "sparse").scheme(scheme).method("rtn").groupSize(group);
    Map<String, Long> foretold = new TreeMap<>(job.dryRun().sizes().files());
    Report report = job.run();
    assertEquals(0.0, report.facts().get("reopened_logits_max_difference"));
    assertEquals(foretold, sizes(folder.resolve("sparse")));
    Espalier.compress(source)
        .scheme(scheme)
        .method("rtn")
        .groupSize(group)
        .output(folder.resolve("packed"))
        .run();
    try (Context context = Context.cpu(1);
        Model sparse = Model.open(folder.resolve("sparse"), context);
        Model packed = Model.open(folder.resolve("packed"), context)) {
      long compact =
          sparse.linears().values().stream().filter(SparseQuantized.class::isInstance).count();
      assertTrue(compact > 0, sparse.linears().toString());
      sparse
          .linears()
          .forEach(
              (name, linear) ->
                  assertArrayEquals(
                      packed.linears().get(name).weight(context).toFloats(),
                      linear.weight(context).toFloats(),
                      0f,
                      name));
      assertEquals(packed.stateType(), sparse.stateType());
    }
    assertArrayEquals(logits(folder.resolve("packed")), logits(folder.resolve("sparse")), 1e-5f);
  }

  /** What no code 0 stands for, or what rounds its inputs, has no sparse form. */
  @ParameterizedTest
  @ValueSource(strings = {"W4A16_ASYM", "W8A8"})
  void whatHasNoSparseFormKeepsItsCodes(String scheme) throws IOException {
    Path source =
        PrunedModels.structured(TinyModels.llama().fill(), 2, 4).write(folder.resolve("m"));
    CompressionJob job = sparse(source, "out").scheme(scheme).method("rtn");
    if (!scheme.equals("W8A8")) {
      job.groupSize(4);
    }
    Map<String, Long> foretold = new TreeMap<>(job.dryRun().sizes().files());
    Report report = job.run();
    assertEquals(0.0, report.facts().get("reopened_logits_max_difference"));
    assertEquals(foretold, sizes(folder.resolve("out")));
    try (Context context = Context.cpu(1);
        Model opened = Model.open(folder.resolve("out"), context)) {
      Quantized linear =
          assertInstanceOf(Quantized.class, opened.linears().get("model.layers.0.mlp.up_proj"));
      assertEquals(scheme.equals("W8A8"), linear.scheme().symmetric());
    }
  }

  @Test
  void aLinearThatWouldGrowStaysDenseAndIsNamed() throws IOException {
    TinyModels model = PrunedModels.structured(TinyModels.llama().stored(DType.BF16).fill(), 2, 4);
    float[] full = model.tensors().get("model.layers.1.mlp.up_proj.weight").values();
    java.util.Arrays.fill(full, 0.25f);
    full[7] = 0;
    Path source = model.write(folder.resolve("m"));
    Report report = sparse(source, "out").run();
    String event =
        report.events().stream()
            .filter(e -> e.kind().equals("sparse-storage"))
            .findFirst()
            .orElseThrow()
            .message();
    assertTrue(event.contains("13 linears are stored as 2:4"), event);
    assertTrue(event.contains("model.layers.1.mlp.up_proj"), event);
    try (Context context = Context.cpu(1);
        Model opened = Model.open(folder.resolve("out"), context)) {
      assertInstanceOf(Dense.class, opened.linears().get("model.layers.1.mlp.up_proj"));
    }
  }

  @Test
  void aModelWithoutZerosHasNothingToLeaveOut() throws IOException {
    TinyModels whole = TinyModels.llama().fill();
    whole
        .tensors()
        .values()
        .forEach(
            t -> {
              for (int i = 0; i < t.values().length; i++) {
                t.values()[i] = t.values()[i] == 0 ? 0.125f : t.values()[i];
              }
            });
    CompressionJob job = sparse(whole.write(folder.resolve("m")), "out");
    EspalierException fault = assertThrows(EspalierException.class, job::run);
    assertEquals(EspalierException.Kind.USAGE, fault.kind());
    assertFalse(Files.exists(folder.resolve("out")));
  }

  @Test
  void configAndFilesNameTheVersion() throws IOException {
    sparse(model, "out").run();
    Path out = folder.resolve("out");
    JsonNode config = Json.STRICT.readTree(out.resolve("config.json").toFile());
    assertFalse(config.has("quantization_config"));
    assertEquals(1, config.at("/espalier_sparse/version").asInt());
    JsonNode module = config.at("/espalier_sparse/modules").get("model.layers.2.self_attn.q_proj");
    assertEquals("{\"pattern\":\"2:4\",\"columns\":16,\"values\":\"f32\"}", module.toString());
    try (Context context = Context.cpu(1);
        Model opened = Model.open(out, context)) {
      assertEquals("1", opened.checkpoint().metadata().get("espalier_sparse"));
      assertEquals("pt", opened.checkpoint().metadata().get("format"));
    }
  }

  @Test
  void whatIsSparseIsNotCompressedAgain() {
    sparse(model, "out").run();
    CompressionJob again =
        Espalier.compress(folder.resolve("out"))
            .scheme("W4A16")
            .method("rtn")
            .output(folder.resolve("again"));
    EspalierException fault = assertThrows(EspalierException.class, again::run);
    assertTrue(fault.getMessage().contains("espalier_sparse"), fault.getMessage());
  }

  /** Everything but the head is rounded by GPTQ's neighbour RTN, so that codes are sparse too. */
  private CompressionJob several(String out) {
    return job(out)
        .recipe(recipe)
        .format(OutputFormat.COMPRESSED_TENSORS, OutputFormat.SPARSE, OutputFormat.GPTQ);
  }

  private void useSymmetricRounding() throws IOException {
    recipe =
        Files.writeString(
            folder.resolve("recipe.yaml"),
            """
            s_stage:
              m_modifiers:
                QuantizationModifier:
                  ignore: ['re:.*layers.1.*']
                  config_groups:
                    all: {targets: [Linear], weights: {num_bits: 8, strategy: group, group_size: 4}}
            """);
  }

  @Test
  void oneSolveFillsSparseAndPackedFormatsAlike() throws IOException {
    stored = DType.F32;
    model =
        PrunedModels.structured(
                TinyModels.llama()
                    .with("hidden_size", 32)
                    .with("head_dim", 8)
                    .with("intermediate_size", 64)
                    .with("num_hidden_layers", 3)
                    .fill(),
                2,
                4)
            .write(folder.resolve("wide"));
    useSymmetricRounding();
    Report report = several("out").run();
    assertEquals(0.0, report.facts().get("reopened_logits_max_difference"));
    Map<String, float[]> first = weights(folder.resolve("out/compressed-tensors"));
    for (String format : new String[] {"sparse", "gptq"}) {
      Map<String, float[]> other = weights(folder.resolve("out").resolve(format));
      first.forEach((name, values) -> assertArrayEquals(values, other.get(name), 0f, name));
    }
  }

  private Map<String, float[]> weights(Path out) {
    Map<String, float[]> weights = new TreeMap<>();
    try (Context context = Context.cpu(1);
        Model opened = Model.open(out, context);
        Context.Scope scope = context.scope()) {
      opened
          .linears()
          .forEach((name, linear) -> weights.put(name, linear.weight(context).toFloats()));
    }
    return weights;
  }

  @Test
  void killedInTheMiddleItGoesOnToTheSameBytes() throws IOException {
    useSymmetricRounding();
    for (int linears : new int[] {3, 8, 14}) {
      String name = "out" + linears;
      String whole = name + "-whole";
      sparseJob(whole).listener(at(linears, () -> copy(partial(whole), partial(name)))).run();
      Report report = sparseJob(name).run();
      assertTrue(linears < 7 || resumed(report).startsWith("went on after"), resumed(report));
      same(whole, name);
    }
  }

  private CompressionJob sparseJob(String out) {
    return job(out).recipe(recipe).format(OutputFormat.SPARSE);
  }
}
