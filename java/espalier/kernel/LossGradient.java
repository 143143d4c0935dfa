// SPDX-License-Identifier: Apache-2.0
package espalier.kernel;

import static espalier.kernel.Checks.require;
import static espalier.kernel.Checks.shaped;

import espalier.internal.GradientAbi;
import espalier.internal.Native;
import espalier.internal.Words;
import espalier.tensor.Context;
import espalier.tensor.DType;
import espalier.tensor.Tensor;

/** Losses of rows of logits together with their gradients; fp64 sums. */
public final class LossGradient {
  private LossGradient() {}

  /**
   * How far a student's distribution q is from a teacher's p, both at a temperature T, times T²:
   * {@code forward} · KL(p ‖ m) + {@code reverse} · KL(q ‖ m') + {@code variation} · ½ Σ|p − q|,
   * with m = a·p + (1 − a)·q, m' = b·q + (1 − b)·p.
   *
   * @param forwardSkew a, in [0, 1); 0 is the plain divergence
   * @param reverseSkew b, in [0, 1)
   */
  public record Divergence(
      double forward,
      double forwardSkew,
      double reverse,
      double reverseSkew,
      double variation,
      double temperature) {
    /** T² KL(p ‖ q): standard distillation. */
    public static Divergence forward(double temperature) {
      return new Divergence(1, 0, 0, 0, 0, temperature);
    }

    /** T² KL(q ‖ p). */
    public static Divergence reverse(double temperature) {
      return new Divergence(0, 0, 1, 0, 0, temperature);
    }

    /** β KL(p ‖ m) + (1 − β) KL(q ‖ m), m = β p + (1 − β) q, 0 < β < 1. */
    public static Divergence jensenShannon(double beta) {
      return new Divergence(beta, beta, 1 - beta, 1 - beta, 0, 1);
    }
  }

  /**
   * Writes loss[r] = −log softmax(logits[r])[target] and gradient[r] = scale · its gradient by the
   * logits; 0 and zeros where the target is negative.
   *
   * @param logits F32 [rows, vocabulary]
   * @param targets I32 [rows]
   * @param gradient F32 like logits; may be logits
   * @param loss F64 [rows]
   */
  public static void crossEntropy(
      Context context, Tensor logits, Tensor targets, float scale, Tensor gradient, Tensor loss) {
    long rows = logits.dimension(0);
    shaped("targets", targets, DType.I32, rows);
    shaped("gradient", gradient, DType.F32, logits.shape().toArray());
    shaped("loss", loss, DType.F64, rows);
    Native.check(
        GradientAbi.esp_cross_entropy_backward(
            context.handle(),
            rows,
            logits.dimension(1),
            logits.address(),
            targets.address(),
            scale,
            gradient.address(),
            loss.address()));
  }

  /**
   * Writes loss[r] of a divergence and gradient[r] = scale · its gradient by the student's logits;
   * rows whose target is negative count for nothing.
   *
   * @param teacher F32 [rows, vocabulary]; student alike
   * @param targets I32 [rows]; only the sign is read
   * @param add whether to add to the gradient instead; it must not be the student's logits then
   * @param gradient F32 like student; may be student unless {@code add}
   * @param loss F64 [rows], overwritten
   */
  public static void divergence(
      Context context,
      Divergence kind,
      Tensor teacher,
      Tensor student,
      Tensor targets,
      float scale,
      boolean add,
      Tensor gradient,
      Tensor loss) {
    long rows = student.dimension(0);
    shaped("teacher", teacher, DType.F32, student.shape().toArray());
    shaped("targets", targets, DType.I32, rows);
    shaped("gradient", gradient, DType.F32, student.shape().toArray());
    shaped("loss", loss, DType.F64, rows);
    Native.check(
        GradientAbi.esp_divergence_backward(
            context.handle(),
            rows,
            student.dimension(1),
            teacher.address(),
            student.address(),
            targets.address(),
            kind.forward(),
            kind.forwardSkew(),
            kind.reverse(),
            kind.reverseSkew(),
            kind.variation(),
            kind.temperature(),
            scale,
            add ? 1 : 0,
            gradient.address(),
            loss.address()));
  }

  /**
   * Returns Σ (x − target)² and adds scale · (x − target) to dx; F32 of one shape. The mean squared
   * error of n elements takes scale 2 / n.
   */
  public static double squaredError(
      Context context, Tensor x, Tensor target, float scale, Tensor dx) {
    require(x.dtype() == DType.F32, "x", x, "F32");
    shaped("target", target, DType.F32, x.shape().toArray());
    shaped("dx", dx, DType.F32, x.shape().toArray());
    Words sum = new Words(1);
    Native.check(
        GradientAbi.esp_squared_error_backward(
            context.handle(),
            x.elements(),
            x.address(),
            target.address(),
            scale,
            dx.address(),
            sum.address(0)));
    return sum.getDouble(0);
  }
}
