// SPDX-License-Identifier: Apache-2.0
package espalier.compress;

import espalier.kernel.LinearAlgebra;
import espalier.report.EspalierException;
import espalier.report.Event;
import espalier.tensor.Context;
import espalier.tensor.DType;
import espalier.tensor.Tensor;
import java.nio.DoubleBuffer;
import java.util.List;
import java.util.stream.IntStream;

/**
 * The reversed Cholesky factor U of a damped Hessian, U·Uᵀ = H + λI, in processing order.
 *
 * <p>H = (2/n) Σxxᵀ (a common factor changes nothing). Channels that were never active get H_ii =
 * 1, so that they neither take part in nor disturb the elimination. λ = damping · mean(diag H).
 * When the factorisation meets a pivot that is not positive, λ climbs the ladder ×1, 3, 10, 30,
 * 100; what rung was needed is part of the result and ends up in the report.
 *
 * @param upper U, F64 [width, width]
 * @param order the original column that is processed i-th, or null for left to right
 * @param damping the fraction asked for
 * @param actOrder whether columns are processed by descending diag(H)
 * @param used the fraction that was needed; {@code damping} when the first try held
 */
record HessianFactor(Tensor upper, int[] order, double damping, boolean actOrder, double used) {
  private static final double[] LADDER = {1, 3, 10, 30, 100};

  /** Where the ladder starts for a recipe that asks for no damping. */
  private static final double FIRST_RUNG = 0.01;

  static HessianFactor of(
      Context context, Statistics statistics, double damping, boolean actOrder) {
    int width = Math.toIntExact(statistics.width());
    double scale = scale(statistics.tokens());
    double[] diagonal = new double[width];
    double mean = 0;
    for (int i = 0; i < width; i++) {
      double value = statistics.diagonal(i) * scale;
      diagonal[i] = value == 0 ? 1 : value;
      mean += diagonal[i] / width;
    }
    int[] order = actOrder ? descending(statistics, width) : null;
    Tensor channels = order == null ? null : context.ints(order, width);
    Tensor damped = context.allocate(DType.F64, width);
    DoubleBuffer values = damped.buffer().asDoubleBuffer();
    Tensor upper = statistics.factorRoom();
    long pivot = -1;
    for (double used : rungs(damping)) {
      for (int i = 0; i < width; i++) {
        values.put(i, diagonal[i] + used * mean);
      }
      statistics.hessian(scale, channels, damped, upper);
      pivot = LinearAlgebra.choleskyReversed(context, upper);
      if (pivot < 0) {
        return new HessianFactor(upper, order, damping, actOrder, used);
      }
    }
    throw EspalierException.failed(
        "the Hessian has no Cholesky factor even with 100 times the damping (pivot "
            + pivot
            + " of "
            + width
            + ")",
        "Look for infinite activations, use more calibration text, or raise dampening_frac.");
  }

  /** Returns what sums over so many tokens are multiplied by. */
  static double scale(long tokens) {
    return 2.0 / Math.max(1, tokens);
  }

  /** Returns what a user should know of the damping that was needed. */
  List<Event> events(String name) {
    return used == damping
        ? List.of()
        : List.of(
            Event.warning(
                "damping-raised",
                name,
                "the Hessian did not factor with a damping of "
                    + damping
                    + "; "
                    + used
                    + " was needed"));
  }

  /** Returns a copy of F32 [rows, width] in processing order, in the current scope. */
  Tensor ordered(Context context, Tensor weight) {
    return order == null
        ? Pruning.copy(context, weight)
        : LinearAlgebra.permuted(context, weight, context.ints(order, order.length), false);
  }

  /** Returns a matrix in processing order with its columns in their places. */
  Tensor inPlace(Context context, Tensor processed) {
    return order == null
        ? processed
        : LinearAlgebra.permuted(context, processed, context.ints(order, order.length), true);
  }

  /** Returns the group of every processed column. */
  int[] groups(long columns, long group) {
    int[] groups = new int[(int) columns];
    for (int i = 0; i < groups.length; i++) {
      groups[i] = (int) ((order == null ? i : order[i]) / group);
    }
    return groups;
  }

  private static double[] rungs(double damping) {
    double[] rungs = new double[LADDER.length + (damping == 0 ? 1 : 0)];
    for (int i = 0; i < LADDER.length; i++) {
      rungs[rungs.length - LADDER.length + i] = LADDER[i] * (damping == 0 ? FIRST_RUNG : damping);
    }
    return rungs;
  }

  /** Sorts columns by descending Σx², equal values in their original order. */
  private static int[] descending(Statistics statistics, int width) {
    double[] keys = new double[width];
    for (int i = 0; i < width; i++) {
      keys[i] = statistics.diagonal(i);
    }
    return IntStream.range(0, width)
        .boxed()
        .sorted((a, b) -> Double.compare(keys[b], keys[a]))
        .mapToInt(Integer::intValue)
        .toArray();
  }
}
