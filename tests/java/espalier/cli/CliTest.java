// SPDX-License-Identifier: Apache-2.0
package espalier.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import espalier.report.EspalierException;
import espalier.report.EspalierException.Kind;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

class CliTest {
  @TempDir Path folder;

  @Test
  void helpShowsThreeExamplesBeforeTheOptions() {
    for (List<String> words :
        List.of(
            List.of("--help"),
            List.of("eval", "--help"),
            List.of("generate", "--help"),
            List.of("inspect", "--help"))) {
      CommandRun run = CommandRun.of(words);
      assertEquals(0, run.code());
      assertEquals("", run.err());
      int options = run.out().indexOf("--version");
      long examples =
          run.out().substring(0, options).lines().filter(l -> l.startsWith("  espalier ")).count();
      assertTrue(examples >= 3, run.out());
    }
  }

  @Test
  void everyOptionHasADescription() {
    for (String command : List.of("eval", "generate", "inspect")) {
      String help = CommandRun.of(command, "--help").out();
      assertFalse(help.matches("(?s).*--[a-z0-9-]+(=<\\w+>)?\\s*\\n\\s+-.*"), help);
    }
  }

  @Test
  void versionIsAResult() {
    CommandRun run = CommandRun.of("--version");
    assertEquals(0, run.code());
    assertTrue(run.out().startsWith("espalier "), run.out());
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "",
        "frobnicate",
        "eval",
        "eval MODEL",
        "eval MODEL --data x --window many",
        "eval MODEL --data x --protokol docs",
        "generate MODEL",
        "generate MODEL --prompt a --ids 1",
        "generate MODEL --prompt a --tokens 0",
        "generate MODEL --prompt a --temperature 0",
        "generate MODEL --prompt a --top-p 2",
        "inspect",
        "inspect MODEL --threads"
      })
  void wrongUsageEndsWithTwoAndSaysWhatToTry(String words) {
    CommandRun run = CommandRun.of(words.isEmpty() ? new String[0] : words.split(" "));
    assertEquals(2, run.code(), run.err());
    assertEquals("", run.out());
    assertTrue(run.err().startsWith("error: "), run.err());
    assertFalse(run.err().contains("\tat "), run.err());
  }

  @Test
  void anUnknownProtocolIsNamedBeforeTheModelIsOpened() {
    CommandRun run = CommandRun.of("eval", "nowhere", "--data", "x", "--protocol", "wiki");
    assertEquals(2, run.code());
    assertTrue(run.err().contains("wiki") && run.err().contains("llama.cpp"), run.err());
  }

  @Test
  void aMissingModelIsInvalidInput() {
    String missing = folder.resolve("none").toString();
    for (List<String> words :
        List.of(
            List.of("eval", missing, "--data", "x"),
            List.of("generate", missing, "--prompt", "x"),
            List.of("inspect", missing))) {
      CommandRun run = CommandRun.of(words);
      assertEquals(3, run.code(), run.err());
      assertTrue(run.err().contains(missing), run.err());
      assertTrue(run.err().contains("\ntry: "), run.err());
    }
  }

  @Test
  void inspectRefusesADamagedFileAndNamesIt() throws IOException {
    Path file = folder.resolve("bad.safetensors");
    Files.write(file, new byte[] {1, 2, 3});
    CommandRun run = CommandRun.of("inspect", file.toString());
    assertEquals(3, run.code());
    assertTrue(run.err().contains("bad.safetensors"), run.err());
  }

  @ParameterizedTest
  @EnumSource(Kind.class)
  void everyKindOfFailureHasItsExitCode(Kind kind) {
    Reported reported = Reported.of(new EspalierException(kind, "m", "a"), false);
    assertEquals(kind.exitCode(), reported.code());
    assertEquals("error: m\ntry: a\n", reported.err());
  }

  @Test
  void otherFailuresAreExplainedToo() {
    assertEquals(5, Reported.of(new OutOfMemoryError("Java heap space"), false).code());
    assertEquals(5, Reported.of(new IOException("No space left on device"), false).code());
    assertEquals(
        3, Reported.of(new UncheckedIOException(new NoSuchFileException("x")), false).code());
    assertEquals(1, Reported.of(new IllegalArgumentException("m is 0"), false).code());
    assertFalse(Reported.of(new OutOfMemoryError("x"), false).err().contains("OutOfMemoryError"));
  }

  @Test
  void onlyDebugShowsAStackTrace() {
    assertFalse(Reported.of(new IllegalStateException("x"), false).err().contains("\tat "));
    assertTrue(Reported.of(new IllegalStateException("x"), true).err().contains("\tat "));
  }

  /** What the handler of failures makes of a throwable. */
  private record Reported(int code, String err) {
    static Reported of(Throwable thrown, boolean debug) {
      ByteArrayOutputStream err = new ByteArrayOutputStream();
      PrintStream stream = new PrintStream(err, true, StandardCharsets.UTF_8);
      int code = new Failures(stream).report(thrown, debug);
      return new Reported(code, err.toString(StandardCharsets.UTF_8));
    }
  }
}
