// SPDX-License-Identifier: Apache-2.0
package espalier.compress;

import espalier.kernel.Convert;
import espalier.kernel.LinearAlgebra;
import espalier.kernel.MatMul;
import espalier.kernel.Quantize;
import espalier.layer.Scheme;
import espalier.tensor.Context;
import espalier.tensor.DType;
import espalier.tensor.Tensor;
import java.lang.management.ManagementFactory;
import java.lang.management.ThreadMXBean;

/**
 * How fast this machine does what a compression consists of, from products of a few milliseconds
 * each. Good for an estimate, not for a comparison of machines. One thread is timed, by its
 * processor time, and taken as many times as there are threads: what else the machine does at the
 * moment would otherwise be kept for good.
 *
 * @param denseFlops FLOP/s of dense products with 16-bit weights
 * @param gramFlops of Σxxᵀ, tokens · width² counted
 * @param choleskyFlops of the factorisation, width³ / 3 counted
 * @param solveWeightSeconds of GPTQ, per weight
 * @param solveColumnSeconds of GPTQ, per weight and column of its matrix
 * @param roundSeconds of rounding to nearest, per weight
 * @param scanBytes per second looked through for NaN
 */
public record MachineProfile(
    double denseFlops,
    double gramFlops,
    double choleskyFlops,
    double solveWeightSeconds,
    double solveColumnSeconds,
    double roundSeconds,
    double scanBytes) {
  private static final int TOKENS = 512;
  private static final int NARROW = 512;
  private static final int WIDE = 1536;
  private static final int ROWS = 256;

  /** Measures for so many threads; takes well under a second on an idle machine. */
  public static MachineProfile measure(int threads) {
    try (Context context = Context.cpu(1)) {
      Tensor x = noise(context, TOKENS, WIDE);
      Tensor weight = Convert.fromFloat(context, noise(context, WIDE, WIDE), DType.BF16);
      Tensor y = context.allocate(DType.F32, TOKENS, WIDE);
      double dense = best(() -> MatMul.dense(context, x, weight, null, y));
      Tensor gram = context.allocate(DType.F64, WIDE, WIDE);
      double grams = best(() -> LinearAlgebra.gram(context, x, gram));
      double scan = best(() -> Convert.firstNonFinite(context, weight));
      Gptq gptq = new Gptq(Gptq.DEFAULT_DAMPING, false);
      Statistics narrow = statistics(context, NARROW);
      Statistics wide = statistics(context, WIDE);
      double factor = best(() -> HessianFactor.of(context, wide, Gptq.DEFAULT_DAMPING, false));
      gptq.prepare(narrow);
      gptq.prepare(wide);
      double few = best(() -> apply(gptq, context, NARROW, narrow)) / ((double) ROWS * NARROW);
      double many = best(() -> apply(gptq, context, WIDE, wide)) / ((double) ROWS * WIDE);
      double round = best(() -> apply(new Rtn(), context, WIDE, null)) / ((double) ROWS * WIDE);
      double perColumn = Math.max(0, (many - few) / (WIDE - NARROW));
      return new MachineProfile(
          threads * 2.0 * TOKENS * WIDE * WIDE / dense,
          threads * (double) TOKENS * WIDE * WIDE / grams,
          threads * (double) WIDE * WIDE * WIDE / 3 / factor,
          Math.max(0, few - perColumn * NARROW) / threads,
          perColumn / threads,
          round / threads,
          threads * weight.sizeBytes() / scan);
    }
  }

  private static Statistics statistics(Context context, int width) {
    Statistics statistics = new Statistics(context, width);
    statistics.add(noise(context, TOKENS, width));
    return statistics;
  }

  private static void apply(LinearMethod method, Context context, int width, Statistics input) {
    try (Context.Scope scope = context.scope()) {
      Tensor weight = noise(context, ROWS, width);
      method.apply(
          new LinearInput(
              "machine",
              weight,
              null,
              new Scheme(4, true, 128),
              Quantize.Range.MIN_MAX,
              DType.BF16,
              input),
          context);
    }
  }

  /** Returns a matrix of numbers between −1 and 1 from a linear congruential generator. */
  private static Tensor noise(Context context, int rows, int columns) {
    float[] values = new float[rows * columns];
    int state = 1;
    for (int i = 0; i < values.length; i++) {
      state = state * 1664525 + 1013904223;
      values[i] = state / (float) (1 << 31);
    }
    return context.floats(values, rows, columns);
  }

  /**
   * Returns the seconds of processor time of the better of two runs, the first of which also warms
   * up; of the clock where the system does not count them.
   */
  private static double best(Runnable work) {
    ThreadMXBean threads = ManagementFactory.getThreadMXBean();
    boolean counted = threads.isCurrentThreadCpuTimeSupported();
    double best = Double.POSITIVE_INFINITY;
    for (int run = 0; run < 2; run++) {
      long start = counted ? threads.getCurrentThreadCpuTime() : System.nanoTime();
      work.run();
      long end = counted ? threads.getCurrentThreadCpuTime() : System.nanoTime();
      best = Math.min(best, (end - start) / 1e9);
    }
    return Math.max(best, 1e-9);
  }
}
