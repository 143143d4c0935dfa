// SPDX-License-Identifier: Apache-2.0
package espalier.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.Map;
import org.junit.jupiter.api.Test;

class ProgressTest {
  private final ByteArrayOutputStream bytes = new ByteArrayOutputStream();

  private Console console(boolean terminal, Map<String, String> environment) {
    PrintStream err = new PrintStream(bytes, true, StandardCharsets.UTF_8);
    return new Console(err, err, environment, terminal);
  }

  private String shown() {
    return bytes.toString(StandardCharsets.UTF_8);
  }

  @Test
  void withoutATerminalEveryLayerIsAPlainLine() {
    try (Progress progress = Progress.on(console(false, Map.of()))) {
      progress.update("compress", 1, 2, "q_proj error 0.01");
      progress.update("compress", 2, 2, "o_proj error 0.02");
      progress.tick("evaluate", 1, 100, "");
    }
    assertEquals("compress 1/2  q_proj error 0.01\ncompress 2/2  o_proj error 0.02\n", shown());
  }

  @Test
  void onATerminalABarShowsTheLastError() {
    try (Progress progress =
        Progress.on(console(true, Map.of("TERM", "xterm", "COLUMNS", "120")))) {
      progress.update("compress", 1, 2, "q_proj 0.01");
      progress.update("compress", 2, 2, "o_proj 0.02");
    }
    assertTrue(shown().contains("compress") && shown().contains("100%"), shown());
    assertTrue(shown().contains("o_proj 0.02"), shown());
    assertTrue(shown().contains("\r"), shown());
  }

  @Test
  void dumbTerminalsAndBuildServersGetLinesAndNoColorIsHonoured() {
    assertTrue(console(true, Map.of("TERM", "xterm")).redraws());
    assertFalse(console(true, Map.of("TERM", "dumb")).redraws());
    assertFalse(console(true, Map.of("CI", "true")).redraws());
    assertFalse(console(true, Map.of("NO_COLOR", "1")).colours());
    assertTrue(console(true, Map.of("NO_COLOR", "")).colours());
    try (Progress progress = Progress.on(console(true, Map.of("NO_COLOR", "1")))) {
      progress.update("compress", 1, 1, "");
    }
    assertFalse(shown().contains("\u001b[3"), shown());
  }
}
