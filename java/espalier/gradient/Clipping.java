// SPDX-License-Identifier: Apache-2.0
package espalier.gradient;

import espalier.kernel.Optimize;
import espalier.tensor.Context;
import java.util.Collection;

/**
 * Clipping of gradients by their norm over all parameters together.
 *
 * @param limit the largest norm that passes; infinity for none
 */
public record Clipping(double limit) {
  /** Keeps a gradient of norm 0 finite; as PyTorch has it. */
  private static final double EPS = 1e-6;

  /** Returns the L2 norm of all gradients as one vector. */
  public static double norm(Context context, Collection<Parameter> parameters) {
    double squares = 0;
    for (Parameter parameter : parameters) {
      squares += Optimize.sumOfSquares(context, parameter.gradient());
    }
    return Math.sqrt(squares);
  }

  /** Returns what gradients of this norm are to be multiplied by: min(1, limit / (norm + 1e-6)). */
  public double factor(double norm) {
    return Math.min(1, limit / (norm + EPS));
  }
}
