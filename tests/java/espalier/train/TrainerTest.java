// SPDX-License-Identifier: Apache-2.0
package espalier.train;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import espalier.gradient.AdamW;
import espalier.gradient.Clipping;
import espalier.gradient.LanguageLoss;
import espalier.gradient.ModelParameters;
import espalier.gradient.Parameter;
import espalier.gradient.Schedule;
import espalier.gradient.Tape;
import espalier.kernel.LossGradient.Divergence;
import espalier.model.Model;
import espalier.model.TinyModels;
import espalier.report.EspalierException;
import espalier.report.Listener;
import espalier.tensor.Context;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.TreeSet;
import java.util.function.Function;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Data, objectives and steps of a run on models of a few hundred numbers. */
class TrainerTest {
  @TempDir Path temp;

  // ---- data

  @Test
  void rowsAreTheTextCutInOrder() {
    List<int[]> documents = List.of(new int[] {1, 2, 3}, new int[] {4}, new int[] {5, 6, 7});
    List<Sequence> rows = Packing.rows(documents, 3);
    assertEquals(2, rows.size());
    assertArrayEquals(new int[] {4, 5, 6}, rows.get(1).ids());
    assertThrows(EspalierException.class, () -> Packing.rows(documents, 8));
    assertThrows(EspalierException.class, () -> Packing.rows(documents, 1));
  }

  @Test
  void documentsKeepTheirMaskAndAreCut() {
    Sequence masked =
        new Sequence(new int[] {1, 2, 3, 4}, new boolean[] {false, false, true, true});
    List<Sequence> cut = Packing.documents(List.of(masked, new Sequence(new int[] {9})), 3);
    assertEquals(1, cut.size());
    Batch batch = new ShuffledBatches(cut, 1, 0).at(0);
    assertArrayEquals(new int[] {-1, 3, -1}, batch.targets());
    assertEquals(1, batch.predictions());
  }

  @Test
  void everyEpochHasEverySequenceOnceInAnotherOrder() {
    List<Sequence> sequences = new ArrayList<>();
    for (int i = 0; i < 12; i++) {
      sequences.add(new Sequence(new int[] {i, i}));
    }
    ShuffledBatches batches = new ShuffledBatches(sequences, 4, 3);
    List<String> orders = new ArrayList<>();
    for (int epoch = 0; epoch < 3; epoch++) {
      TreeSet<Integer> seen = new TreeSet<>();
      String order = "";
      for (int b = 0; b < 3; b++) {
        for (int id : batches.at(epoch * 3 + b).ids()) {
          seen.add(id);
          order += id + " ";
        }
      }
      assertEquals(12, seen.size());
      orders.add(order);
    }
    assertEquals(3, new TreeSet<>(orders).size());
    Batch again = new ShuffledBatches(sequences, 4, 3).at(7);
    assertArrayEquals(batches.at(7).ids(), again.ids());
    int[] other = new ShuffledBatches(sequences, 4, 4).at(7).ids();
    assertFalse(Arrays.equals(batches.at(7).ids(), other));
  }

  // ---- steps

  private static ShuffledBatches data(int size) {
    Random random = new Random(8);
    List<Sequence> sequences = new ArrayList<>();
    for (int i = 0; i < 8; i++) {
      int[] ids = new int[5 + i];
      for (int t = 0; t < ids.length; t++) {
        ids[t] = t % 2 == 0 ? 3 : random.nextInt(24);
      }
      sequences.add(new Sequence(ids));
    }
    return new ShuffledBatches(sequences, size, 1);
  }

  /** A model in training; {@code objective} makes what it trains for. */
  private final class Run implements AutoCloseable {
    final Context context = Context.cpu(2);
    final Model model;
    final ModelParameters parameters;
    final Tape tape;
    final AdamW optimizer;
    final Trainer trainer;

    Run(Path folder, Batches batches, int accumulation, Function<LanguageLoss, Objective> made) {
      model = Model.open(folder, context);
      parameters = new ModelParameters(model, context);
      tape = new Tape(context, parameters.list());
      optimizer = new AdamW(parameters.list(), new AdamW.Settings(0.9, 0.99, 1e-8, 0.01));
      trainer =
          new Trainer(
              context,
              parameters,
              made.apply(new LanguageLoss(model, tape, false)),
              optimizer,
              batches,
              new Schedule(Schedule.Curve.CONSTANT, 0.01, 0, 0, 100),
              new Clipping(1),
              accumulation);
    }

    List<Double> losses(int steps) {
      List<Double> losses = new ArrayList<>();
      trainer.run(0, steps, result -> losses.add(result.loss()), Listener.NONE);
      return losses;
    }

    @Override
    public void close() {
      optimizer.close();
      tape.close();
      parameters.close();
      model.close();
      context.close();
    }
  }

  private Path llama() {
    return TinyModels.llama().fill().write(temp.resolve("llama"));
  }

  /** The same shape with another head and other weights inside. */
  private Path teacher() {
    TinyModels tiny = TinyModels.llama().fill();
    for (String name : List.of("lm_head.weight", "model.layers.0.mlp.down_proj.weight")) {
      tiny.tensors().put(name, tiny.random(tiny.tensors().get(name).shape()));
    }
    return tiny.write(temp.resolve("other"));
  }

  @Test
  void theLossFalls() {
    try (Run run = new Run(llama(), data(4), 1, CrossEntropy::new)) {
      List<Double> losses = run.losses(40);
      assertTrue(losses.get(39) < 0.75 * losses.get(0), losses.toString());
    }
  }

  @Test
  void accumulatedBatchesAreOneLargeBatch() {
    Path folder = llama();
    ShuffledBatches small = data(4);
    Batches joined =
        step -> {
          List<Sequence> both = new ArrayList<>();
          for (long half = 2 * step; half < 2 * step + 2; half++) {
            Batch batch = small.at(half);
            int at = 0;
            for (int length : batch.lengths()) {
              both.add(new Sequence(Arrays.copyOfRange(batch.ids(), at, at + length)));
              at += length;
            }
          }
          int tokens = both.stream().mapToInt(s -> s.ids().length).sum();
          return ShuffledBatches.batch(both.toArray(Sequence[]::new), tokens);
        };
    try (Run twice = new Run(folder, small, 2, CrossEntropy::new);
        Run once = new Run(folder, joined, 1, CrossEntropy::new)) {
      List<Double> expected = once.losses(5);
      List<Double> actual = twice.losses(5);
      for (int i = 0; i < 5; i++) {
        assertEquals(expected.get(i), actual.get(i), 1e-5);
      }
    }
  }

  @Test
  void distillationFromItselfIsZeroAndFromAnotherFalls() {
    Path folder = llama();
    Path other = teacher();
    try (Context context = Context.cpu(2);
        Model same = Model.open(folder, context);
        Model different = Model.open(other, context);
        Tape tape = new Tape(context, List.of())) {
      LanguageLoss self = new LanguageLoss(same, tape, false);
      try (Run run =
          new Run(
              folder,
              data(4),
              1,
              student -> new Distillation(student, self, Divergence.forward(1), 0, 1))) {
        StepResult first = run.trainer.step(0);
        assertEquals(0, first.loss(), 1e-9);
        assertEquals(0, first.gradientNorm(), 1e-5);
      }
      for (Divergence kind :
          List.of(Divergence.forward(2), Divergence.reverse(1), Divergence.jensenShannon(0.5))) {
        LanguageLoss teacher = new LanguageLoss(different, tape, false);
        try (Run run =
            new Run(folder, data(4), 1, s -> new Distillation(s, teacher, kind, 0, 0.5))) {
          List<Double> losses = run.losses(30);
          assertTrue(losses.get(0) > 0 && losses.get(29) < 0.5 * losses.get(0), kind + "" + losses);
        }
      }
    }
  }

  /** The gradient of a mixed objective along itself is its norm squared. */
  @Test
  void distillationFollowsItsOwnGradient() {
    Path other = teacher();
    try (Context context = Context.cpu(2);
        Model model = Model.open(other, context);
        Tape tape = new Tape(context, List.of());
        Run run =
            new Run(
                llama(),
                data(4),
                1,
                s ->
                    new Distillation(
                        s, new LanguageLoss(model, tape, false), Divergence.forward(2), 0.3, 2))) {
      Batch batch = data(4).at(0);
      float scale = 1f / batch.predictions();
      run.parameters.clearGradients();
      run.trainer.objective().step(batch, scale);
      double norm = Clipping.norm(run.context, run.parameters.list());
      List<float[]> along = new ArrayList<>();
      run.parameters.list().forEach(p -> along.add(p.gradient().toFloats()));
      double step = 1e-3 / norm;
      double high = moved(run, along, step, batch, scale);
      double low = moved(run, along, -2 * step, batch, scale);
      assertEquals(norm * norm, (high - low) / (2 * step), 5e-3 * norm * norm);
    }
  }

  private static double moved(Run run, List<float[]> along, double by, Batch batch, float scale) {
    int at = 0;
    for (Parameter parameter : run.parameters.list()) {
      float[] values = parameter.value().toFloats();
      float[] direction = along.get(at++);
      for (int i = 0; i < values.length; i++) {
        values[i] += (float) (by * direction[i]);
      }
      parameter.value().fill(values);
    }
    return run.trainer.objective().step(batch, scale) * scale;
  }

  @Test
  void anExplodedLossNamesStepAndTensorAndChangesNothing() {
    try (Run run = new Run(llama(), data(4), 1, CrossEntropy::new)) {
      run.losses(3);
      Parameter damaged = null;
      for (Parameter parameter : run.parameters.list()) {
        damaged = parameter.name().endsWith("1.mlp.down_proj.weight") ? parameter : damaged;
      }
      float[] values = damaged.value().toFloats();
      values[5] = Float.NaN;
      damaged.value().fill(values);
      EspalierException e =
          assertThrows(
              EspalierException.class, () -> run.trainer.run(3, 9, r -> {}, Listener.NONE));
      assertTrue(e.getMessage().contains("step 4"), e.getMessage());
      assertTrue(e.getMessage().contains(damaged.name() + " itself"), e.getMessage());
      assertArrayEquals(values, damaged.value().toFloats());
    }
  }

  @Test
  void aMaskThatLeavesNothingIsRefused() {
    Sequence silent = new Sequence(new int[] {1, 2, 3}, new boolean[3]);
    ShuffledBatches batches = new ShuffledBatches(List.of(silent), 1, 0);
    try (Run run = new Run(llama(), batches, 1, CrossEntropy::new)) {
      assertThrows(EspalierException.class, () -> run.trainer.step(0));
    }
  }

  @Test
  void progressTellsLossAndSpeed() {
    long[] now = {0};
    Progress progress = new Progress(() -> now[0]);
    now[0] = 2_000_000_000L;
    assertEquals("loss 1.5000, 50 tokens/s", progress.after(new StepResult(2, 1.5, 1, 1e-3, 100)));
  }
}
