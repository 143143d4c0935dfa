// SPDX-License-Identifier: Apache-2.0
package espalier.runtime;

import espalier.kernel.Loss;
import espalier.kernel.Ops;
import espalier.model.Model;
import espalier.report.EspalierException;
import espalier.report.Listener;
import espalier.tensor.Context;
import espalier.tensor.DType;
import espalier.tensor.Tensor;

/**
 * How far a compressed model's predictions are from its dense original's, on the same tokens: the
 * mean over predicted positions of KL(dense ‖ compressed), full vocabulary, and how often both have
 * the same most likely token. Both perplexities fall out of the same passes.
 */
@SuppressWarnings("try") // scopes are opened to be closed, not to be named
public final class Divergence {
  private Divergence() {}

  /**
   * What was measured.
   *
   * @param kl mean nats a predicted token
   * @param topOne share of predicted tokens where both models' most likely token is the same
   * @param compressed perplexity of the compressed model
   * @param dense perplexity of the dense model
   */
  public record Result(
      double kl, double topOne, Perplexity.Result compressed, Perplexity.Result dense) {}

  /** Sums over passages. */
  private static final class Sums {
    private double kl;
    private long same;
    private double compressed;
    private double dense;
  }

  /**
   * Compares two models passage by passage; both stay in memory together, their logits only a few
   * rows at a time.
   *
   * @throws EspalierException (INPUT) when the vocabularies differ or a weight is not finite,
   *     (FAILED) when a model gives a value that is not finite all the same, (INTERRUPTED) when the
   *     listener cancels
   */
  public static Result measure(
      Model dense, Model compressed, Ops ops, Passages passages, Listener listener) {
    if (dense.vocabulary() != compressed.vocabulary()) {
      throw EspalierException.input(
          "the models cannot be compared: one has "
              + compressed.vocabulary()
              + " tokens, the other "
              + dense.vocabulary(),
          "Give the dense model this one was made from.");
    }
    Sums sums = new Sums();
    long scored = 0;
    long done = 0;
    for (Passage passage : passages.list()) {
      listener.checkCancelled();
      add(sums, dense, compressed, ops, passage);
      Perplexity.requireFinite(
          sums.kl + sums.compressed + sums.dense, done, ops.context(), compressed, dense);
      scored += passage.predictions();
      Perplexity.report(listener, ++done, passages, Math.exp(sums.compressed / scored));
    }
    return new Result(
        sums.kl / scored,
        (double) sums.same / scored,
        Perplexity.Result.of(passages, sums.compressed),
        Perplexity.Result.of(passages, sums.dense));
  }

  private static void add(Sums sums, Model dense, Model compressed, Ops ops, Passage passage) {
    Context context = ops.context();
    try (Context.Scope scope = context.scope()) {
      Tensor p = Perplexity.hidden(dense, ops, passage);
      Tensor q = Perplexity.hidden(compressed, ops, passage);
      for (RowRange rows : RowRange.of(passage, dense.vocabulary())) {
        try (Context.Scope inner = context.scope()) {
          compare(
              sums,
              context,
              dense.logits(ops, rows.of(p)),
              compressed.logits(ops, rows.of(q)),
              rows.targets(context, passage));
        }
      }
    }
  }

  private static void compare(Sums sums, Context context, Tensor p, Tensor q, Tensor targets) {
    long rows = p.dimension(0);
    Tensor kl = context.allocate(DType.F64, rows);
    Tensor same = context.allocate(DType.U8, rows);
    Loss.divergence(context, p, q, kl, same);
    sums.kl += Perplexity.sum(kl);
    for (byte agrees : same.toBytes()) {
      sums.same += agrees;
    }
    sums.dense += Perplexity.sum(Loss.crossEntropy(context, p, targets));
    sums.compressed += Perplexity.sum(Loss.crossEntropy(context, q, targets));
  }
}
