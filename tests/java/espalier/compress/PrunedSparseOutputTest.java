// SPDX-License-Identifier: Apache-2.0
package espalier.compress;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import espalier.CompressionJob;
import espalier.layer.Linear;
import espalier.layer.Sparse;
import espalier.layer.SparseQuantized;
import espalier.model.Model;
import espalier.model.TinyModels;
import espalier.report.Event;
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

/** Pruned and written without the zeros in one run: sizes foretold, weights those of any format. */
class PrunedSparseOutputTest extends InterruptedRuns {
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

  private CompressionJob pruned(String out, String sparsity, String method, String scheme) {
    CompressionJob job =
        job(out).recipe(null).sparsity(sparsity).pruneMethod(method).format(OutputFormat.SPARSE);
    return scheme == null ? job : job.scheme(scheme).groupSize(16);
  }

  @ParameterizedTest
  @CsvSource({
    "0.5, sparsegpt, , F32",
    "0.7, sparsegpt, , BF16",
    "2:4, sparsegpt, , BF16",
    "4:8, sparsegpt, , F16",
    "0.5, wanda, , BF16",
    "2:4, wanda, , F32",
    "0.6, magnitude, , BF16",
    "2:4, sparsegpt, W4A16, BF16",
    "0.9, sparsegpt, W4A16, F32",
    "0.5, sparsegpt, W8A16, BF16",
    "0.9, wanda, W4A16, F32",
    "2:4, magnitude, W4A16, BF16"
  })
  void whatIsPlannedIsWritten(String sparsity, String method, String scheme, DType type)
      throws IOException {
    stored = type;
    model = tiny().write(folder.resolve("model-" + type));
    asForetold(pruned("out", sparsity, method, scheme), scheme);
  }

  @ParameterizedTest
  @CsvSource({
    "0.5, magnitude, W8A16",
    "2:4, magnitude, W4A16",
    "2:4, wanda, W4A16",
    "0.9, sparsegpt, W4A16"
  })
  void whatIsRoundedToNearestIsToo(String sparsity, String method, String scheme)
      throws IOException {
    asForetold(pruned("out", sparsity, method, scheme).method("rtn"), scheme);
  }

  private void asForetold(CompressionJob job, String scheme) throws IOException {
    Map<String, Long> foretold = new TreeMap<>(job.dryRun().sizes().files());
    Report report = job.run();
    assertEquals(0.0, report.facts().get("reopened_logits_max_difference"));
    Map<String, Long> written = new TreeMap<>();
    try (Stream<Path> files = Files.walk(folder.resolve("out"))) {
      for (Path file : files.filter(Files::isRegularFile).toList()) {
        written.put(folder.resolve("out").relativize(file).toString(), Files.size(file));
      }
    }
    written.keySet().removeIf(name -> name.contains("espalier-report"));
    assertEquals(foretold, written);
    try (Context context = Context.cpu(1);
        Model opened = Model.open(folder.resolve("out"), context)) {
      long sparse =
          opened.linears().values().stream()
              .filter(l -> scheme == null ? l instanceof Sparse : l instanceof SparseQuantized)
              .count();
      assertEquals(3 * 7, sparse);
    }
  }

  @Test
  void sparseAndPlainFilesOfOneSolveHoldTheSameWeights() throws IOException {
    stored = DType.BF16;
    model = tiny().write(folder.resolve("model-bf16"));
    Report report =
        pruned("both", "0.5", "sparsegpt", null)
            .format(OutputFormat.DENSE, OutputFormat.SPARSE)
            .run();
    assertEquals(0.0, report.facts().get("reopened_logits_max_difference"));
    Map<String, float[]> dense = weights(folder.resolve("both/dense"));
    Map<String, float[]> sparse = weights(folder.resolve("both/sparse"));
    assertEquals(dense.keySet(), sparse.keySet());
    dense.forEach((name, values) -> assertArrayEquals(values, sparse.get(name), 0f, name));
  }

  private Map<String, float[]> weights(Path out) {
    Map<String, float[]> weights = new TreeMap<>();
    try (Context context = Context.cpu(1);
        Model opened = Model.open(out, context);
        Context.Scope scope = context.scope()) {
      for (Map.Entry<String, Linear> linear : opened.linears().entrySet()) {
        float[] values = linear.getValue().weight(context).toFloats();
        for (int i = 0; i < values.length; i++) {
          values[i] += 0f; // −0 is stored as nothing
        }
        weights.put(linear.getKey(), values);
      }
    }
    return weights;
  }

  @Test
  void killedInTheMiddleItGoesOnToTheSameBytes() throws IOException {
    for (int linears : new int[] {3, 8, 15}) {
      String name = "out" + linears;
      String whole = name + "-whole";
      pruned(whole, "2:4", "sparsegpt", linears == 8 ? "W4A16" : null)
          .listener(at(linears, () -> copy(partial(whole), partial(name))))
          .run();
      Report report = pruned(name, "2:4", "sparsegpt", linears == 8 ? "W4A16" : null).run();
      assertTrue(linears < 7 || resumed(report).startsWith("went on after"), resumed(report));
      same(whole, name);
    }
  }

  @Test
  void layersAreChosenByWhatTheyTake() {
    Report report = pruned("out", "0.05", "magnitude", null).run();
    // F32: a mask costs 1 + 64/32 bits a weight at 32 columns, 5 % of zeros save 1.6.
    String event =
        report.events().stream()
            .filter(e -> e.kind().equals("sparse-storage"))
            .map(Event::message)
            .findFirst()
            .orElseThrow();
    assertTrue(event.startsWith("0 linears are stored as 2:4, 0 as bitmask"), event);
    assertTrue(event.contains("too few zeros to be smaller"), event);
  }
}
