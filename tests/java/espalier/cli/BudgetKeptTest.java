// SPDX-License-Identifier: Apache-2.0
package espalier.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import espalier.internal.Json;
import espalier.shapes.ShapedCheckpoint;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * A run of its own process under the smallest budget that the refusal of a smaller one names: the
 * kernel's count stays within it, and the output is that of a run without a budget.
 */
@Tag("slow")
class BudgetKeptTest {
  /** 23 million weights; states, Hessians, panels and tables all matter at this shape. */
  private static final ShapedCheckpoint SHAPE =
      new ShapedCheckpoint(512, 2, 8, 4, 64, 2048, 16384, false);

  @TempDir Path folder;

  @Test
  void theKernelCountsNoMoreThanTheBudget() throws Exception {
    SHAPE.write(folder.resolve("model"), false);
    SHAPE.texts(folder.resolve("texts.jsonl"), 16, 128);
    Outcome refused = compress("refused", "--memory-budget", "50MB");
    assertEquals(2, refused.code, refused.err);
    Matcher named = Pattern.compile("works here is ([\\d.]+)(MB|GB)").matcher(refused.err);
    assertTrue(named.find(), refused.err);
    String budget = named.group(1) + named.group(2);
    Outcome kept = compress("kept", "--memory-budget", budget);
    assertEquals(0, kept.code, kept.err);
    JsonNode report = Json.STRICT.readTree(kept.out);
    long bytes = ByteSize.parse("--memory-budget", budget);
    long peak = report.get("peak_resident_bytes").longValue();
    assertEquals(bytes, report.get("memory_budget_bytes").longValue());
    assertTrue(peak <= bytes + bytes / 20, peak + " bytes of " + budget);
    // Far below what is needed would be no plan either.
    assertTrue(peak > bytes / 3, peak + " bytes of " + budget);
    assertEquals(0, compress("free").code);
    for (String file : List.of("model.safetensors", "config.json")) {
      assertEquals(
          -1,
          Files.mismatch(
              folder.resolve("kept").resolve(file), folder.resolve("free").resolve(file)),
          file);
    }
  }

  private record Outcome(int code, String out, String err) {}

  /** Runs the command line with the launcher's flags. */
  private Outcome compress(String out, String... more) throws IOException, InterruptedException {
    List<String> words =
        new ArrayList<>(
            List.of(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "-XX:+UseSerialGC",
                "-Xms32m",
                "-XX:MaxNewSize=24m",
                "-cp",
                System.getProperty("java.class.path"),
                "espalier.cli.Cli",
                "compress",
                folder.resolve("model").toString(),
                "--scheme",
                "W4A16",
                "--data",
                folder.resolve("texts.jsonl").toString(),
                "--samples",
                "16",
                "--threads",
                "2",
                "--json",
                "-o",
                folder.resolve(out).toString()));
    words.addAll(List.of(more));
    Path results = folder.resolve(out + ".out");
    Path errors = folder.resolve(out + ".err");
    int code =
        new ProcessBuilder(words)
            .redirectOutput(results.toFile())
            .redirectError(errors.toFile())
            .start()
            .waitFor();
    return new Outcome(code, Files.readString(results), Files.readString(errors));
  }
}
