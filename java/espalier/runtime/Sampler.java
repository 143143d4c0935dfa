// SPDX-License-Identifier: Apache-2.0
package espalier.runtime;

import espalier.report.EspalierException;
import java.util.Arrays;
import java.util.SplittableRandom;

/**
 * Chooses tokens from logits by the rules of one {@link Sampling}. It carries the state of its
 * random numbers, so one sampler serves one text. Sums are fp64 in a fixed order: a choice does not
 * depend on threads or kernels beyond the logits themselves.
 */
public final class Sampler {
  private static final String ADVICE = "Check that config.json belongs to these weights.";

  private final Sampling rules;
  private final SplittableRandom random;

  public Sampler(Sampling rules) {
    this.rules = rules;
    this.random = new SplittableRandom(rules.seed());
  }

  /**
   * Returns the next token and overwrites {@code logits}.
   *
   * @param logits one for every token of the vocabulary
   * @param ids the text so far, prompt included
   * @param length how many of {@code ids} count
   * @throws EspalierException (FAILED) when a logit is NaN or none is above −∞
   */
  public int next(float[] logits, int[] ids, int length) {
    penalise(logits, ids, length);
    int best = largest(logits);
    if (rules.greedy()) {
      return best;
    }
    return draw(probabilities(logits, logits[best]));
  }

  private void penalise(float[] logits, int[] ids, int length) {
    if (rules.repetitionPenalty() == 1) {
      return;
    }
    boolean[] seen = new boolean[logits.length];
    for (int i = 0; i < length; i++) {
      int id = ids[i];
      if (id < logits.length && !seen[id]) {
        seen[id] = true;
        logits[id] *=
            (float) (logits[id] < 0 ? rules.repetitionPenalty() : 1 / rules.repetitionPenalty());
      }
    }
  }

  /** Returns the first index of the largest value. */
  private static int largest(float[] logits) {
    int best = 0;
    for (int i = 0; i < logits.length; i++) {
      if (Float.isNaN(logits[i])) {
        throw EspalierException.failed("the model gives NaN as the logit of token " + i, ADVICE);
      }
      if (logits[i] > logits[best]) {
        best = i;
      }
    }
    if (!(logits[best] > Float.NEGATIVE_INFINITY)) {
      throw EspalierException.failed("the model gives no token a finite logit", ADVICE);
    }
    return best;
  }

  /** Returns unnormalised probabilities; what a filter drops has 0. */
  private double[] probabilities(float[] logits, float largest) {
    int n = logits.length;
    double floor = Double.NEGATIVE_INFINITY;
    if (rules.topK() > 0 && rules.topK() < n) {
      float[] sorted = logits.clone();
      Arrays.sort(sorted);
      floor = sorted[n - rules.topK()];
    }
    double[] weights = new double[n];
    double sum = 0;
    for (int i = 0; i < n; i++) {
      // The largest logit is taken off before dividing, so that no temperature overflows the
      // exponent.
      weights[i] = logits[i] < floor ? 0 : Math.exp((logits[i] - largest) / rules.temperature());
      sum += weights[i];
    }
    if (rules.topP() < 1) {
      keepNucleus(weights, sum);
    }
    return weights;
  }

  /**
   * Drops, from the least probable on, every token whose probability and those below it sum to at
   * most 1 − p; of equal ones the higher id goes first. At least one stays.
   */
  private void keepNucleus(double[] weights, double sum) {
    Integer[] order = new Integer[weights.length];
    Arrays.setAll(order, i -> i);
    Arrays.sort(
        order,
        (a, b) ->
            weights[a] != weights[b]
                ? Double.compare(weights[a], weights[b])
                : Integer.compare(b, a));
    double dropped = 0;
    for (int i = 0; i < order.length - 1; i++) {
      dropped += weights[order[i]];
      if (dropped > (1 - rules.topP()) * sum) {
        return;
      }
      weights[order[i]] = 0;
    }
  }

  private int draw(double[] weights) {
    double sum = 0;
    for (double weight : weights) {
      sum += weight;
    }
    double point = random.nextDouble() * sum;
    int last = -1;
    for (int i = 0; i < weights.length; i++) {
      if (weights[i] > 0) {
        last = i;
        point -= weights[i];
        if (point < 0) {
          return i;
        }
      }
    }
    return last; // rounding left a hair: the last token that can be drawn
  }
}
