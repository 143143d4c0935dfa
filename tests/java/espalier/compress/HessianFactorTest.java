// SPDX-License-Identifier: Apache-2.0
package espalier.compress;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import espalier.kernel.Quantize;
import espalier.layer.Scheme;
import espalier.report.EspalierException;
import espalier.tensor.Context;
import espalier.tensor.DType;
import espalier.tensor.Tensor;
import java.nio.DoubleBuffer;
import java.util.Random;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** The factor is one, and a Hessian that has none climbs the ladder in the open. */
class HessianFactorTest {
  private static final int WIDTH = 40;
  private final Context context = Context.cpu(1);

  @AfterEach
  void close() {
    context.close();
  }

  private Statistics statistics(int tokens) {
    Random random = new Random(3);
    float[] x = new float[tokens * WIDTH];
    for (int i = 0; i < x.length; i++) {
      x[i] = (float) random.nextGaussian();
    }
    Statistics statistics = new Statistics(context, WIDTH);
    statistics.add(context.floats(x, tokens, WIDTH));
    return statistics;
  }

  @Test
  void theFactorTimesItsTransposeIsTheDampedHessian() {
    Statistics statistics = statistics(100);
    HessianFactor factor = statistics.factor(0.01, true);
    double[] u = factor.upper().toDoubles();
    double[] gram = statistics.gram().toDoubles();
    double mean = 0;
    for (int i = 0; i < WIDTH; i++) {
      mean += 2 * gram[i * WIDTH + i] / 100 / WIDTH;
    }
    for (int i = 0; i < WIDTH; i++) {
      for (int j = 0; j < WIDTH; j++) {
        double product = 0;
        for (int k = 0; k < WIDTH; k++) {
          product += u[i * WIDTH + k] * u[j * WIDTH + k];
        }
        int row = Math.min(factor.order()[i], factor.order()[j]);
        int column = Math.max(factor.order()[i], factor.order()[j]);
        double expected = 2 * gram[row * WIDTH + column] / 100;
        assertEquals(expected + (i == j ? 0.01 * mean : 0), product, 1e-12 * WIDTH);
        assertTrue(j >= i || u[i * WIDTH + j] == 0);
      }
    }
  }

  @Test
  void columnsAreOrderedByWhatTheySawAndTiesKeepTheirPlaces() {
    Statistics statistics = new Statistics(context, 4);
    statistics.add(context.floats(new float[] {1, 2, 2, 3}, 1, 4));
    assertEquals("[3, 1, 2, 0]", java.util.Arrays.toString(statistics.factor(0.01, true).order()));
  }

  @Test
  void aSingularHessianWithoutDampingIsDampedAndSaysSo() {
    Tensor ones = context.allocate(DType.F64, 2, 2); // rank 1, and its pivot is 0 exactly
    ones.buffer().asDoubleBuffer().put(new double[] {1, 1, 1, 1});
    Statistics statistics = new Statistics(context, ones, 2);
    assertEquals(0.01, statistics.factor(0, false).used());
    LinearResult result = new Gptq(0, false).apply(input(statistics, 2), context);
    assertEquals("damping-raised", result.events().get(0).kind());
  }

  @Test
  void anIndefiniteMatrixClimbsAsFarAsItMust() {
    Statistics statistics = indefinite(-0.02);
    HessianFactor factor = statistics.factor(0.01, false);
    assertEquals(0.03, factor.used(), 1e-12);
    assertEquals(
        "damping-raised",
        new Gptq(0.01, false).apply(input(statistics, 2), context).events().get(0).kind());
  }

  @Test
  void aMatrixBeyondTheLadderIsAnErrorAndNeverRounding() {
    Statistics statistics = indefinite(Double.NaN);
    EspalierException failure =
        assertThrows(EspalierException.class, () -> statistics.factor(0.01, false));
    assertEquals(EspalierException.Kind.FAILED, failure.kind());
  }

  /** A diagonal H with one entry of 2 and one that is given, relative to a mean of about 1. */
  private Statistics indefinite(double entry) {
    Tensor gram = context.allocate(DType.F64, 2, 2);
    DoubleBuffer values = gram.buffer().asDoubleBuffer();
    values.put(0, 2 - entry).put(3, entry);
    return new Statistics(context, gram, 2);
  }

  private LinearInput input(Statistics statistics, int columns) {
    return new LinearInput(
        "layer",
        context.floats(new float[] {0.5f, -1}, 1, columns),
        null,
        new Scheme(4, true, 0),
        Quantize.Range.MIN_MAX,
        DType.F32,
        statistics);
  }
}
