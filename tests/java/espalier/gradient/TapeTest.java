// SPDX-License-Identifier: Apache-2.0
package espalier.gradient;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import espalier.model.Model;
import espalier.model.TinyModels;
import espalier.report.EspalierException;
import espalier.tensor.Context;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** What a tape promises beside its rules: batches, thread counts, checkpoints, memory. */
class TapeTest {
  private static final int[] IDS = {3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 3, 2, 3, 8, 4};
  private static final int[] LENGTHS = {7, 1, 12};

  @TempDir Path temp;

  private Path model(String family) {
    TinyModels tiny =
        switch (family) {
          case "llama" -> TinyModels.llama();
          case "mistral" -> TinyModels.mistral();
          case "qwen2" -> TinyModels.qwen2();
          case "qwen3" -> TinyModels.qwen3();
          default -> TinyModels.gpt2();
        };
    return tiny.fill().write(temp.resolve(family));
  }

  /** Gradients of every parameter after some steps, and the loss of the last. */
  private record Outcome(double loss, Map<String, float[]> gradients, long bytes) {}

  private static Outcome run(
      Path folder, int threads, boolean checkpoints, int steps, int[] ids, int[] lengths) {
    try (Context context = Context.cpu(threads);
        Model model = Model.open(folder, context);
        ModelParameters parameters = new ModelParameters(model, context);
        Tape tape = new Tape(context, parameters.list())) {
      LanguageLoss loss = new LanguageLoss(model, tape, checkpoints);
      double last = 0;
      for (int step = 0; step < steps; step++) {
        parameters.clearGradients();
        last = loss(loss, ids, lengths, context);
      }
      Map<String, float[]> gradients = new TreeMap<>();
      parameters.list().forEach(p -> gradients.put(p.name(), p.gradient().toFloats()));
      return new Outcome(last, gradients, tape.sizeBytes());
    }
  }

  private static double loss(LanguageLoss loss, int[] ids, int[] lengths, Context context) {
    int[] targets = new int[ids.length];
    int at = 0;
    for (int length : lengths) {
      for (int i = 0; i < length; i++, at++) {
        targets[at] = i + 1 < length ? ids[at + 1] : -1;
      }
    }
    loss.tape().begin(lengths);
    return loss.step(context.ints(ids, ids.length), context.ints(targets, targets.length), 0.125f);
  }

  @ParameterizedTest
  @ValueSource(strings = {"llama", "mistral", "qwen2", "qwen3", "gpt2"})
  void oneAndThreeThreadsGiveTheSameBits(String family) {
    Path folder = model(family);
    Outcome one = run(folder, 1, false, 1, IDS, LENGTHS);
    Outcome three = run(folder, 3, false, 1, IDS, LENGTHS);
    assertEquals(one.loss(), three.loss());
    one.gradients().forEach((name, g) -> assertArrayEquals(g, three.gradients().get(name), name));
  }

  @ParameterizedTest
  @ValueSource(strings = {"llama", "qwen3", "gpt2"})
  void checkpointsChangeNoBit(String family) {
    Path folder = model(family);
    Outcome kept = run(folder, 2, false, 1, IDS, LENGTHS);
    Outcome again = run(folder, 2, true, 1, IDS, LENGTHS);
    assertEquals(kept.loss(), again.loss());
    kept.gradients().forEach((name, g) -> assertArrayEquals(g, again.gradients().get(name), name));
  }

  @ParameterizedTest
  @ValueSource(strings = {"mistral", "qwen3", "gpt2"})
  void aBatchIsItsSequencesAlone(String family) {
    Path folder = model(family);
    Outcome batch = run(folder, 2, false, 1, IDS, LENGTHS);
    double loss = 0;
    Map<String, float[]> sums = new TreeMap<>();
    int from = 0;
    for (int length : LENGTHS) {
      int[] ids = Arrays.copyOfRange(IDS, from, from + length);
      Outcome alone = run(folder, 2, false, 1, ids, new int[] {length});
      loss += alone.loss();
      alone
          .gradients()
          .forEach(
              (name, g) -> {
                float[] sum = sums.computeIfAbsent(name, n -> new float[g.length]);
                for (int i = 0; i < g.length; i++) {
                  sum[i] += g[i];
                }
              });
      from += length;
    }
    assertEquals(loss, batch.loss(), 1e-5 * loss);
    for (String name : sums.keySet()) {
      float[] sum = sums.get(name);
      float[] whole = batch.gradients().get(name);
      for (int i = 0; i < sum.length; i++) {
        assertEquals(sum[i], whole[i], 2e-6, name);
      }
    }
  }

  @Test
  void nothingIsAllocatedAfterTheFirstStep() {
    Path folder = model("llama");
    long first = run(folder, 2, false, 1, IDS, LENGTHS).bytes();
    assertEquals(first, run(folder, 2, false, 4, IDS, LENGTHS).bytes());
    long checkpointed = run(folder, 2, true, 1, IDS, LENGTHS).bytes();
    assertEquals(checkpointed, run(folder, 2, true, 4, IDS, LENGTHS).bytes());
  }

  @Test
  void onlyWhatIsTrainedGetsAGradient() {
    Path folder = model("llama");
    Outcome all = run(folder, 2, false, 1, IDS, LENGTHS);
    try (Context context = Context.cpu(2);
        Model model = Model.open(folder, context);
        ModelParameters parameters = new ModelParameters(model, context)) {
      List<Parameter> some = new ArrayList<>(parameters.list());
      some.removeIf(p -> !p.name().endsWith("layers.1.mlp.up_proj.weight"));
      assertEquals(1, some.size());
      try (Tape tape = new Tape(context, some)) {
        loss(new LanguageLoss(model, tape, false), IDS, LENGTHS, context);
      }
      for (Parameter p : parameters.list()) {
        float[] expected = all.gradients().get(p.name());
        assertArrayEquals(
            some.contains(p) ? expected : new float[expected.length], p.gradient().toFloats());
      }
    }
  }

  @Test
  void rowsThatAreNotTheBatchAreRefused() {
    try (Context context = Context.cpu(1);
        Tape tape = new Tape(context, List.of())) {
      tape.begin(2, 3);
      var x = context.floats(new float[4 * 2], 4, 2);
      var table = context.floats(new float[8], 8, 1);
      assertThrows(IllegalArgumentException.class, () -> tape.rotate(x, 1, 0, table, table));
      assertThrows(IllegalArgumentException.class, () -> tape.rotate(x, 1, 1, table, table));
    }
  }

  @Test
  void whatHasNoRuleIsRefusedByName() {
    try (Context context = Context.cpu(1);
        Tape tape = new Tape(context, List.of())) {
      EspalierException e =
          assertThrows(
              EspalierException.class,
              () -> tape.packedRounded(null, 4, null, null, null, 8, null));
      assertTrue(e.getMessage().contains("rounded activations"), e.getMessage());
      e = assertThrows(EspalierException.class, () -> tape.sparse(null, null, null));
      assertTrue(e.getMessage().contains("sparse weights"), e.getMessage());
    }
  }
}
