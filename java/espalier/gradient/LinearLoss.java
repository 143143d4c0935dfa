// SPDX-License-Identifier: Apache-2.0
package espalier.gradient;

import espalier.kernel.Backward;
import espalier.kernel.LossGradient;
import espalier.kernel.MatMul;
import espalier.tensor.Context;
import espalier.tensor.DType;
import espalier.tensor.Tensor;

/**
 * A head and a loss of its logits as one operation: some rows at a time are multiplied by the head,
 * turned into loss and gradient in place, and multiplied back, so that no tensor of [tokens,
 * vocabulary] exists. Forward and backward are one, so that it comes last, just before {@link
 * Tape#backward}.
 *
 * @param tape who wants the gradients of x, weight and bias
 * @param weight the head, F32, F16 or BF16 [vocabulary, width]
 * @param bias F32 [vocabulary] or null
 * @param chunkBytes logits of one chunk at most, though never fewer than {@link #LEAST_ROWS} rows
 */
public record LinearLoss(Tape tape, Tensor weight, Tensor bias, long chunkBytes) {
  /**
   * 32 MiB: 256 rows of a vocabulary of 32,000. Every chunk reads the head twice and adds to all of
   * its gradient, which few rows would not repay.
   */
  private static final long CHUNK_BYTES = 32 << 20;

  private static final long LEAST_ROWS = 64;

  public LinearLoss(Tape tape, Tensor weight, Tensor bias) {
    this(tape, weight, bias, CHUNK_BYTES);
  }

  /**
   * Turns logits of rows [from, from + rows) into their gradient in place and writes the losses.
   */
  private interface RowLoss {
    void apply(Tensor logits, long from, Tensor losses);
  }

  /**
   * Returns Σ −log softmax(x · Wᵀ + b)[target] over the rows whose target is not negative, and adds
   * scale · its gradient.
   *
   * @param x F32 [rows, width]
   * @param targets I32 [rows]
   */
  public double crossEntropy(Tensor x, Tensor targets, float scale) {
    Context context = tape.context();
    return chunks(
        x,
        (logits, from, losses) -> {
          Tensor own = targets.rows(from, from + logits.dimension(0));
          LossGradient.crossEntropy(context, logits, own, scale, logits, losses);
        });
  }

  /**
   * Returns the sum of a divergence from a teacher's distribution over the rows whose target is not
   * negative, and adds scale · its gradient.
   *
   * @param teacherX what the teacher's head reads, F32 [rows, its width]
   * @param teacherHead F32, F16 or BF16 [vocabulary, its width]
   * @param targets I32 [rows], of which only the sign is read
   */
  public double divergence(
      LossGradient.Divergence kind,
      Tensor x,
      Tensor teacherX,
      Tensor teacherHead,
      Tensor targets,
      float scale) {
    Context context = tape.context();
    return chunks(
        x,
        (logits, from, losses) -> {
          long rows = logits.dimension(0);
          Tensor teacher = tape.take(DType.F32, rows, logits.dimension(1));
          MatMul.dense(context, teacherX.rows(from, from + rows), teacherHead, null, teacher);
          Tensor own = targets.rows(from, from + rows);
          LossGradient.divergence(
              context, kind, teacher, logits, own, scale, false, logits, losses);
        });
  }

  private double chunks(Tensor x, RowLoss loss) {
    long vocabulary = weight.dimension(0);
    // A multiple of LEAST_ROWS, which suits the tiles of the products.
    long fitting = chunkBytes / (vocabulary * Float.BYTES) / LEAST_ROWS * LEAST_ROWS;
    long step = Math.max(LEAST_ROWS, fitting);
    Tensor dx = tape.gradient(x);
    double[] sum = {0};
    for (long first = 0; first < x.dimension(0); first += step) {
      long from = first;
      long to = Math.min(x.dimension(0), first + step);
      tape.scratch(() -> sum[0] += chunk(x, dx, from, to, loss));
    }
    return sum[0];
  }

  private double chunk(Tensor x, Tensor dx, long from, long to, RowLoss loss) {
    Context context = tape.context();
    Tensor rows = x.rows(from, to);
    Tensor logits = tape.take(DType.F32, to - from, weight.dimension(0));
    Tensor losses = tape.take(DType.F64, to - from);
    MatMul.dense(context, rows, weight, bias, logits);
    loss.apply(logits, from, losses);
    Backward.linear(
        context,
        rows,
        weight,
        false,
        logits,
        dx == null ? null : dx.rows(from, to),
        tape.gradient(weight),
        tape.gradient(bias));
    double sum = 0;
    for (double value : losses.toDoubles()) {
      sum += value;
    }
    return sum;
  }
}
