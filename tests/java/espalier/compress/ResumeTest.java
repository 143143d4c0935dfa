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
import espalier.internal.Json;
import espalier.model.TinyModels;
import espalier.report.EspalierException;
import espalier.report.EspalierException.Kind;
import espalier.report.Event;
import espalier.report.Listener;
import espalier.report.Report;
import espalier.tensor.DType;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.io.UncheckedIOException;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;
import java.util.stream.Stream;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * A run that is interrupted and begun again ends with the files of one that was not. What a killed
 * process leaves is had by copying OUT.partial at a moment of the run: the copy has all its files
 * and none of its locks, and no code of the run has tidied it.
 */
class ResumeTest {
  private static final String UP = "model.layers.0.mlp.up_proj.weight";

  @TempDir Path folder;
  private Path data;
  private Path recipe;
  private Path model;
  private DType stored = DType.F32;

  @BeforeEach
  void write() throws IOException {
    Random random = new Random(5);
    StringBuilder lines = new StringBuilder();
    for (int text = 0; text < 10; text++) {
      List<Integer> ids = random.ints(9 + text, 0, 24).boxed().toList();
      lines.append("{\"input_ids\": ").append(ids).append("}\n");
    }
    data = Files.writeString(folder.resolve("texts.jsonl"), lines);
    recipe = Files.writeString(folder.resolve("recipe.yaml"), recipe("[]", 4));
    model = tiny().write(folder.resolve("model"));
    Files.writeString(model.resolve("generation_config.json"), "{\"eos_token_id\": 2}");
  }

  /** Three blocks and a head of its own, so that there are four stages. */
  private TinyModels tiny() {
    return TinyModels.llama().with("num_hidden_layers", 3).stored(stored).fill();
  }

  /** Everything in 4 bits, the head too; asymmetric, so that all kinds of tensors are written. */
  private static String recipe(String ignore, int bits) {
    return """
        s_stage:
          m_modifiers:
            GPTQModifier:
              ignore: %s
              config_groups:
                all:
                  targets: [Linear]
                  weights: {num_bits: %d, strategy: group, group_size: 4, symmetric: false}
        """
        .formatted(ignore, bits);
  }

  private CompressionJob job(String out) {
    return Espalier.compress(model)
        .recipe(recipe)
        .data(data)
        .samples(10)
        .threads(1)
        .shardBytes(12000)
        .output(folder.resolve(out));
  }

  private Path partial(String out) {
    return folder.resolve(out + ".partial");
  }

  /** Does something once, when the listener hears of the n-th linear; 0 is before the first. */
  private static Listener at(int linear, Runnable action) {
    return new Listener() {
      private boolean acted;
      private long heard;

      @Override
      public void progress(String stage, long done, long total, String detail) {
        heard = done;
      }

      @Override
      public boolean cancelled() {
        if (!acted && heard == linear) {
          acted = true;
          action.run();
        }
        return false;
      }
    };
  }

  private static void copy(Path from, Path to) {
    try (Stream<Path> files = Files.walk(from)) {
      for (Path file : files.toList()) {
        Files.copy(file, to.resolve(from.relativize(file).toString()));
      }
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** Returns the files of an output that must not depend on interruptions: all but the report. */
  private Map<String, List<Byte>> files(String out) throws IOException {
    Map<String, List<Byte>> files = new TreeMap<>();
    Path root = folder.resolve(out);
    try (Stream<Path> all = Files.walk(root)) {
      for (Path file : all.filter(Files::isRegularFile).toList()) {
        byte[] bytes = Files.readAllBytes(file);
        java.util.ArrayList<Byte> boxed = new java.util.ArrayList<>();
        for (byte each : bytes) {
          boxed.add(each);
        }
        files.put(root.relativize(file).toString(), boxed);
      }
    }
    assertTrue(files.remove("espalier-report.json") != null);
    return files;
  }

  private void same(String expected, String found) throws IOException {
    Map<String, List<Byte>> wanted = files(expected);
    Map<String, List<Byte>> there = files(found);
    assertEquals(wanted.keySet(), there.keySet());
    for (String name : wanted.keySet()) {
      assertTrue(wanted.get(name).equals(there.get(name)), found + "/" + name + " differs");
    }
  }

  private static String resumed(Report report) {
    return String.join(
        ", ",
        report.events().stream()
            .filter(e -> e.kind().equals("resumed"))
            .map(Event::message)
            .toList());
  }

  /** Leaves what a process killed after this many linears of a run leaves, under this name. */
  private void killed(String name, int linears) {
    String whole = name + "-whole";
    job(whole).listener(at(linears, () -> copy(partial(whole), partial(name)))).run();
    assertTrue(Files.exists(partial(name)), "the run never came to linear " + linears);
  }

  @ParameterizedTest
  @ValueSource(strings = {"F32", "BF16"})
  void everyMomentOfARunCanBeGoneOnFrom(String type) throws IOException {
    stored = DType.valueOf(type);
    model = tiny().write(folder.resolve("model-" + type));
    List<Integer> moments = List.of(0, 1, 6, 7, 8, 13, 14, 20, 21, 22);
    Listener copies =
        new Listener() {
          private long last = -1;
          private long heard;

          @Override
          public void progress(String stage, long done, long total, String detail) {
            heard = done;
          }

          @Override
          public boolean cancelled() {
            Path now = partial("whole");
            if (heard != last && Files.exists(now) && moments.contains((int) heard)) {
              last = heard;
              copy(now, partial("after" + heard));
            }
            return false;
          }
        };
    Report whole = job("whole").listener(copies).run();
    assertEquals("", resumed(whole));
    for (int moment : moments) {
      String name = "after" + moment;
      assertTrue(Files.exists(partial(name)), "the run never came to linear " + moment);
      Report report = job(name).run();
      same("whole", name);
      int blocks = moment == 22 ? 4 : moment / 7; // seven linears a block, then the head
      // The linear that ends a block is told of before the block is on the disk.
      String after = resumed(report);
      boolean told =
          after.equals("went on after block " + blocks + " of 4")
              || moment % 7 == 0 && after.equals("went on after block " + (blocks - 1) + " of 4")
              || moment == 0 && after.isEmpty();
      assertTrue(told, moment + ": " + after);
      assertEquals(0.0, report.facts().get("reopened_logits_max_difference"));
      assertFalse(Files.exists(partial(name)));
    }
  }

  @Test
  void theReportOfAResumedRunDiffersByItsSecondsAndTheEventThatTells() throws IOException {
    killed("out", 15);
    Report report = job("out").run();
    assertEquals("went on after block 2 of 4", resumed(report));
    JsonNode before = bare("out-whole");
    JsonNode after = bare("out");
    assertEquals(before, after);
    assertEquals(22, after.get("linears").size());
    for (JsonNode row :
        Json.STRICT.readTree(report("out").toFile()).get("linears")) {
      assertTrue(row.get("seconds").asDouble() > 0, "the seconds of the first process are kept");
    }
  }

  private Path report(String out) {
    return folder.resolve(out).resolve("espalier-report.json");
  }

  private JsonNode bare(String out) throws IOException {
    ObjectNode report = (ObjectNode) Json.STRICT.readTree(report(out).toFile());
    report.remove("output");
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
            "Run the same command again: it goes on after block " + attempts + ".", e.advice());
      }
      assertTrue(attempts < 10);
    }
    assertEquals(3, attempts);
    assertEquals("went on after block 1 of 4, went on after block 2 of 4", last);
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

  private EspalierException refused(Kind kind, CompressionJob job, String... words) {
    EspalierException e = assertThrows(EspalierException.class, job::run);
    assertEquals(kind, e.kind(), e.getMessage());
    for (String word : words) {
      assertTrue(e.getMessage().contains(word), e.getMessage());
    }
    assertTrue(e.advice().contains("--restart"), e.advice());
    return e;
  }

  @Test
  void everyInputThatChangedIsNamed() throws IOException {
    killed("out", 15);
    Path state = partial("out");

    byte[] weights = Files.readAllBytes(model.resolve("model.safetensors"));
    try (var file = new RandomAccessFile(model.resolve("model.safetensors").toFile(), "rw")) {
      long at = file.length() - 3; // the head is the last tensor
      file.seek(at);
      int old = file.read();
      file.seek(at);
      file.write(old ^ 1);
    }
    refused(Kind.USAGE, job("out"), "weights (lm_head.weight)");
    Files.write(model.resolve("model.safetensors"), weights);

    String config = Files.readString(model.resolve("config.json"));
    Files.writeString(model.resolve("config.json"), config.replace("1.0E-5", "2.0E-5"));
    refused(Kind.USAGE, job("out"), "config.json");
    Files.writeString(model.resolve("config.json"), config);

    String generation = Files.readString(model.resolve("generation_config.json"));
    Files.writeString(model.resolve("generation_config.json"), "{\"eos_token_id\": 3}");
    refused(Kind.USAGE, job("out"), "file generation_config.json");
    Files.writeString(model.resolve("generation_config.json"), generation);

    Files.writeString(recipe, recipe("[]", 5));
    refused(Kind.USAGE, job("out"), "recipe (line 8 was 'weights: {num_bits: 4,", "num_bits: 5,");
    Files.writeString(recipe, recipe("[]", 4));

    EspalierException both =
        refused(
            Kind.USAGE,
            job("out").samples(9).shardBytes(4000),
            "calibration tokens",
            "shard size (was 12000, is 4000)");
    assertFalse(both.getMessage().contains("recipe"), both.getMessage());
    refused(
        Kind.USAGE,
        job("out").format(OutputFormat.DENSE),
        "output format (was compressed-tensors, is dense)");

    assertTrue(Files.exists(state.resolve("manifest.json")), "the state is still there");
    assertEquals("went on after block 2 of 4", resumed(job("out").threads(2).run()));
    same("out-whole", "out");
  }

  @Test
  void whatBelongsToTheProgramIsComparedToo() {
    Map<String, String> begun =
        Map.of(
            "version of this program", "0.1",
            "seed", "0",
            "kernel variants", "gemm: avx2, reference\ngptq: avx512, avx2, reference\n");
    Map<String, String> now =
        Map.of(
            "version of this program", "0.2",
            "seed", "7",
            "kernel variants", "gemm: avx2, reference\ngptq: avx2, reference\n");
    List<String> changes =
        new RunInputs(now, Map.of("a", 1L, "b", 2L, "d", 4L))
            .changesSince(new RunInputs(begun, Map.of("a", 1L, "b", 3L, "c", 4L)));
    assertEquals(
        List.of(
            "kernel variants (line 2 was 'gptq: avx512, avx2, reference', is 'gptq: avx2,"
                + " reference')",
            "seed (was 0, is 7)",
            "version of this program (was 0.1, is 0.2)",
            "weights (b and 2 more)"),
        changes.stream().sorted().toList());
    assertEquals(
        List.of(), new RunInputs(now, Map.of()).changesSince(new RunInputs(now, Map.of())));
  }

  @Test
  void restartThrowsTheStateAway() throws IOException {
    killed("out", 15);
    Files.writeString(partial("out").resolve("manifest.json"), "garbage");
    Report report = job("out").restart(true).run();
    assertEquals("", resumed(report));
    assertTrue(report.events().stream().anyMatch(e -> e.kind().equals("restarted")));
    same("out-whole", "out");
    assertEquals("", resumed(job("plain").restart(true).run()), "with nothing there it is no fault");
  }

  private interface Damage {
    void to(Path file) throws IOException;
  }

  private static void shorten(Path file, long by) throws IOException {
    try (FileChannel channel = FileChannel.open(file, StandardOpenOption.WRITE)) {
      channel.truncate(channel.size() - by);
    }
  }

  private static void flip(Path file, long fromEnd) throws IOException {
    try (var bytes = new RandomAccessFile(file.toFile(), "rw")) {
      long at = bytes.length() - fromEnd;
      bytes.seek(at);
      int old = bytes.read();
      bytes.seek(at);
      bytes.write(old ^ 4);
    }
  }

  @Test
  void damagedStateIsRefusedByTheNameOfTheFile() throws IOException {
    killed("kept", 15);
    JsonNode manifest =
        Json.STRICT.readTree(partial("kept").resolve("manifest.json").toFile()).get("state");
    String states = manifest.at("/states/file").textValue();
    String tensor = "model.layers.1.mlp.down_proj.weight_packed";
    assertTrue(manifest.get("tensors").has(tensor));
    JsonNode index =
        Json.STRICT.readTree(
            partial("kept").resolve("output/model.safetensors.index.json").toFile());
    String shard = "output/" + index.get("weight_map").get(tensor).textValue();
    int attempt = 0;
    Map<String, List<Damage>> damages =
        Map.of(
            "manifest.json",
            List.of(
                file -> shorten(file, 5),
                file -> shorten(file, Files.size(file)),
                file -> flip(file, 40),
                file -> flip(file, Files.size(file) - 20),
                file -> Files.writeString(file, "{\"schema\": 1}"),
                file -> Files.write(file, new byte[4096])),
            states,
            List.of(
                file -> shorten(file, 4),
                file -> Files.delete(file),
                file -> flip(file, 17),
                file -> Files.write(file, new byte[1], StandardOpenOption.APPEND)),
            shard,
            List.of(
                file -> shorten(file, 1),
                file -> Files.delete(file),
                file -> flip(file, Files.size(file) - 9),
                file -> zero(file, manifest)));
    for (Map.Entry<String, List<Damage>> entry : damages.entrySet()) {
      for (Damage damage : entry.getValue()) {
        String name = "damaged" + attempt++;
        copy(partial("kept"), partial(name));
        damage.to(partial(name).resolve(entry.getKey()));
        refused(Kind.INPUT, job(name), partial(name).resolve(entry.getKey()).toString());
        assertTrue(Files.exists(partial(name)), "the rest may be worth something to its owner");
        assertFalse(Files.exists(folder.resolve(name)));
      }
    }
    assertEquals("went on after block 2 of 4", resumed(job("kept").run()));
  }

  /** Clears the data of a shard and leaves its header: what a lost write looks like. */
  private static void zero(Path shard, JsonNode manifest) throws IOException {
    try (var file = new RandomAccessFile(shard.toFile(), "rw")) {
      long header = 8 + Long.reverseBytes(file.readLong());
      file.seek(header);
      file.write(new byte[(int) (file.length() - header)]);
    }
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
    assertEquals("went on after block 2 of 4", resumed(job("out").run()));
    same("out-whole", "out");
  }

  @Test
  void aSecondRunOnTheSameOutputIsRefusedWhileTheFirstLives() throws IOException {
    EspalierException[] second = new EspalierException[1];
    job("out")
        .listener(
            at(
                8,
                () ->
                    second[0] =
                        assertThrows(
                            EspalierException.class, () -> job("out").restart(true).run())))
        .run();
    assertEquals(Kind.USAGE, second[0].kind());
    assertTrue(second[0].getMessage().contains("another run is writing there"));
    job("whole").run();
    same("whole", "out");
  }

  /** Puts a device that is always full in the place of a file, and the file back afterwards. */
  private void diskIsFullAt(String file, int linear) throws IOException {
    Path full = Path.of("/dev/full");
    Assumptions.assumeTrue(Files.exists(full), "no device that is always full");
    Path target = partial("out").resolve(file);
    Path aside = folder.resolve("aside");
    CompressionJob job =
        job("out")
            .shardBytes(1_000_000)
            .listener(
                at(
                    linear,
                    () -> {
                      try {
                        if (Files.exists(target)) {
                          Files.move(target, aside);
                        }
                        Files.createSymbolicLink(target, full);
                      } catch (IOException e) {
                        throw new UncheckedIOException(e);
                      }
                    }));
    EspalierException e = assertThrows(EspalierException.class, job::run);
    assertEquals(Kind.RESOURCE, e.kind(), e.getMessage());
    assertTrue(e.getMessage().contains("No space left"), e.getMessage());
    assertTrue(e.advice().contains("goes on after block 1"), e.advice());
    assertFalse(Files.exists(folder.resolve("out")));
    Files.delete(target);
    if (Files.exists(aside)) {
      Files.move(aside, target);
    }
    assertEquals("went on after block 1 of 4", resumed(job("out").shardBytes(1_000_000).run()));
    job("whole").shardBytes(1_000_000).run();
    same("whole", "out");
  }

  @Test
  void aDiskThatIsFullInTheMiddleOfAShardLosesNoFinishedBlock() throws IOException {
    diskIsFullAt("output/model.safetensors", 9);
  }

  @Test
  void aDiskThatIsFullWhenStatesAreWrittenLosesNoFinishedBlock() throws IOException {
    diskIsFullAt("states-1", 9);
  }

  @Test
  void aDiskThatIsFullWhenTheManifestIsWrittenLosesNoFinishedBlock() throws IOException {
    diskIsFullAt("manifest.json.new", 9);
  }

  @Test
  void aFaultOfTheRequestLeavesNothingAndAnEarlierStateStays() throws IOException {
    TinyModels bad = tiny();
    bad.tensors().get(UP).values()[3] = Float.NaN;
    Path sound = model;
    model = bad.write(folder.resolve("bad"));
    assertThrows(EspalierException.class, () -> job("new").run());
    assertFalse(Files.exists(partial("new")));
    model = sound;
    killed("out", 15);
    assertThrows(EspalierException.class, () -> job("out").data(null).run());
    model = folder.resolve("bad");
    assertThrows(EspalierException.class, () -> job("out").run());
    model = sound;
    assertEquals("went on after block 2 of 4", resumed(job("out").run()));
  }
}
