// SPDX-License-Identifier: Apache-2.0
package espalier.cli;

import me.tongfei.progressbar.ConsoleProgressBarConsumer;
import me.tongfei.progressbar.ProgressBar;
import me.tongfei.progressbar.ProgressBarBuilder;
import me.tongfei.progressbar.ProgressBarStyle;

/** One redrawn bar a stage, with the time left and the last step's detail behind it. */
final class ProgressBars implements Progress {
  private final Console console;
  private String stage = "";
  private ProgressBar bar;

  ProgressBars(Console console) {
    this.console = console;
  }

  @Override
  public void update(String newStage, long done, long total, String detail) {
    if (bar == null || !stage.equals(newStage)) {
      close();
      stage = newStage;
      bar = bar(newStage, total);
    }
    bar.maxHint(total > 0 ? total : -1);
    bar.stepTo(done);
    bar.setExtraMessage(detail.isEmpty() ? "" : " " + detail);
  }

  @Override
  public void tick(String newStage, long done, long total, String detail) {
    update(newStage, done, total, detail);
  }

  private ProgressBar bar(String name, long total) {
    int columns = console.columns();
    return new ProgressBarBuilder()
        .setTaskName(name)
        .setInitialMax(total > 0 ? total : -1)
        .setUpdateIntervalMillis(200)
        .setStyle(
            console.colours() ? ProgressBarStyle.COLORFUL_UNICODE_BLOCK : ProgressBarStyle.ASCII)
        .setMaxRenderedLength(columns)
        .setConsumer(new ConsoleProgressBarConsumer(console.err(), columns))
        .build();
  }

  @Override
  public void close() {
    if (bar != null) {
      bar.close();
      bar = null;
    }
  }
}
