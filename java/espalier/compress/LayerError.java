// SPDX-License-Identifier: Apache-2.0
package espalier.compress;

import espalier.kernel.LinearAlgebra;
import espalier.tensor.Context;
import espalier.tensor.DType;
import espalier.tensor.Tensor;
import java.nio.FloatBuffer;

/**
 * The relative error of a layer, tr((W−Q)H(W−Q)ᵀ) / tr(WHWᵀ); H is the identity without statistics.
 */
final class LayerError {
  private LayerError() {}

  /** Returns the relative error of {@code quantized} against {@code weight}, both F32 [out, in]. */
  static double relative(Context context, Tensor weight, Tensor quantized, Statistics statistics) {
    Tensor difference = context.allocate(DType.F32, weight.shape().toArray());
    double plainDifference = 0;
    double plainWeight = 0;
    long columns = weight.dimension(1);
    for (long row = 0; row < weight.dimension(0); row++) {
      FloatBuffer w = row(weight, row, columns);
      FloatBuffer q = row(quantized, row, columns);
      FloatBuffer d = row(difference, row, columns);
      for (int column = 0; column < columns; column++) {
        float gap = w.get(column) - q.get(column);
        d.put(column, gap);
        plainDifference += (double) gap * gap;
        plainWeight += (double) w.get(column) * w.get(column);
      }
    }
    if (statistics == null) {
      return ratio(plainDifference, plainWeight);
    }
    return ratio(
        LinearAlgebra.quadraticForm(context, difference, statistics.gram()),
        LinearAlgebra.quadraticForm(context, weight, statistics.gram()));
  }

  /** Returns tr(WHWᵀ), what {@link #relative} divides by. */
  static double energy(Context context, Tensor weight, Statistics statistics) {
    if (statistics != null) {
      return LinearAlgebra.quadraticForm(context, weight, statistics.gram());
    }
    double sum = 0;
    for (long row = 0; row < weight.dimension(0); row++) {
      FloatBuffer w = row(weight, row, weight.dimension(1));
      while (w.hasRemaining()) {
        double value = w.get();
        sum += value * value;
      }
    }
    return sum;
  }

  /** A layer of zeros, or one that never sees an input, has no error. */
  private static double ratio(double part, double whole) {
    return whole == 0 ? 0 : part / whole;
  }

  private static FloatBuffer row(Tensor matrix, long row, long columns) {
    return matrix.buffer(row * columns * Float.BYTES, columns * Float.BYTES).asFloatBuffer();
  }
}
