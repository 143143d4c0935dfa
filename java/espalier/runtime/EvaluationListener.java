// SPDX-License-Identifier: Apache-2.0
package espalier.runtime;

/** Hears how far an evaluation has come, and may end it. */
public interface EvaluationListener {
  /** Hears nothing and never cancels. */
  EvaluationListener NONE = (done, total, perplexity) -> {};

  /** Called after every passage with the perplexity so far. */
  void progress(long done, long total, double perplexity);

  /** Asked before every passage; true ends the evaluation with an INTERRUPTED exception. */
  default boolean cancelled() {
    return false;
  }
}
