// SPDX-License-Identifier: Apache-2.0
package espalier.runtime;

import static org.junit.jupiter.api.Assertions.assertEquals;

import com.fasterxml.jackson.databind.JsonNode;
import espalier.Shared;
import espalier.kernel.Eager;
import espalier.model.Model;
import espalier.model.Past;
import espalier.tensor.Context;
import espalier.tensor.Tensor;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Logits and greedy continuations of real small models, as published with them. */
@Tag("isa")
class ModelGoldenTest {
  /** Logits were computed in fp64 from the same weights; fp32 sums stay well below this. */
  private static final double TOLERANCE = 1e-4;

  @ParameterizedTest
  @ValueSource(strings = {"stories260K", "tiny1m", "babyllama105", "stories3M", "gpt-nano-sort"})
  void logitsAndGreedyIdsAreThePublishedOnes(String name) {
    Path folder = Shared.path("models/" + name);
    JsonNode expected = Shared.json(folder.resolve("expected.json"));
    try (Context context = Context.cpu(0);
        Model model = Model.open(folder, context)) {
      for (JsonNode probe : expected.path("logits")) {
        checkLogits(model, context, probe);
      }
      for (JsonNode greedy : expected.path("greedy")) {
        int[] prompt = Shared.ids(greedy.get("prompt_ids"));
        List<Integer> ids =
            new Generator(model, new Eager(context))
                .generate(prompt, greedy.get("n").intValue(), Sampling.GREEDY)
                .ids();
        assertEquals(Arrays.stream(Shared.ids(greedy.get("new_ids"))).boxed().toList(), ids);
      }
    }
  }

  /** All positions at once, and again one token at a time through the cache. */
  @SuppressWarnings("try") // the scope is opened to be closed
  private static void checkLogits(Model model, Context context, JsonNode probe) {
    int[] ids = Shared.ids(probe.get("ids"));
    Eager ops = new Eager(context);
    try (Context.Scope scope = context.scope();
        KvCache cache = new KvCache(model.blocks().size(), ids.length)) {
      Tensor whole = model.forward(ops, context.ints(ids, ids.length), Past.NONE);
      for (JsonNode position : probe.get("positions")) {
        int at = position.get("pos").intValue();
        checkRow(position, whole.rows(at, at + 1).toFloats());
        Tensor one = model.forward(ops, context.ints(new int[] {ids[at]}, 1), cache);
        cache.advance(1);
        checkRow(position, one.toFloats());
      }
    }
  }

  private static void checkRow(JsonNode position, float[] logits) {
    JsonNode first = position.get("first8");
    for (int i = 0; i < first.size(); i++) {
      assertEquals(first.get(i).doubleValue(), logits[i], TOLERANCE);
    }
    int best = 0;
    double sum = 0;
    for (int i = 0; i < logits.length; i++) {
      best = logits[i] > logits[best] ? i : best;
    }
    for (float logit : logits) {
      sum += Math.exp(logit - logits[best]);
    }
    assertEquals(position.get("argmax").intValue(), best);
    assertEquals(position.get("max").doubleValue(), logits[best], TOLERANCE);
    assertEquals(position.get("logsumexp").doubleValue(), logits[best] + Math.log(sum), TOLERANCE);
  }

  /** Guards the list above: a model that comes with expectations must be in it. */
  @ParameterizedTest
  @ValueSource(strings = "models")
  void everyModelWithExpectationsIsChecked(String folder) {
    Shared.path(folder);
    Stream<String> names =
        Shared.folders(folder)
            .filter(model -> Files.exists(model.resolve("expected.json")))
            .map(model -> model.getFileName().toString());
    assertEquals(
        List.of("babyllama105", "gpt-nano-sort", "stories260K", "stories3M", "tiny1m"),
        names.sorted().toList());
  }
}
