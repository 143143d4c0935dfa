// SPDX-License-Identifier: Apache-2.0
package espalier.model;

import espalier.kernel.Ops;
import espalier.tensor.Tensor;

/**
 * A norm over the last dimension.
 *
 * @param centred whether the mean is subtracted (LayerNorm) or not (RMSNorm)
 * @param weight F32 [width]
 * @param bias F32 [width] or null; always null for RMSNorm
 * @param eps added to the variance, or to the mean square
 */
public record Normalization(boolean centred, Tensor weight, Tensor bias, float eps) {
  /** Returns the normalised rows of x: F32, the same shape. */
  public Tensor apply(Ops ops, Tensor x) {
    return centred ? ops.layerNorm(x, weight, bias, eps) : ops.rmsNorm(x, weight, eps);
  }
}
