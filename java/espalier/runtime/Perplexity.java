// SPDX-License-Identifier: Apache-2.0
package espalier.runtime;

import espalier.kernel.Loss;
import espalier.kernel.Ops;
import espalier.model.Model;
import espalier.model.Past;
import espalier.report.EspalierException;
import espalier.report.Listener;
import espalier.tensor.Context;
import espalier.tensor.Tensor;
import java.util.Arrays;
import java.util.Locale;

/**
 * How well a model predicts a text: exp of the mean of −log p over all predicted tokens. Forward
 * passes are fp32 on the stored weights widened, sums fp64 in the order of the file.
 */
@SuppressWarnings("try") // scopes are opened to be closed, not to be named
public final class Perplexity {
  private Perplexity() {}

  /**
   * What was measured, and on what.
   *
   * @param protocol the rule the passages were made by
   * @param window tokens of a window, or the length documents are cut to
   * @param passages documents or windows with at least one prediction
   * @param tokens tokens in them
   * @param predictions tokens that were scored
   * @param nats sum of −log p
   * @param tokenStreamSha256 names the tokens
   */
  public record Result(
      Protocol protocol,
      int window,
      long passages,
      long tokens,
      long predictions,
      double nats,
      String tokenStreamSha256) {
    public double natsPerToken() {
      return nats / predictions;
    }

    public double perplexity() {
      return Math.exp(natsPerToken());
    }

    static Result of(Passages passages, double nats) {
      return new Result(
          passages.protocol(),
          passages.window(),
          passages.list().size(),
          passages.tokens(),
          passages.predictions(),
          nats,
          passages.tokenStreamSha256());
    }
  }

  /**
   * Measures a model.
   *
   * @throws EspalierException (INPUT) naming the weight that is not finite, (FAILED) when the model
   *     gives a value that is not finite all the same, (INTERRUPTED) when the listener cancels
   */
  public static Result measure(Model model, Ops ops, Passages passages, Listener listener) {
    double nats = 0;
    long scored = 0;
    long done = 0;
    for (Passage passage : passages.list()) {
      listener.checkCancelled();
      nats += nats(model, ops, passage);
      requireFinite(nats, done, ops.context(), model);
      scored += passage.predictions();
      report(listener, ++done, passages, Math.exp(nats / scored));
    }
    return Result.of(passages, nats);
  }

  private static double nats(Model model, Ops ops, Passage passage) {
    Context context = ops.context();
    try (Context.Scope scope = context.scope()) {
      Tensor hidden = hidden(model, ops, passage);
      double nats = 0;
      for (RowRange rows : RowRange.of(passage, model.vocabulary())) {
        try (Context.Scope inner = context.scope()) {
          Tensor logits = model.logits(ops, rows.of(hidden));
          nats += sum(Loss.crossEntropy(context, logits, rows.targets(context, passage)));
        }
      }
      return nats;
    }
  }

  /** Returns the states that predict: all but the last token's, in the current scope. */
  static Tensor hidden(Model model, Ops ops, Passage passage) {
    int fed = passage.ids().length - 1;
    Tensor ids = ops.context().ints(Arrays.copyOf(passage.ids(), fed), fed);
    return model.hidden(ops, ids, Past.NONE);
  }

  static double sum(Tensor values) {
    double sum = 0;
    for (double value : values.toDoubles()) {
      sum += value;
    }
    return sum;
  }

  /** Tells how far an evaluation has come, with the perplexity so far. */
  static void report(Listener listener, long done, Passages passages, double perplexity) {
    String detail = String.format(Locale.ROOT, "perplexity %.4f", perplexity);
    listener.progress("evaluate", done, passages.list().size(), detail);
  }

  /** Refuses a sum that is not finite: with the tensor at fault, if it is one of the models'. */
  static void requireFinite(double nats, long passage, Context context, Model... models) {
    if (Double.isFinite(nats)) {
      return;
    }
    for (Model model : models) {
      model
          .damage(context, name -> {})
          .ifPresent(
              fault -> {
                throw fault;
              });
    }
    throw EspalierException.failed(
        "passage "
            + (passage + 1)
            + " has a log-probability that is not finite, though every weight is: activations pass"
            + " the range of fp32",
        "Check that config.json belongs to these weights.");
  }
}
