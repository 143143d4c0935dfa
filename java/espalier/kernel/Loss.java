// SPDX-License-Identifier: Apache-2.0
package espalier.kernel;

import static espalier.kernel.Checks.shaped;

import espalier.internal.Abi;
import espalier.internal.Native;
import espalier.tensor.Context;
import espalier.tensor.DType;
import espalier.tensor.Tensor;

/** What evaluation reads off logits; fp64 sums. */
public final class Loss {
  private Loss() {}

  /**
   * Returns F64 [rows]: −log softmax(logits)[target] in nats, 0 where the target is negative.
   *
   * @param logits F32 [rows, vocabulary]
   * @param targets I32 [rows]
   */
  public static Tensor crossEntropy(Context context, Tensor logits, Tensor targets) {
    long rows = logits.dimension(0);
    shaped("targets", targets, DType.I32, rows);
    Tensor loss = context.allocate(DType.F64, rows);
    Native.check(
        Abi.esp_cross_entropy(
            context.handle(),
            rows,
            logits.dimension(1),
            logits.address(),
            logits.dimension(1),
            targets.address(),
            loss.address()));
    return loss;
  }

  /**
   * Writes kl[r] = KL(softmax(p[r]) ‖ softmax(q[r])) in nats and sameTop[r] = 1 when both rows have
   * the same arg max.
   *
   * @param p reference logits F32 [rows, vocabulary]
   * @param q logits to judge, the same shape
   * @param kl F64 [rows]
   * @param sameTop U8 [rows]
   */
  public static void divergence(Context context, Tensor p, Tensor q, Tensor kl, Tensor sameTop) {
    long rows = p.dimension(0);
    shaped("q", q, DType.F32, p.shape().toArray());
    shaped("kl", kl, DType.F64, rows);
    shaped("sameTop", sameTop, DType.U8, rows);
    Native.check(
        Abi.esp_divergence(
            context.handle(),
            rows,
            p.dimension(1),
            p.address(),
            p.dimension(1),
            q.address(),
            q.dimension(1),
            kl.address(),
            sameTop.address()));
  }
}
