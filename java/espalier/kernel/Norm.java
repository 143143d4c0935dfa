// SPDX-License-Identifier: Apache-2.0
package espalier.kernel;

import static espalier.kernel.Checks.optional;
import static espalier.kernel.Checks.shaped;

import espalier.internal.Abi;
import espalier.internal.Native;
import espalier.tensor.Context;
import espalier.tensor.DType;
import espalier.tensor.Tensor;

/** Normalisation over the last dimension. */
public final class Norm {
  private Norm() {}

  /** Writes y = x / √(mean(x²) + eps) · weight for every row of width |weight|; y may be x. */
  public static void rms(Context context, Tensor x, Tensor weight, float eps, Tensor y) {
    long width = weight.elements();
    shaped("weight", weight, DType.F32, width);
    shaped("y", y, DType.F32, x.shape().toArray());
    Native.check(
        Abi.esp_rms_norm(
            context.handle(),
            x.elements() / width,
            width,
            x.address(),
            width,
            weight.address(),
            eps,
            y.address(),
            width));
  }

  /**
   * Writes y = (x − mean) / √(var + eps) · weight + bias for every row; bias may be null, y may be
   * x.
   */
  public static void layer(
      Context context, Tensor x, Tensor weight, Tensor bias, float eps, Tensor y) {
    long width = weight.elements();
    shaped("weight", weight, DType.F32, width);
    shaped("y", y, DType.F32, x.shape().toArray());
    Native.check(
        Abi.esp_layer_norm(
            context.handle(),
            x.elements() / width,
            width,
            x.address(),
            width,
            weight.address(),
            optional(bias),
            eps,
            y.address(),
            width));
  }
}
