// SPDX-License-Identifier: Apache-2.0
package espalier.compress;

import espalier.kernel.LinearAlgebra;
import espalier.tensor.Context;
import espalier.tensor.Tensor;
import java.nio.FloatBuffer;

/**
 * The relative error of a layer, tr((W−Q)H(W−Q)ᵀ) / tr(WHWᵀ); H is the identity without statistics,
 * and its diagonal alone where no more was measured. NaN while the statistics are laid aside.
 */
final class LayerError {
  private LayerError() {}

  /** Returns the relative error of {@code quantized} against {@code weight}, both F32 [out, in]. */
  static double relative(Context context, Tensor weight, Tensor quantized, Statistics statistics) {
    return relative(context, weight, quantized, statistics, energy(context, weight, statistics));
  }

  /** The same, with the energy of the weights known: two results of one layer share it. */
  static double relative(
      Context context, Tensor weight, Tensor quantized, Statistics statistics, double energy) {
    return ratio(form(context, weight, quantized, statistics), energy);
  }

  /** Returns tr(WHWᵀ), what {@link #relative} divides by. */
  static double energy(Context context, Tensor weight, Statistics statistics) {
    return form(context, weight, null, statistics);
  }

  /** Returns tr(DHDᵀ), D = a − b, or a where b is null. */
  private static double form(Context context, Tensor a, Tensor b, Statistics statistics) {
    if (statistics == null) {
      return LinearAlgebra.quadraticForm(context, a, b, null);
    }
    if (!statistics.hasGram()) {
      return diagonalForm(a, b, statistics);
    }
    return statistics.isAside()
        ? Double.NaN
        : LinearAlgebra.quadraticForm(context, a, b, statistics.gram());
  }

  private static double diagonalForm(Tensor a, Tensor b, Statistics statistics) {
    int columns = Math.toIntExact(statistics.width());
    double[] squares = new double[columns];
    for (int i = 0; i < columns; i++) {
      squares[i] = statistics.diagonal(i);
    }
    double sum = 0;
    for (long row = 0; row < a.dimension(0); row++) {
      FloatBuffer left = a.rows(row, row + 1).buffer().asFloatBuffer();
      FloatBuffer right = b == null ? null : b.rows(row, row + 1).buffer().asFloatBuffer();
      for (int i = 0; i < columns; i++) {
        double difference = left.get(i) - (right == null ? 0.0 : right.get(i));
        sum += difference * difference * squares[i];
      }
    }
    return sum;
  }

  /** A layer of zeros, or one that never sees an input, has no error. */
  private static double ratio(double part, double whole) {
    return whole == 0 ? 0 : part / whole;
  }
}
