// SPDX-License-Identifier: Apache-2.0
package espalier.report;

/** Hears how a long run goes, and may stop it. Called on the thread that computes. */
public interface Listener {
  /** Hears nothing, stops nothing. */
  Listener NONE = new Listener() {};

  /**
   * Work went on.
   *
   * @param stage what is being done: {@code calibrate}, {@code compress}, {@code evaluate}
   * @param done finished units
   * @param total all units of this stage
   * @param detail the last result in words, or empty
   */
  default void progress(String stage, long done, long total, String detail) {}

  /** Something for the report happened. */
  default void event(Event event) {}

  /** Returns whether the caller wants the run to stop at the next safe point. */
  default boolean cancelled() {
    return false;
  }

  /** Throws INTERRUPTED if the caller wants to stop. */
  default void checkCancelled() {
    if (cancelled()) {
      throw new EspalierException(EspalierException.Kind.INTERRUPTED, "cancelled");
    }
  }
}
