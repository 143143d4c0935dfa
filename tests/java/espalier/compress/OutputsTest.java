// SPDX-License-Identifier: Apache-2.0
package espalier.compress;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import espalier.CompressionJob;
import espalier.layer.Linear;
import espalier.layer.Quantized;
import espalier.model.Model;
import espalier.model.TinyModels;
import espalier.report.EspalierException;
import espalier.report.Report;
import espalier.tensor.Context;
import espalier.tensor.DType;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** One solve, several checkpoints: each holds the one result, exactly. */
final class OutputsTest extends InterruptedRuns {
  private static final OutputFormat[] PACKED = {
    OutputFormat.COMPRESSED_TENSORS, OutputFormat.GPTQ, OutputFormat.GPTQ_V2
  };

  @Override
  TinyModels tiny() {
    return TinyModels.llama()
        .with("hidden_size", 32)
        .with("head_dim", 8)
        .with("intermediate_size", 64)
        .with("num_hidden_layers", 3)
        .stored(stored)
        .fill();
  }

  @Override
  CompressionJob job(String out) {
    return super.job(out).format(PACKED);
  }

  private Map<String, float[]> weights(Path out) {
    Map<String, float[]> weights = new HashMap<>();
    try (Context context = Context.cpu(1);
        Model opened = Model.open(out, context);
        Context.Scope scope = context.scope()) {
      for (Map.Entry<String, Linear> linear : opened.linears().entrySet()) {
        weights.put(linear.getKey(), linear.getValue().weight(context).toFloats());
      }
    }
    return weights;
  }

  @ParameterizedTest
  @EnumSource(
      value = DType.class,
      names = {"F32", "F16", "BF16"})
  void everyFormatHoldsTheSameWeights(DType type) throws IOException {
    stored = type;
    model = tiny().write(folder.resolve("model-" + type));
    Report report = job("out").run();
    assertEquals(0.0, report.facts().get("reopened_logits_max_difference"));
    Map<String, float[]> first = weights(folder.resolve("out/compressed-tensors"));
    assertEquals(3 * 7 + 1, first.size());
    for (String format : List.of("gptq", "gptq_v2")) {
      Map<String, float[]> other = weights(folder.resolve("out").resolve(format));
      assertEquals(first.keySet(), other.keySet());
      first.forEach((name, values) -> assertArrayEquals(values, other.get(name), name));
    }
  }

  /** Wide enough for dense and packed products to add in different orders. */
  @Test
  void aDenseCopyHoldsWhatThePackedFilesDecodeTo() throws IOException {
    TinyModels wide =
        TinyModels.llama()
            .with("hidden_size", 192)
            .with("head_dim", 32)
            .with("intermediate_size", 512)
            .fill();
    model = wide.write(folder.resolve("wide"));
    job("out").format(OutputFormat.DENSE, OutputFormat.GPTQ).run();
    Map<String, float[]> packed = weights(folder.resolve("out/gptq"));
    Map<String, float[]> dense = weights(folder.resolve("out/dense"));
    assertEquals(packed.keySet(), dense.keySet());
    packed.forEach((name, values) -> assertArrayEquals(values, dense.get(name), name));
  }

  @Test
  void everyFileHasTheSizeThatWasForetold() throws IOException {
    CompressionJob job = job("out");
    Map<String, Long> foretold = new TreeMap<>(job.dryRun().sizes().files());
    job.run();
    Map<String, Long> written = new TreeMap<>();
    try (Stream<Path> files = Files.walk(folder.resolve("out"))) {
      for (Path file : files.filter(Files::isRegularFile).toList()) {
        written.put(folder.resolve("out").relativize(file).toString(), Files.size(file));
      }
    }
    written.keySet().removeIf(name -> name.contains("espalier-report"));
    assertEquals(foretold, written);
  }

  @Test
  void killedInTheMiddleAllOfThemAreGoneOnWith() throws IOException {
    for (int linears : List.of(3, 8, 15, 22)) {
      String name = "out" + linears;
      killed(name, linears);
      Report report = job(name).run();
      assertTrue(linears < 7 || resumed(report).startsWith("went on after"), resumed(report));
      same(name + "-whole", name);
    }
  }

  @Test
  void theRecipeMayNameFormatsAndWidths() throws IOException {
    model = tiny().write(folder.resolve("model"));
    Path asked = folder.resolve("asked.yaml");
    Files.writeString(
        asked,
        """
        q_stage:
          q_modifiers:
            QuantizationModifier:
              ignore: [lm_head]
              config_groups:
                all: {targets: [Linear], weights: {num_bits: 4, group_size: 32}}
        espalier:
          formats: [gptq_v2, compressed-tensors]
          bits: {"re:.*down_proj": 8}
        """);
    super.job("out").recipe(asked).run();
    for (String format : List.of("gptq_v2", "compressed-tensors")) {
      try (Context context = Context.cpu(1);
          Model opened = Model.open(folder.resolve("out").resolve(format), context)) {
        assertEquals(8, bits(opened, "model.layers.1.mlp.down_proj"), format);
        assertEquals(4, bits(opened, "model.layers.1.mlp.up_proj"), format);
      }
    }
    super.job("own").recipe(asked).format(OutputFormat.DENSE).run();
    assertTrue(Files.exists(folder.resolve("own/model.safetensors.index.json")));
  }

  private static int bits(Model opened, String name) {
    return ((Quantized) opened.linears().get(name)).scheme().bits();
  }

  @Test
  void aDenseCopyThatWouldRoundAgainIsRefused() throws IOException {
    stored = DType.BF16;
    model = tiny().write(folder.resolve("model-bf16"));
    CompressionJob job = job("out").format(OutputFormat.COMPRESSED_TENSORS, OutputFormat.DENSE);
    EspalierException fault = assertThrows(EspalierException.class, job::run);
    assertEquals(EspalierException.Kind.USAGE, fault.kind());
    assertTrue(Files.notExists(folder.resolve("out")) && Files.notExists(partial("out")));
  }
}
