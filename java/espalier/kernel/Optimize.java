// SPDX-License-Identifier: Apache-2.0
package espalier.kernel;

import static espalier.kernel.Checks.optional;
import static espalier.kernel.Checks.require;
import static espalier.kernel.Checks.shaped;

import espalier.internal.GradientAbi;
import espalier.internal.Native;
import espalier.internal.Words;
import espalier.tensor.Context;
import espalier.tensor.DType;
import espalier.tensor.Tensor;

/** Steps of optimisers, in place; all tensors are F32 of the parameter's shape. */
public final class Optimize {
  private Optimize() {}

  /** Returns Σ x², in fp64 and in one order for any number of threads. */
  public static double sumOfSquares(Context context, Tensor x) {
    require(x.dtype() == DType.F32, "x", x, "F32");
    Words sum = new Words(1);
    Native.check(
        GradientAbi.esp_sum_of_squares(
            context.handle(), x.elements(), x.address(), sum.address(0)));
    return sum.getDouble(0);
  }

  /**
   * Takes one step of AdamW with g = gradientFactor · gradient: p −= rate · decay · p; moment and
   * square are the running means of g and g²; p −= rate · m̂ / (√v̂ + eps).
   *
   * @param step counts from 1
   */
  public static void adamW(
      Context context,
      long step,
      double rate,
      double beta1,
      double beta2,
      double eps,
      double decay,
      double gradientFactor,
      Tensor gradient,
      Tensor moment,
      Tensor square,
      Tensor parameter) {
    for (Tensor like : new Tensor[] {gradient, moment, square}) {
      shaped("operand", like, DType.F32, parameter.shape().toArray());
    }
    Native.check(
        GradientAbi.esp_adamw(
            context.handle(),
            parameter.elements(),
            step,
            rate,
            beta1,
            beta2,
            eps,
            decay,
            gradientFactor,
            gradient.address(),
            moment.address(),
            square.address(),
            parameter.address()));
  }

  /**
   * Takes one step of gradient descent with g = gradientFactor · gradient, or with the velocity v =
   * momentum · v + g: p −= rate · decay · p + rate · g, or of its sign.
   *
   * @param velocity null for no momentum
   */
  public static void descend(
      Context context,
      boolean sign,
      double rate,
      double momentum,
      double decay,
      double gradientFactor,
      Tensor gradient,
      Tensor velocity,
      Tensor parameter) {
    shaped("gradient", gradient, DType.F32, parameter.shape().toArray());
    if (velocity != null) {
      shaped("velocity", velocity, DType.F32, parameter.shape().toArray());
    }
    Native.check(
        GradientAbi.esp_sgd(
            context.handle(),
            parameter.elements(),
            sign ? 1 : 0,
            rate,
            momentum,
            decay,
            gradientFactor,
            gradient.address(),
            optional(velocity),
            parameter.address()));
  }
}
