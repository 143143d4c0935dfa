// SPDX-License-Identifier: Apache-2.0
package espalier.cli;

import java.io.PrintStream;
import java.time.Duration;
import java.util.Locale;

/** A plain line for every step worth one, and now and then for the others: what a log can hold. */
final class ProgressLines implements Progress {
  /** Ticks are shown this far apart. */
  private static final long QUIET_NANOS = Duration.ofSeconds(10).toNanos();

  private final PrintStream err;
  private String stage = "";
  private long begun;
  private long shown;

  ProgressLines(PrintStream err) {
    this.err = err;
  }

  @Override
  public void update(String newStage, long done, long total, String detail) {
    enter(newStage);
    show(done, total, detail);
  }

  @Override
  public void tick(String newStage, long done, long total, String detail) {
    enter(newStage);
    if (System.nanoTime() - shown >= QUIET_NANOS) {
      show(done, total, detail);
    }
  }

  private void enter(String newStage) {
    if (!stage.equals(newStage)) {
      stage = newStage;
      begun = System.nanoTime();
      shown = begun;
    }
  }

  private void show(long done, long total, String detail) {
    StringBuilder line = new StringBuilder(stage).append(' ').append(done);
    if (total > 0) {
      line.append('/').append(total);
    }
    if (!detail.isEmpty()) {
      line.append("  ").append(detail);
    }
    shown = System.nanoTime();
    double seconds = (shown - begun) * 1e-9;
    if (done > 0 && done < total && seconds > 1) {
      line.append(String.format(Locale.ROOT, "  (%.0f s left)", seconds * (total - done) / done));
    }
    err.println(line);
  }

  @Override
  public void close() {
    stage = "";
  }
}
