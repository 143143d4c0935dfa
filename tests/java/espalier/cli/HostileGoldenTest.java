// SPDX-License-Identifier: Apache-2.0
package espalier.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTimeoutPreemptively;
import static org.junit.jupiter.api.Assertions.assertTrue;

import espalier.Shared;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.api.io.TempDir;

/** Files that lie: every command refuses them with one message and leaves nothing behind. */
class HostileGoldenTest {
  private static final String HOSTILE = "golden/formats/safetensors/hostile";
  private static final Duration LIMIT = Duration.ofSeconds(20);

  @TempDir Path scratch;

  @TestFactory
  Stream<DynamicTest> everyCommandRefusesEveryFile() {
    return cases(path -> path.toString().endsWith(".safetensors"), HOSTILE, this::refusesFile);
  }

  @TestFactory
  Stream<DynamicTest> inspectRefusesEveryIndexFolder() {
    return cases(
        Files::isDirectory, HOSTILE + "/index", path -> refused("inspect", path.toString()));
  }

  private interface Check {
    void run(Path path) throws IOException;
  }

  private static Stream<DynamicTest> cases(
      java.util.function.Predicate<Path> wanted, String folder, Check check) {
    if (!Shared.present()) {
      return Stream.of(DynamicTest.dynamicTest(folder, () -> Shared.path(folder)));
    }
    try (Stream<Path> list = Files.list(Shared.path(folder))) {
      return list.filter(wanted).sorted().toList().stream()
          .map(
              path ->
                  DynamicTest.dynamicTest(path.getFileName().toString(), () -> check.run(path)));
    } catch (IOException e) {
      throw new java.io.UncheckedIOException(e);
    }
  }

  private void refusesFile(Path file) throws IOException {
    refused("inspect", file.toString());
    Path model = Files.createTempDirectory(scratch, "model");
    Path sound = Shared.path("models/stories260K");
    for (String name : List.of("config.json", "tokenizer.json", "tokenizer_config.json")) {
      Files.copy(sound.resolve(name), model.resolve(name));
    }
    Files.copy(file, model.resolve("model.safetensors"));
    String data = Shared.path("data/tinystories_eval.jsonl").toString();
    refused("eval", model.toString(), "--data", data, "--limit", "1");
    Path out = scratch.resolve("out");
    refused(
        "compress", model.toString(), "--scheme", "W4A16", "--method", "rtn", "-o", out.toString());
    try (Stream<Path> left = Files.list(scratch)) {
      assertFalse(left.anyMatch(path -> path.getFileName().toString().startsWith("out")));
    }
  }

  private static void refused(String... words) {
    CommandRun run = assertTimeoutPreemptively(LIMIT, () -> CommandRun.of(words));
    assertEquals(3, run.code(), run.err());
    assertEquals("", run.out());
    assertTrue(run.err().matches("(?s)error: \\S.*"), run.err());
    assertFalse(run.err().contains("\tat "), run.err());
  }
}
