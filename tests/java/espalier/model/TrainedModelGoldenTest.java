// SPDX-License-Identifier: Apache-2.0
package espalier.model;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import espalier.Shared;
import espalier.kernel.Eager;
import espalier.kernel.Ops;
import espalier.tensor.Context;
import espalier.tensor.DType;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestReporter;

/** Small trained models: logits of a float64 reference, six digits after the point. */
class TrainedModelGoldenTest {
  private static final double TOLERANCE = 1e-4; // logits reach 20; fp32 sums leave about 1e-5

  @Test
  void logitsOfEveryTrainedModel(TestReporter reporter) {
    Shared.path("models");
    int seen = 0;
    for (Path folder : Shared.folders("models").toList()) {
      Path file = folder.resolve("expected.json");
      if (!Files.exists(file)) {
        continue; // layers without an embedding
      }
      seen++;
      try (Context context = Context.cpu(2);
          Model model = Model.open(folder, context)) {
        double largest = 0;
        for (JsonNode text : Shared.json(file).get("logits")) {
          largest = Math.max(largest, check(context, model, text));
        }
        reporter.publishEntry(folder.getFileName().toString(), "max error " + largest);
        assertTrue(largest <= TOLERANCE, folder + ": max error " + largest);
        for (JsonNode run : Shared.json(file).get("greedy")) {
          checkGreedy(context, model, run);
        }
      }
    }
    assertTrue(seen >= 5, "only " + seen + " trained models");
  }

  private static double check(Context context, Model model, JsonNode text) {
    int[] ids = Shared.ids(text.get("ids"));
    int vocabulary = Math.toIntExact(model.vocabulary());
    double largest = 0;
    try (Context.Scope scope = context.scope()) {
      Ops ops = new Eager(context);
      var tensor = model.forward(ops, context.ints(ids, ids.length), Past.NONE);
      float[] logits = tensor.toFloats();
      scope.drop(tensor);
      for (JsonNode position : text.get("positions")) {
        int from = position.get("pos").intValue() * vocabulary;
        float[] row = Arrays.copyOfRange(logits, from, from + vocabulary);
        JsonNode first = position.get("first8");
        for (int i = 0; i < first.size(); i++) {
          largest = Math.max(largest, Math.abs(row[i] - first.get(i).doubleValue()));
        }
        int best = position.get("argmax").intValue();
        largest = Math.max(largest, Math.abs(row[best] - position.get("max").doubleValue()));
        double sum = 0;
        for (float logit : row) {
          assertFalse(logit > row[best]);
          sum += Math.exp(logit - row[best]);
        }
        double total = Math.log(sum) + row[best];
        largest = Math.max(largest, Math.abs(total - position.get("logsumexp").doubleValue()));
      }
    }
    return largest;
  }

  private static void checkGreedy(Context context, Model model, JsonNode run) {
    int[] prompt = Shared.ids(run.get("prompt_ids"));
    int[] expected = Shared.ids(run.get("new_ids"));
    int[] ids = Arrays.copyOf(prompt, prompt.length + expected.length);
    for (int n = prompt.length; n < ids.length; n++) {
      ids[n] = FamilyGoldenTest.next(context, model, Arrays.copyOf(ids, n));
    }
    assertEquals(
        Arrays.toString(expected),
        Arrays.toString(Arrays.copyOfRange(ids, prompt.length, ids.length)));
  }

  @Test
  void whatTheFolderSaysOfItself() {
    Path folder = Shared.path("models/stories260K");
    try (Context context = Context.cpu(1);
        Model model = Model.open(folder, context)) {
      assertEquals(512, model.vocabulary());
      assertEquals(512, model.contextLength());
      assertEquals(DType.F32, model.stateType());
      assertTrue(model.tied());
      assertEquals(5 * 7, model.linears().size());
      assertEquals(List.of(), model.unknownTensors());
      assertFalse(model.stopTokens().isEmpty());
    }
  }
}
