// SPDX-License-Identifier: Apache-2.0
package espalier.compress;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import espalier.layer.Linear;
import espalier.model.Model;
import espalier.recipe.Recipe;
import espalier.report.Report;
import espalier.tensor.Context;
import espalier.tensor.DType;
import espalier.tensor.Tensor;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.util.Arrays;
import java.util.List;
import java.util.OptionalLong;
import java.util.Random;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Linears that are solved for what the dense model's gave ({@code follow_dense}). */
class FollowDenseTest extends InterruptedRuns {
  private static final String FOLLOW = "espalier: {follow_dense: true}\n";
  private static final String PRUNE =
      "s_stage:\n  s_modifiers:\n    SparseGPTModifier: {sparsity: 0.5, mask_structure: '2:4'}\n";

  @BeforeEach
  void follow() throws IOException {
    Files.writeString(recipe, FOLLOW + recipe("[]", 4));
  }

  @Test
  void theTargetIsTheLeastSquaresFitToTheDenseOutputs() {
    int width = 7;
    int tokens = 40;
    Random random = new Random(3);
    try (Context context = Context.cpu(1);
        Context.Scope scope = context.scope()) {
      Tensor x = normal(context, random, tokens, width);
      Tensor dense = normal(context, random, tokens, width);
      Tensor weight = normal(context, random, 3, width);
      Statistics statistics = Statistics.following(context, width);
      statistics.add(x.rows(0, 25), dense.rows(0, 25));
      statistics.add(x.rows(25, tokens), dense.rows(25, tokens));
      statistics.factor(0.01, true);
      statistics.settleTarget();
      float[] found = statistics.target(weight).toFloats();
      double mean = 0;
      for (int i = 0; i < width; i++) {
        mean += statistics.diagonal(i) / width;
      }
      // The gradient of |W R − T X|² + λ|T − W|² is zero at T.
      float[] a = x.toFloats();
      float[] r = dense.toFloats();
      float[] w = weight.toFloats();
      for (int row = 0; row < 3; row++) {
        for (int j = 0; j < width; j++) {
          double gradient = 0.01 * mean * (found[row * width + j] - w[row * width + j]);
          double size = 0;
          for (int t = 0; t < tokens; t++) {
            double gap = 0;
            for (int c = 0; c < width; c++) {
              gap +=
                  found[row * width + c] * a[t * width + c] - w[row * width + c] * r[t * width + c];
            }
            gradient += gap * a[t * width + j];
            size += Math.abs(gap * a[t * width + j]);
          }
          assertEquals(0, gradient, 1e-5 * size);
        }
      }
    }
  }

  private static Tensor normal(Context context, Random random, int rows, int columns) {
    float[] values = new float[rows * columns];
    for (int i = 0; i < values.length; i++) {
      values[i] = (float) random.nextGaussian();
    }
    return context.floats(values, rows, columns);
  }

  @Test
  void whatReadsUntouchedInputsIsSolvedAsEver() throws IOException {
    job("followed").run();
    Files.writeString(recipe, recipe("[]", 4));
    job("plain").run();
    assertArrayEquals(
        weights("plain", "model.layers.0.self_attn.q_proj"),
        weights("followed", "model.layers.0.self_attn.q_proj"));
    assertFalse(
        Arrays.equals(
            weights("plain", "model.layers.2.mlp.down_proj"),
            weights("followed", "model.layers.2.mlp.down_proj")));
    assertFalse(Arrays.equals(weights("plain", "lm_head"), weights("followed", "lm_head")));
  }

  private float[] weights(String out, String name) {
    try (Context context = Context.cpu(1);
        Model opened = Model.open(folder.resolve(out), context);
        Context.Scope scope = context.scope()) {
      Linear linear = opened.linears().get(name);
      return linear.weight(context).toFloats();
    }
  }

  @ParameterizedTest
  @EnumSource(names = {"F32", "BF16"})
  void oneAndThreeThreadsGiveTheSameBytes(DType type) throws IOException {
    stored = type;
    model = tiny().write(folder.resolve("again"));
    job("one").run();
    job("three").threads(3).run();
    same("one", "three");
  }

  @ParameterizedTest
  @ValueSource(booleans = {false, true})
  void everyMomentOfARunCanBeGoneOnFrom(boolean pruned) throws IOException {
    if (pruned) {
      Files.writeString(recipe, FOLLOW + PRUNE);
    }
    goesOnFrom(List.of(0, 7, 13, 20));
  }

  @Test
  void aBudgetChangesNothingButIsForetoldHigher() throws IOException {
    job("wide").run();
    Files.writeString(recipe, FOLLOW + recipe("[]", 4));
    long followed = peak();
    Files.writeString(recipe, recipe("[]", 4));
    assertTrue(peak() < followed);
    Files.writeString(recipe, FOLLOW + recipe("[]", 4));
    Report report = job("narrow").memoryBudget(1L << 40).run(); // blocks leave memory
    assertEquals(0.0, report.facts().get("reopened_logits_max_difference"));
    same("wide", "narrow");
  }

  private long peak() {
    try (Context context = Context.cpu(1);
        Model opened = Model.open(model, context)) {
      String text = Files.readString(recipe);
      Plan plan =
          Plan.of(
              opened,
              Recipe.parse(text, "r", Modifiers.REGISTRY),
              List.of(OutputFormat.COMPRESSED_TENSORS),
              text);
      Workload work = new Workload(10, 1000, 100, true);
      return MemoryPlan.above(0, opened, plan, work, OptionalLong.empty()).peakBytes();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
