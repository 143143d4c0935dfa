// SPDX-License-Identifier: Apache-2.0
package espalier.cli;

/**
 * Shows how far a command has come: a bar with the time left on a terminal, plain lines elsewhere.
 * Not for several threads at once.
 */
interface Progress extends AutoCloseable {
  /** Shows nothing. */
  Progress SILENT =
      new Progress() {
        @Override
        public void update(String stage, long done, long total, String detail) {}

        @Override
        public void tick(String stage, long done, long total, String detail) {}

        @Override
        public void close() {}
      };

  /**
   * Shows a step worth a line of its own, such as a finished layer.
   *
   * @param stage what is being done; a new stage starts a new bar
   * @param done steps finished
   * @param total steps in all, 0 when unknown
   * @param detail of the last step, such as its error; may be empty
   */
  void update(String stage, long done, long total, String detail);

  /** Shows a step of many: it moves the bar, but is a line only once in a while. */
  void tick(String stage, long done, long total, String detail);

  /** Finishes the bar; what is printed next starts on a line of its own. */
  @Override
  void close();

  /** Returns the form that suits the console. The caller closes it. */
  static Progress on(Console console) {
    return console.redraws() ? new ProgressBars(console) : new ProgressLines(console.err());
  }
}
