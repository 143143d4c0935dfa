// SPDX-License-Identifier: Apache-2.0
package espalier.train;

import java.time.Duration;
import java.util.Locale;
import java.util.function.LongSupplier;

/** Speed and time left of a run, for a person who waits. */
final class Progress {
  private final long to;
  private final long from;
  private final LongSupplier clock; // nanoseconds
  private final long begin;
  private long tokens;

  Progress(long from, long to, LongSupplier clock) {
    this.from = from;
    this.to = to;
    this.clock = clock;
    this.begin = clock.getAsLong();
  }

  /** Returns loss, tokens a second and the time left at the mean speed so far. */
  String after(StepResult result) {
    tokens += result.tokens();
    double seconds = Math.max(1e-9, (clock.getAsLong() - begin) / 1e9);
    long done = result.step() + 1 - from;
    Duration left = Duration.ofSeconds(Math.round(seconds / done * (to - result.step() - 1)));
    return String.format(
        Locale.ROOT,
        "loss %.4f, %.0f tokens/s, %d:%02d:%02d left",
        result.loss(),
        tokens / seconds,
        left.toHours(),
        left.toMinutesPart(),
        left.toSecondsPart());
  }
}
