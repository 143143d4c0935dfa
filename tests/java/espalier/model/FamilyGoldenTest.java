// SPDX-License-Identifier: Apache-2.0
package espalier.model;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import espalier.Shared;
import espalier.kernel.Eager;
import espalier.kernel.Ops;
import espalier.report.EspalierException;
import espalier.tensor.Context;
import espalier.tensor.Tensor;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Set;
import java.util.stream.Stream;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestReporter;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Logits and greedy ids of transformers 5.24 in float64, in both styles of config. */
class FamilyGoldenTest {
  private static final String FAMILIES = "golden/families";
  private static final double TOLERANCE = 1e-4;
  private static final Set<String> SUPPORTED =
      Set.of(
          "llama",
          "llama-bf16",
          "llama-tied-bias",
          "llama3-rope",
          "llama-linear-rope",
          "llama-yarn",
          "mistral",
          "qwen2",
          "qwen2-tied",
          "qwen2-sliding",
          "qwen3",
          "qwen3-bf16",
          "gpt2",
          "gpt2-bare");

  @TempDir Path temp;

  /** Links a checkpoint's files into a new folder, with the other config in place of its own. */
  private Path restyled(Path folder, String config) throws IOException {
    Path copy = Files.createDirectory(temp.resolve(folder.getFileName().toString()));
    try (Stream<Path> files = Files.list(folder)) {
      for (Path file : files.toList()) {
        String name = file.getFileName().toString();
        if (!name.startsWith("config")) {
          Files.createSymbolicLink(copy.resolve(name), file.toAbsolutePath());
        }
      }
    }
    Files.copy(folder.resolve(config), copy.resolve("config.json"));
    return copy;
  }

  @ParameterizedTest
  @ValueSource(strings = {"config.json", "config.v4.json"})
  void logitsAndGreedyIdsOfEveryFamily(String config, TestReporter reporter) throws IOException {
    Shared.path(FAMILIES);
    int seen = 0;
    for (Path folder : Shared.folders(FAMILIES).toList()) {
      String name = folder.getFileName().toString();
      if (!SUPPORTED.contains(name) || !Files.exists(folder.resolve(config))) {
        continue;
      }
      seen++;
      JsonNode expected = Shared.json(folder.resolve("expected.json"));
      if (expected.has("same_as")) {
        expected = Shared.json(folder.resolve(expected.get("same_as").asText()));
      }
      try (Context context = Context.cpu(2);
          Model model = Model.open(restyled(folder, config), context)) {
        double error = largestError(context, model, expected);
        reporter.publishEntry(name + " " + config, "max error " + error);
        assertTrue(error <= TOLERANCE, name + " " + config + ": max error " + error);
        assertEquals(
            Arrays.toString(Shared.ids(expected.get("greedy"))),
            Arrays.toString(greedy(context, model, expected)),
            name);
      }
    }
    // gpt2-bare has only one config, in the older style.
    assertEquals(config.equals("config.json") ? 14 : 13, seen);
  }

  private static double largestError(Context context, Model model, JsonNode expected) {
    Ops ops = new Eager(context);
    double largest = 0;
    for (int row = 0; row < expected.get("input_ids").size(); row++) {
      int[] ids = Shared.ids(expected.get("input_ids").get(row));
      try (Context.Scope scope = context.scope()) {
        Tensor logits = model.forward(ops, context.ints(ids, ids.length), Past.NONE);
        assertEquals(ids.length, logits.dimension(0));
        float[] values = logits.toFloats();
        int i = 0;
        for (JsonNode position : expected.get("logits").get(row)) {
          for (JsonNode logit : position) {
            // Written so that NaN counts as an error.
            double error = Math.abs(values[i++] - logit.doubleValue());
            largest = error <= largest ? largest : error;
          }
        }
        assertEquals(values.length, i);
        scope.drop(logits);
      }
    }
    return largest;
  }

  private static int[] greedy(Context context, Model model, JsonNode expected) {
    int[] ids = Shared.ids(expected.get("greedy_prompt"));
    int prompt = ids.length;
    for (int n = expected.get("greedy").size(); n > 0; n--) {
      ids = Arrays.copyOf(ids, ids.length + 1);
      ids[ids.length - 1] = next(context, model, Arrays.copyOf(ids, ids.length - 1));
    }
    return Arrays.copyOfRange(ids, prompt, ids.length);
  }

  /** Returns the arg max after recomputing the whole sequence. */
  static int next(Context context, Model model, int[] ids) {
    try (Context.Scope scope = context.scope()) {
      Ops ops = new Eager(context);
      Tensor hidden = model.hidden(ops, context.ints(ids, ids.length), Past.NONE);
      Tensor last = model.logits(ops, hidden.rows(ids.length - 1L, ids.length));
      float[] logits = last.toFloats();
      scope.drop(last);
      int best = 0;
      for (int i = 1; i < logits.length; i++) {
        best = logits[i] > logits[best] ? i : best;
      }
      return best;
    }
  }

  @Test
  void everyOtherFamilyIsRefusedByTheFieldThatDecided() throws IOException {
    Shared.path(FAMILIES);
    List<Path> others =
        Shared.folders(FAMILIES)
            .filter(folder -> !SUPPORTED.contains(folder.getFileName().toString()))
            .toList();
    Assumptions.assumeFalse(others.isEmpty());
    for (Path folder : others) {
      for (String config : List.of("config.json", "config.v4.json")) {
        Path copy = restyled(folder, config);
        String type = Shared.json(folder.resolve(config)).get("model_type").asText();
        try (Context context = Context.cpu(1)) {
          EspalierException refused =
              assertThrows(EspalierException.class, () -> Model.open(copy, context).close());
          assertEquals(EspalierException.Kind.UNSUPPORTED, refused.kind());
          assertTrue(
              refused.getMessage().contains("model_type \"" + type + "\""), refused.getMessage());
        }
        Files.move(copy, temp.resolve(folder.getFileName() + "-" + config));
      }
    }
  }
}
