// SPDX-License-Identifier: Apache-2.0
package espalier.compress;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import espalier.CompressionJob;
import espalier.internal.Json;
import espalier.model.TinyModels;
import espalier.report.EspalierException;
import espalier.report.EspalierException.Kind;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.io.UncheckedIOException;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;

/** What an interrupted run is not gone on from, and what its folder outlives. */
class ResumeRefusalTest extends InterruptedRuns {
  private static final String UP = "model.layers.0.mlp.up_proj.weight";

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
    assertEquals("went on after block 2 of 3", resumed(job("out").threads(2).run()));
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
    assertTrue(manifest.get("tensors").has("compressed-tensors/" + tensor));
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
    assertEquals("went on after block 2 of 3", resumed(job("kept").run()));
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
    assertEquals("went on after block 1 of 3", resumed(job("out").shardBytes(1_000_000).run()));
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
    assertEquals("went on after block 2 of 3", resumed(job("out").run()));
  }
}
