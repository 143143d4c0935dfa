// SPDX-License-Identifier: Apache-2.0
package espalier.compress;

import espalier.kernel.LinearAlgebra;
import espalier.tensor.Context;
import espalier.tensor.Tensor;

/**
 * The relative error of a layer, tr((W−Q)H(W−Q)ᵀ) / tr(WHWᵀ); H is the identity without statistics.
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
    return ratio(
        LinearAlgebra.quadraticForm(context, weight, quantized, hessian(statistics)), energy);
  }

  /** Returns tr(WHWᵀ), what {@link #relative} divides by. */
  static double energy(Context context, Tensor weight, Statistics statistics) {
    return LinearAlgebra.quadraticForm(context, weight, hessian(statistics));
  }

  private static Tensor hessian(Statistics statistics) {
    return statistics == null ? null : statistics.gram();
  }

  /** A layer of zeros, or one that never sees an input, has no error. */
  private static double ratio(double part, double whole) {
    return whole == 0 ? 0 : part / whole;
  }
}
