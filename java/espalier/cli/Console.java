// SPDX-License-Identifier: Apache-2.0
package espalier.cli;

import java.io.PrintStream;
import java.util.Map;
import java.util.concurrent.atomic.AtomicBoolean;

/**
 * Where a command writes, what surrounds it, and whether it has been asked to stop. Results go to
 * {@link #out}, everything else to {@link #err}. Safe to share between threads.
 */
final class Console {
  private final PrintStream out;
  private final PrintStream err;
  private final Map<String, String> environment;
  private final boolean terminal;
  private final AtomicBoolean cancelled = new AtomicBoolean();

  /**
   * Creates a console.
   *
   * @param terminal whether {@code err} is shown to a person as it is written
   */
  Console(PrintStream out, PrintStream err, Map<String, String> environment, boolean terminal) {
    this.out = out;
    this.err = err;
    this.environment = Map.copyOf(environment);
    this.terminal = terminal;
  }

  /** Returns the stream of results. */
  PrintStream out() {
    return out;
  }

  /** Returns the stream of everything that is not the result. */
  PrintStream err() {
    return err;
  }

  /** Returns the environment's variables. */
  Map<String, String> environment() {
    return environment;
  }

  /** Returns whether lines may be redrawn: a terminal that understands it and no build server. */
  boolean redraws() {
    return terminal && !"dumb".equals(environment.get("TERM")) && !isSet("CI");
  }

  /** Returns whether colours are welcome; see no-color.org. */
  boolean colours() {
    return redraws() && !isSet("NO_COLOR");
  }

  /** Returns the width of the terminal, 80 if it does not tell. */
  int columns() {
    String columns = environment.getOrDefault("COLUMNS", "");
    return columns.matches("[1-9][0-9]{1,3}") ? Integer.parseInt(columns) : 80;
  }

  private boolean isSet(String name) {
    return !environment.getOrDefault(name, "").isEmpty();
  }

  /** Asks the running command to stop at the next good moment. */
  void cancel() {
    cancelled.set(true);
  }

  boolean isCancelled() {
    return cancelled.get();
  }
}
