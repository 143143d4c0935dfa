// SPDX-License-Identifier: Apache-2.0
package espalier.compress;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import espalier.CompressionJob;
import espalier.Espalier;
import espalier.cli.CommandRun;
import espalier.internal.Json;
import espalier.report.EspalierException;
import espalier.report.EspalierException.Kind;
import espalier.report.Listener;
import espalier.report.Report;
import espalier.tensor.DType;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** A run that is interrupted and begun again ends with the files of one that was not. */
class ResumeTest extends InterruptedRuns {
  @ParameterizedTest
  @ValueSource(strings = {"F32", "BF16"})
  void everyMomentOfARunCanBeGoneOnFrom(String type) throws IOException {
    stored = DType.valueOf(type);
    model = tiny().write(folder.resolve("model-" + type));
    List<Integer> moments = List.of(0, 1, 6, 7, 8, 13, 14, 20, 21, 22);
    Report whole = job("whole").listener(copyingAt(moments)).run();
    assertEquals("", resumed(whole));
    for (int moment : moments) {
      String name = "after" + moment;
      assertTrue(Files.exists(partial(name)), "the run never came to linear " + moment);
      Report report = job(name).run();
      same("whole", name);
      int blocks = moment == 22 ? 4 : moment / 7; // seven linears a block, then the head
      // The linear that ends a block is told of before the block is on the disk.
      boolean ended = moment % 7 == 0 && moment > 0;
      String after = resumed(report);
      assertTrue(
          after.equals(wentOnAfter(blocks)) || ended && after.equals(wentOnAfter(blocks - 1)),
          moment + ": " + after);
      assertEquals(0.0, report.facts().get("reopened_logits_max_difference"));
      assertFalse(Files.exists(partial(name)));
    }
  }

  private static String wentOnAfter(int stages) {
    return stages == 0
        ? ""
        : "went on after " + (stages == 4 ? "the output head" : "block " + stages + " of 3");
  }

  @Test
  void theReportOfAResumedRunDiffersInSecondsAndInTheEventThatTells() throws IOException {
    killed("out", 15);
    Report report = job("out").run();
    assertEquals("went on after block 2 of 3", resumed(report));
    JsonNode before = bare("out-whole");
    JsonNode after = bare("out");
    assertEquals(before, after);
    assertEquals(22, after.get("linears").size());
    for (JsonNode row : Json.STRICT.readTree(report("out").toFile()).get("linears")) {
      assertTrue(row.get("seconds").asDouble() > 0, "the seconds of the first process are kept");
    }
  }

  private Path report(String out) {
    return folder.resolve(out).resolve("espalier-report.json");
  }

  private JsonNode bare(String out) throws IOException {
    ObjectNode report = (ObjectNode) Json.STRICT.readTree(report(out).toFile());
    report.remove("output");
    report.remove("durability_seconds");
    // What a process holds before it begins differs from run to run.
    report.remove("predicted_peak_bytes");
    report.remove("peak_resident_bytes");
    report.remove("time");
    report.path("linears").forEach(row -> ((ObjectNode) row).remove("seconds"));
    for (var events = report.get("events").elements(); events.hasNext(); ) {
      if (events.next().get("kind").textValue().equals("resumed")) {
        events.remove();
      }
    }
    return report;
  }

  @Test
  void aRunMayBeInterruptedAgainAndAgain() throws IOException {
    job("whole").run();
    int attempts = 0;
    String last = "";
    while (!Files.exists(folder.resolve("often"))) {
      attempts++;
      long[] heard = new long[1];
      Listener impatient =
          new Listener() {
            @Override
            public void progress(String stage, long done, long total, String detail) {
              // One block further than the last attempt, and a little into the next.
              heard[0] += detail.startsWith("resumed") ? 0 : 1;
            }

            @Override
            public boolean cancelled() {
              return heard[0] > 8;
            }
          };
      try {
        last = resumed(job("often").threads(1 + attempts % 2).listener(impatient).run());
      } catch (EspalierException e) {
        assertEquals(Kind.INTERRUPTED, e.kind(), e.getMessage());
        assertEquals(
            "Run the same command again: it goes on after block " + attempts + " of 3.",
            e.advice());
      }
      assertTrue(attempts < 10);
    }
    assertEquals(3, attempts);
    assertEquals("went on after block 1 of 3, went on after block 2 of 3", last);
    same("whole", "often");
  }

  @Test
  void aRunWithoutCalibrationGoesOnToo() throws IOException {
    Listener stop = at(9, () -> copy(partial("whole"), partial("rtn")));
    rtn("whole").listener(stop).run();
    assertFalse(Files.exists(partial("rtn").resolve("states-0")));
    assertEquals("went on after block 1 of 3", resumed(rtn("rtn").run()));
    same("whole", "rtn");
  }

  private CompressionJob rtn(String out) {
    return Espalier.compress(model)
        .scheme("W4A16")
        .method("rtn")
        .groupSize(4)
        .format(OutputFormat.DENSE)
        .output(folder.resolve(out));
  }

  @Test
  void killedWhileItIsCompletedOrPutInPlaceItGoesOn() throws IOException {
    killed("out", 22);
    // As far as a process may have come after the last block: files of all kinds half there.
    job("first").run();
    Path output = partial("out").resolve("output");
    for (String name : List.of("config.json", "espalier-report.json")) {
      byte[] whole = Files.readAllBytes(folder.resolve("first").resolve(name));
      Files.write(output.resolve(name), java.util.Arrays.copyOf(whole, whole.length / 2));
    }
    Files.writeString(output.resolve("from an older run.txt"), "x");
    Files.delete(output.resolve("model.safetensors.index.json"));
    job("out").run();
    same("out-whole", "out");
  }

  @Test
  void theRemainsOfAFinishedRunAreTidiedAndTheOutputIsKept() throws IOException {
    killed("out", 22);
    // The moment after the rename: the output has its name, the rest is still there.
    Files.move(partial("out").resolve("output"), folder.resolve("out"));
    EspalierException e = assertThrows(EspalierException.class, () -> job("out").run());
    assertEquals(Kind.USAGE, e.kind());
    assertTrue(e.getMessage().contains("exists already"), e.getMessage());
    assertFalse(Files.exists(partial("out")));
    assertTrue(Files.exists(folder.resolve("out")));
  }

  @Test
  void killedBeforeItDidAnythingItBeginsAnew() throws IOException {
    job("whole").run();
    Files.createDirectory(partial("empty"));
    job("empty").run();
    same("whole", "empty");
    killed("early", 0);
    Files.deleteIfExists(partial("early").resolve("manifest.json"));
    Files.writeString(partial("early").resolve("output/config.json"), "{");
    assertEquals("", resumed(job("early").strict(true).run()));
    same("whole", "early");
    // Killed while a folder was removed: its payload goes first, and with it all that counts.
    killed("removed", 15);
    Files.move(partial("removed").resolve("output"), partial("removed").resolve("discarded"));
    assertEquals("", resumed(job("removed").run()));
    same("whole", "removed");
  }

  @Test
  void restartThrowsTheStateAway() throws IOException {
    killed("out", 15);
    Files.writeString(partial("out").resolve("manifest.json"), "garbage");
    Report report = job("out").restart(true).run();
    assertEquals("", resumed(report));
    assertTrue(report.events().stream().anyMatch(e -> e.kind().equals("restarted")));
    same("out-whole", "out");
    assertEquals(
        "", resumed(job("plain").restart(true).run()), "with nothing there it is no fault");
  }

  @Test
  void whatNoManifestSpeaksOfDoesNoHarm() throws IOException {
    killed("out", 15);
    JsonNode manifest =
        Json.STRICT.readTree(partial("out").resolve("manifest.json").toFile()).get("state");
    boolean first = manifest.at("/states/file").textValue().equals("states-0");
    // The other states file and a new manifest are what a killed process was writing to.
    Files.writeString(partial("out").resolve(first ? "states-1" : "states-0"), "half");
    Files.writeString(partial("out").resolve("manifest.json.new"), "{\"sha2");
    assertEquals("went on after block 2 of 3", resumed(job("out").run()));
    same("out-whole", "out");
  }

  @Test
  void theCommandLineTellsOfTheResume() throws IOException {
    killed("out", 15);
    CommandRun run =
        CommandRun.of(
            List.of(
                "compress",
                model.toString(),
                "--recipe",
                recipe.toString(),
                "--data",
                data.toString(),
                "--samples",
                "10",
                "--shard-size",
                "12000",
                "--json",
                "-o",
                folder.resolve("out").toString()));
    assertEquals(0, run.code(), run.err());
    assertTrue(run.err().contains("compress 14/22  resumed after block 2 of 3"), run.err());
    assertTrue(
        run.json().get("events").toString().contains("went on after block 2 of 3"), run.out());
    same("out-whole", "out");
  }
}
