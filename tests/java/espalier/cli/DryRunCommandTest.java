// SPDX-License-Identifier: Apache-2.0
package espalier.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import espalier.internal.Json;
import espalier.model.TinyModels;
import espalier.report.EspalierException;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** compress --dry-run and --memory-budget, as typed. */
class DryRunCommandTest {
  @TempDir Path folder;
  private String model;

  @BeforeEach
  void write() {
    model = TinyModels.llama().fill().write(folder.resolve("model")).toString();
  }

  /** Runs with a cache folder of this test's own; returns the exit code. */
  private int run(ByteArrayOutputStream out, ByteArrayOutputStream err, String... words) {
    Map<String, String> environment =
        Map.of("CI", "true", "XDG_CACHE_HOME", folder.resolve("cache").toString());
    return Cli.run(
        words,
        new Console(
            new PrintStream(out, true, StandardCharsets.UTF_8),
            new PrintStream(err, true, StandardCharsets.UTF_8),
            environment,
            false));
  }

  @Test
  void aDryRunPrintsOneObjectAndWritesNothing() throws IOException {
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    ByteArrayOutputStream err = new ByteArrayOutputStream();
    String output = folder.resolve("out").toString();
    int code =
        run(
            out,
            err,
            "compress",
            model,
            "--scheme",
            "W4A16",
            "--group-size",
            "4",
            "--dry-run",
            "--json",
            "-o",
            output);
    assertEquals(0, code, err.toString(StandardCharsets.UTF_8));
    JsonNode json = Json.STRICT.readTree(out.toByteArray());
    assertTrue(json.get("dry_run").booleanValue());
    for (String key : new String[] {"memory", "disk", "output", "time", "linears", "left_alone"}) {
      assertTrue(json.has(key), key);
    }
    assertFalse(json.get("calibration").get("exact").booleanValue());
    assertFalse(Files.exists(Path.of(output)) || Files.exists(Path.of(output + ".partial")));
    assertTrue(Files.exists(folder.resolve("cache/espalier/machine.json")));
  }

  @Test
  void aDryRunAlsoSpeaksToPeople() {
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    ByteArrayOutputStream err = new ByteArrayOutputStream();
    int code =
        run(out, err, "compress", model, "--scheme", "W8A16", "--group-size", "0", "--dry-run");
    assertEquals(0, code, err.toString(StandardCharsets.UTF_8));
    String text = out.toString(StandardCharsets.UTF_8);
    for (String part :
        new String[] {"model.layers.1.mlp.down_proj", "left alone", "memory", "disk", "time"}) {
      assertTrue(text.contains(part), text);
    }
  }

  @ParameterizedTest
  @CsvSource({
    "6GB, 6000000000",
    "5.5 GiB, 5905580032",
    "512MiB, 536870912",
    "1.5MB, 1500000",
    "700kB, 700000"
  })
  void sizesHaveUnits(String text, long bytes) {
    assertEquals(bytes, ByteSize.parse("--memory-budget", text));
  }

  @ParameterizedTest
  @ValueSource(strings = {"6", "6G", "6gb", "6 XB", "GB", "-1GB", "0GB", "99999999999TB", "1e3MB"})
  void anUnknownUnitOrNoSizeIsRefused(String text) {
    EspalierException refused =
        assertThrows(EspalierException.class, () -> ByteSize.parse("--memory-budget", text));
    assertEquals(EspalierException.Kind.USAGE, refused.kind());
    assertTrue(refused.getMessage().contains("--memory-budget " + text), refused.getMessage());
    assertTrue(refused.advice().contains("GiB"));
  }

  @Test
  void aBudgetThatCannotBeKeptIsExitCode2() {
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    ByteArrayOutputStream err = new ByteArrayOutputStream();
    int code =
        run(
            out,
            err,
            "compress",
            model,
            "--scheme",
            "W8A16",
            "--method",
            "rtn",
            "--group-size",
            "0",
            "-o",
            folder.resolve("out").toString(),
            "--memory-budget",
            "10MB");
    assertEquals(2, code);
    String text = err.toString(StandardCharsets.UTF_8);
    assertTrue(text.contains("too small") && text.contains("smallest budget that works"), text);
  }
}
