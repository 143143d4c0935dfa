// SPDX-License-Identifier: Apache-2.0
package espalier.runtime;

import espalier.report.EspalierException;

/**
 * How the next token is chosen. The filters act in the order of Hugging Face transformers:
 * repetition penalty, temperature, top-k, top-p.
 *
 * @param greedy take the largest logit; only the repetition penalty still counts
 * @param temperature divides the logits, above 0
 * @param topK keep the k largest logits, and what equals the k-th; 0 keeps all
 * @param topP keep the smallest set of most probable tokens whose probabilities sum to at least
 *     this, in (0, 1]; 1 keeps all
 * @param repetitionPenalty above 0; positive logits of tokens already in the text are divided by
 *     it, negative ones multiplied; 1 changes nothing
 * @param seed of the random numbers; the same seed gives the same tokens
 */
public record Sampling(
    boolean greedy,
    double temperature,
    int topK,
    double topP,
    double repetitionPenalty,
    long seed) {
  /** The largest logit, nothing else. */
  public static final Sampling GREEDY = new Sampling(true, 1, 0, 1, 1, 0);

  /**
   * Checks the values.
   *
   * @throws EspalierException (USAGE) naming the value out of range
   */
  public Sampling {
    check(
        temperature > 0 && temperature < Double.POSITIVE_INFINITY,
        "temperature",
        temperature,
        "above 0; for the most likely token use greedy");
    check(topK >= 0, "top-k", topK, "0 or more");
    check(topP > 0 && topP <= 1, "top-p", topP, "above 0 and at most 1");
    check(
        repetitionPenalty > 0 && repetitionPenalty < Double.POSITIVE_INFINITY,
        "repetition penalty",
        repetitionPenalty,
        "above 0");
  }

  /** Returns whether the choice is the first largest of the logits as they are. */
  boolean plain() {
    return greedy && repetitionPenalty == 1;
  }

  private static void check(boolean holds, String name, Object value, String expected) {
    if (!holds) {
      throw EspalierException.usage(
          name + " is " + value + ", expected " + expected, "Change " + name + ".");
    }
  }
}
