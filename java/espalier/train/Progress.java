// SPDX-License-Identifier: Apache-2.0
package espalier.train;

import java.util.Locale;
import java.util.function.LongSupplier;

/** Loss and speed of a run, for a person who waits; whoever shows it knows the time left. */
final class Progress {
  private final LongSupplier clock; // nanoseconds
  private final long begin;
  private long tokens;

  Progress(LongSupplier clock) {
    this.clock = clock;
    this.begin = clock.getAsLong();
  }

  /** Returns the loss of a step and the mean tokens a second so far. */
  String after(StepResult result) {
    tokens += result.tokens();
    double seconds = Math.max(1e-9, (clock.getAsLong() - begin) / 1e9);
    return String.format(Locale.ROOT, "loss %.4f, %.0f tokens/s", result.loss(), tokens / seconds);
  }
}
