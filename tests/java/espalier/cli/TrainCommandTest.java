// SPDX-License-Identifier: Apache-2.0
package espalier.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import espalier.model.TinyModels;
import java.io.File;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Random;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** {@code espalier train} as a command, and as processes that die by SIGKILL. */
class TrainCommandTest {
  private static final long SEED = 4;

  @TempDir Path folder;

  private Path recipe(int steps, int checkpoint) throws IOException {
    Random random = new Random(SEED);
    StringBuilder lines = new StringBuilder();
    for (int text = 0; text < 20; text++) {
      List<Integer> ids = random.ints(50, 0, 24).boxed().toList();
      lines.append("{\"input_ids\": ").append(ids).append("}\n");
    }
    Files.writeString(folder.resolve("texts.jsonl"), lines);
    TinyModels.llama().fill().write(folder.resolve("model"));
    return Files.writeString(
        folder.resolve("recipe.yaml"),
        String.format(
            "train: {model: model, data: texts.jsonl, length: 32, batch: 4, steps: %d,"
                + " rate: 1e-3, checkpoint: %d}",
            steps, checkpoint));
  }

  @Test
  void trainsAndTellsTheLosses() throws IOException {
    String recipe = recipe(4, 100).toString();
    String out = folder.resolve("out").toString();
    CommandRun run = CommandRun.of("train", recipe, "-o", out, "--json", "--threads", "1");
    assertEquals(0, run.code(), run.err());
    JsonNode json = run.json();
    assertEquals(4, json.get("losses").size());
    assertEquals(0, json.get("resumed_from_step").asInt());
    assertTrue(Files.exists(folder.resolve("out/model.safetensors")));
    CommandRun again = CommandRun.of("train", recipe, "-o", out);
    assertEquals(2, again.code(), "an output is never overwritten");
    assertFalse(again.err().isEmpty());
    CommandRun missing = CommandRun.of("train", folder.resolve("none.yaml").toString(), "-o", "x");
    assertEquals(3, missing.code());
  }

  @Test
  @Tag("slow")
  void killedRunsEndWithTheSameWeights() throws Exception {
    Path recipe = recipe(250, 25);
    assertEquals(0, start(recipe, "whole").waitFor());
    Random random = new Random(SEED);
    int kills = 0;
    for (int kill = 0; kill < 5; kill++) {
      Process process = start(recipe, "parts");
      Path partial = folder.resolve("parts.partial");
      long before = states(partial);
      while (process.isAlive() && states(partial) <= before) {
        Thread.sleep(1);
      }
      process.waitFor(random.nextInt(150), TimeUnit.MILLISECONDS);
      kills += process.isAlive() ? 1 : 0;
      process.destroyForcibly().waitFor(); // SIGKILL
    }
    assertTrue(kills > 1, "only " + kills + " processes were killed");
    if (!Files.exists(folder.resolve("parts"))) {
      int code = start(recipe, "parts").waitFor();
      assertEquals(0, code, Files.readString(folder.resolve("parts.log")));
    }
    for (String file : List.of("model.safetensors", "espalier-training.json", "config.json")) {
      assertEquals(
          -1,
          Files.mismatch(
              folder.resolve("whole").resolve(file), folder.resolve("parts").resolve(file)),
          file);
    }
    assertFalse(Files.exists(folder.resolve("parts.partial")));
  }

  /** The step of the latest state; −1 for none. */
  private static long states(Path partial) {
    File[] files = partial.toFile().listFiles((folder, name) -> name.matches("state-\\d+"));
    return files == null
        ? -1
        : List.of(files).stream()
            .map(File::getName)
            .collect(Collectors.summarizingLong(name -> Long.parseLong(name.substring(6))))
            .getMax();
  }

  private Process start(Path recipe, String out) throws IOException {
    String java = Path.of(System.getProperty("java.home"), "bin", "java").toString();
    String path =
        System.getProperty("surefire.test.class.path", System.getProperty("java.class.path"));
    return new ProcessBuilder(
            java,
            "-XX:+UseSerialGC",
            "-cp",
            path,
            "espalier.cli.Cli",
            "train",
            recipe.toString(),
            "--threads",
            "1",
            "-o",
            folder.resolve(out).toString())
        .redirectErrorStream(true)
        .redirectOutput(ProcessBuilder.Redirect.appendTo(folder.resolve(out + ".log").toFile()))
        .start();
  }
}
