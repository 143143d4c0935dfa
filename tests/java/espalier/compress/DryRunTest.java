// SPDX-License-Identifier: Apache-2.0
package espalier.compress;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import espalier.CompressionJob;
import espalier.Espalier;
import espalier.model.Model;
import espalier.model.TinyModels;
import espalier.shapes.ShapedCheckpoint;
import espalier.tensor.Context;
import espalier.tensor.DType;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** What is told beforehand is what happens, and no tensor is read to tell it. */
class DryRunTest {
  /** Shared, so that the machine is measured once for all tests. */
  @TempDir static Path shared;

  @TempDir Path folder;

  private static MachineCache cache() {
    return new MachineCache(shared.resolve("cache").resolve("machine.json"));
  }

  @ParameterizedTest
  @CsvSource({
    "llama, F32, W4A16, 4, 100000, false",
    "llama, BF16, W4A16, 0, 3000, true",
    "llama, BF16, W3A16, 4, 900, false",
    "qwen2, F16, W4A16_ASYM, 4, 2500, false",
    "qwen2, F32, W8A16, 0, 100000, true",
    "qwen3, BF16, W5A16, 4, 1, false",
    "gpt2, F32, W4A16, 0, 4000, true",
    "mistral, F64, W4A16, 4, 100000, false"
  })
  void everyFileHasTheSizeThatWasForetold(
      String family, DType type, String scheme, int group, long shard, boolean tied)
      throws IOException {
    TinyModels model =
        switch (family) {
          case "llama" -> TinyModels.llama();
          case "qwen2" -> TinyModels.qwen2();
          case "qwen3" -> TinyModels.qwen3();
          case "mistral" -> TinyModels.mistral();
          default -> TinyModels.gpt2();
        };
    Path source =
        model.with("tie_word_embeddings", tied).fill().stored(type).write(folder.resolve("model"));
    Files.writeString(source.resolve("LICENSE"), "free\n");
    Files.writeString(source.resolve("generation_config.json"), "{\"eos_token_id\": 2}\n");
    for (OutputFormat format : List.of(OutputFormat.COMPRESSED_TENSORS, OutputFormat.DENSE)) {
      Path out = folder.resolve("out-" + format);
      CompressionJob job =
          Espalier.compress(source)
              .scheme(scheme)
              .method("rtn")
              .groupSize(group)
              .format(format)
              .shardBytes(shard)
              .output(out)
              .machines(cache());
      DryRun dry = job.dryRun();
      assertFalse(Files.exists(out), "a dry run wrote something");
      job.run();
      Map<String, Long> written = new TreeMap<>();
      try (Stream<Path> files = Files.list(out)) {
        for (Path file : files.toList()) {
          written.put(file.getFileName().toString(), Files.size(file));
        }
      }
      written.keySet().removeIf(name -> name.startsWith("espalier-report"));
      assertEquals(written, new TreeMap<>(dry.sizes().files()));
      assertEquals(
          written.values().stream().mapToLong(Long::longValue).sum(), dry.sizes().totalBytes());
    }
  }

  @Test
  void everyLinearIsTheSameBeforeAndAfter() {
    Path source = TinyModels.llama().fill().write(folder.resolve("model"));
    CompressionJob job =
        Espalier.compress(source)
            .scheme("W4A16")
            .method("rtn")
            .groupSize(4)
            .output(folder.resolve("out"))
            .machines(cache());
    JsonNode before = job.dryRun().toJson();
    JsonNode after = job.run().toJson();
    int compressed = 0;
    for (JsonNode row : after.get("linears")) {
      if (row.get("method").textValue().equals("none")) {
        continue;
      }
      JsonNode told = before.get("linears").get(compressed++);
      for (String field : new String[] {"name", "method", "scheme", "bits_per_weight"}) {
        assertEquals(row.get(field), told.get(field));
      }
    }
    assertEquals(compressed, before.get("linears").size());
    assertEquals("ignored", reason(before, "lm_head.weight"));
    assertEquals("the embedding", reason(before, "model.embed_tokens.weight"));
    assertEquals("no linear's weight", reason(before, "model.norm.weight"));
  }

  private static String reason(JsonNode dry, String tensor) {
    for (JsonNode each : dry.get("left_alone")) {
      if (each.get("tensor").textValue().equals(tensor)) {
        return each.get("reason").textValue();
      }
    }
    return "missing";
  }

  @Test
  void anOutlineReadsHeadersAlone() throws IOException {
    Path source = folder.resolve("8b");
    ShapedCheckpoint.LLAMA_8B.cut(2).write(source, true);
    try (Context context = Context.cpu(1);
        Model outline = Model.outline(source, context)) {
      assertEquals(15, outline.linears().size());
      long header = Files.size(source.resolve("config.json")); // and some kilobytes of JSON
      // A page fault maps up to 16 pages around the one that was asked for.
      long most = 65536 + 65536 + header;
      long resident = resident(source);
      assertTrue(resident > 0 && resident <= most, resident + " bytes of the weights were touched");
      // The same count sees a read of data.
      outline.checkpoint().get("model.norm.weight").toBytes();
      assertTrue(resident(source) > resident);
    }
  }

  /** Returns the bytes of mappings of files below a folder that are resident in this process. */
  private static long resident(Path source) throws IOException {
    long bytes = 0;
    boolean ours = false;
    for (String line : Files.readAllLines(Path.of("/proc/self/smaps"))) {
      if (line.matches("[0-9a-f]+-[0-9a-f]+ .*")) {
        ours = line.contains(source.toRealPath().toString());
      } else if (ours && line.startsWith("Rss:")) {
        bytes += Long.parseLong(line.replaceAll("\\D", "")) << 10;
      }
    }
    return bytes;
  }

  @Test
  void seventyBillionWeightsArePlannedFromHolesOnDisk() throws IOException {
    Path source = folder.resolve("70b");
    ShapedCheckpoint.LLAMA_70B.write(source, true);
    DryRun dry =
        Espalier.compress(source)
            .scheme("W4A16")
            .samples(8)
            .maxLength(512)
            .machines(cache())
            .dryRun();
    JsonNode json = dry.toJson();
    assertEquals(80 * 7, json.get("linears").size());
    assertEquals(8 * 512, json.get("calibration").get("tokens").intValue());
    // Codes of 4 bits, a 16-bit scale per 128 weights and a shape of 16 bytes for each linear; two
    // tables and 161 norms in 16 bits.
    long hidden = 8192;
    long inner = 28672;
    long linears = 80 * (2 * hidden * hidden + 2 * 1024 * hidden + 3 * inner * hidden);
    long data =
        linears / 2 + linears / 128 * 2 + 560 * 16 + 2 * (2 * 128256 * hidden + 161 * hidden);
    long weights =
        dry.sizes().files().entrySet().stream()
            .filter(file -> file.getKey().endsWith(".safetensors"))
            .mapToLong(Map.Entry::getValue)
            .sum();
    assertTrue(weights > data && weights < data + 1_000_000, weights + " for " + data);
    assertTrue(dry.time().total() > 0);
    assertTrue(dry.lines().size() > 560);
  }

  @Test
  void aMachineIsMeasuredOnceAndASpoiltCacheIsMeasuredAnew() throws IOException {
    MachineCache cache = new MachineCache(folder.resolve("cache").resolve("machine.json"));
    try (Context context = Context.cpu(1)) {
      MachineCache.Found first = cache.find(context);
      assertTrue(first.origin().startsWith("measured now"), first.origin());
      assertTrue(first.profile().denseFlops() > 1e6 && first.profile().gramFlops() > 1e6);
      MachineCache.Found second = cache.find(context);
      assertTrue(second.origin().startsWith("measured before"), second.origin());
      assertEquals(first.profile(), second.profile());
      Files.writeString(cache.file(), "{\"schema\": 1, \"machines\": {\"x\"");
      assertTrue(cache.find(context).origin().startsWith("measured now"));
      Path taken = Files.writeString(folder.resolve("a-file"), "");
      MachineCache nowhere = new MachineCache(taken.resolve("machine.json"));
      assertTrue(nowhere.find(context).origin().endsWith("cannot be written"));
      try (Context two = Context.cpu(2)) {
        assertNotEquals(
            "measured before", cache.find(two).origin().substring(0, 15), "another thread count");
      }
    }
  }
}
