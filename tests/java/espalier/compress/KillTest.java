// SPDX-License-Identifier: Apache-2.0
package espalier.compress;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import espalier.Shared;
import espalier.model.TinyModels;
import java.io.File;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Processes of the command line that die by SIGKILL, and the same command afterwards. */
@Tag("slow")
class KillTest {
  private static final int KILLS = 20;
  private static final long SEED = 20;

  @TempDir Path folder;

  /** Returns model and calibration options: stories3M where it is at hand, else a model of ours. */
  private List<String> request() throws IOException {
    if (Shared.present()) {
      return List.of(
          Shared.path("models/stories3M").toString(),
          "--data",
          Shared.path("data/tinystories_calib.jsonl").toString(),
          "--samples",
          "12",
          "--group-size",
          "64");
    }
    TinyModels model =
        TinyModels.llama()
            .with("hidden_size", 128)
            .with("intermediate_size", 384)
            .with("num_hidden_layers", 6);
    Random random = new Random(SEED);
    StringBuilder lines = new StringBuilder();
    for (int text = 0; text < 64; text++) {
      List<Integer> ids = random.ints(60, 0, 24).boxed().toList();
      lines.append("{\"input_ids\": ").append(ids).append("}\n");
    }
    return List.of(
        model.fill().write(folder.resolve("model")).toString(),
        "--data",
        Files.writeString(folder.resolve("texts.jsonl"), lines).toString(),
        "--group-size",
        "64");
  }

  private Process start(List<String> request, String out) throws IOException {
    String java = Path.of(System.getProperty("java.home"), "bin", "java").toString();
    List<String> words =
        new ArrayList<>(
            List.of(
                java,
                "-XX:+UseSerialGC",
                "-cp",
                System.getProperty(
                    "surefire.test.class.path", System.getProperty("java.class.path")),
                "espalier.cli.Cli",
                "compress"));
    words.addAll(request);
    words.addAll(
        List.of("--scheme", "W4A16", "--threads", "1", "-o", folder.resolve(out).toString()));
    File log = folder.resolve(out + ".log").toFile();
    return new ProcessBuilder(words)
        .redirectErrorStream(true)
        .redirectOutput(ProcessBuilder.Redirect.appendTo(log))
        .start();
  }

  private void finish(List<String> request, String out) throws Exception {
    Process process = start(request, out);
    assertTrue(process.waitFor(10, TimeUnit.MINUTES));
    assertEquals(0, process.exitValue(), () -> log(out));
  }

  private String log(String out) {
    try {
      return Files.readString(folder.resolve(out + ".log"));
    } catch (IOException e) {
      return e.toString();
    }
  }

  /**
   * Kills a run some time after its log has grown by so many lines, one a linear. Time alone would
   * say little: the machine may be busy with other things.
   */
  private void kill(List<String> request, String out, long lines, long millis) throws Exception {
    long before = Files.exists(folder.resolve(out + ".log")) ? lines(out) : 0;
    Process process = start(request, out);
    while (process.isAlive() && lines(out) < before + lines) {
      process.waitFor(2, TimeUnit.MILLISECONDS);
    }
    process.waitFor(millis, TimeUnit.MILLISECONDS);
    process.destroyForcibly().waitFor(); // SIGKILL, and nothing of ours runs after it
  }

  private long lines(String out) {
    return log(out).lines().count();
  }

  private Map<String, String> hashes(String out) throws IOException, NoSuchAlgorithmException {
    Map<String, String> hashes = new TreeMap<>();
    Path root = folder.resolve(out);
    try (Stream<Path> all = Files.walk(root)) {
      for (Path file : all.filter(Files::isRegularFile).toList()) {
        byte[] digest = MessageDigest.getInstance("SHA-256").digest(Files.readAllBytes(file));
        hashes.put(root.relativize(file).toString(), HexFormat.of().formatHex(digest));
      }
    }
    // It tells seconds and interruptions, which differ; everything else must not.
    assertTrue(hashes.remove("espalier-report.json") != null, out);
    assertTrue(hashes.remove("espalier-report.html") != null, out);
    return hashes;
  }

  @Test
  void killedAtAnyMomentTheSameCommandEndsWithTheSameFiles() throws Exception {
    List<String> request = request();
    finish(request, "whole");
    Map<String, String> expected = hashes("whole");
    Random random = new Random(SEED);
    List<String> moments = new ArrayList<>();
    int resumed = 0;
    for (int i = 0; i < KILLS; i++) {
      String out = "killed" + i;
      long lines = random.nextLong(lines("whole") + 1);
      // Starting and completing take their time too, and are killed in all of it.
      boolean edge = lines == 0 || lines == lines("whole");
      long millis = random.nextLong(edge ? 1000 : 100);
      kill(request, out, lines, millis);
      boolean ended = Files.exists(folder.resolve(out)); // killed after the rename, or too late
      if (!ended) {
        finish(request, out);
      }
      boolean went = log(out).contains("resumed after block");
      resumed += went ? 1 : 0;
      moments.add(lines + "+" + millis + (ended ? " ended" : went ? " resumed" : " anew"));
      assertEquals(expected, hashes(out), "seed " + SEED + ", kill " + i + " at " + moments);
      assertTrue(ended || Files.notExists(folder.resolve(out + ".partial")), log(out));
    }
    System.out.println("kills at line+milliseconds of " + lines("whole") + ": " + moments);
    assertTrue(resumed >= KILLS / 2, moments.toString());
  }

  @Test
  void aRunThatIsKilledOverAndOverStillEnds() throws Exception {
    List<String> request = request();
    finish(request, "whole");
    Random random = new Random(SEED + 1);
    int kills = 0;
    while (!Files.exists(folder.resolve("often"))) {
      // A block, which is seven linears, the line that tells of the resume, and a part of the next.
      kill(request, "often", 9 + random.nextInt(4), random.nextInt(50));
      kills++;
      assertTrue(kills < 10, () -> log("often"));
    }
    assertEquals(hashes("whole"), hashes("often"), kills + " kills");
  }
}
