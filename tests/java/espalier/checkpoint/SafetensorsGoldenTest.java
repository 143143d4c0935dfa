// SPDX-License-Identifier: Apache-2.0
package espalier.checkpoint;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import espalier.Shared;
import espalier.internal.Json;
import espalier.report.EspalierException;
import espalier.tensor.Shape;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Files that safetensors 0.8.0 wrote, variations it accepts, and files with one fault each. */
class SafetensorsGoldenTest {
  /** Words of our message for each hostile file; a new file without words fails the test. */
  private static final Map<String, String> WORDS =
      Map.ofEntries(
          Map.entry("bytes_too_few", "(too few)"),
          Map.entry("bytes_too_many", "(too many)"),
          Map.entry("data_missing", "file ends before the tensor"),
          Map.entry("dtype_lower_case", "unknown dtype 'f32'"),
          Map.entry("dtype_unknown", "unknown dtype 'F31'"),
          Map.entry("duplicate_key", "duplicate name"),
          Map.entry("empty_file", "file of 0 bytes"),
          Map.entry("first_not_zero", "first tensor begins at 4"),
          Map.entry("gap", "hole of 4 bytes between tensors"),
          Map.entry("header_length_huge", "header length 9223372036854775807 exceeds"),
          Map.entry("header_length_minus_one", "header length 18446744073709551615 exceeds"),
          Map.entry("header_length_zero", "header length 0"),
          Map.entry("json_array", "not a JSON object"),
          Map.entry("metadata_not_strings", "__metadata__ is not an object of strings"),
          Map.entry("negative_dimension", "negative number: -8"),
          Map.entry("negative_offset", "negative number: -4"),
          Map.entry("not_json", "not valid JSON"),
          Map.entry("not_utf8", "not valid UTF-8"),
          Map.entry("offsets_reversed", "end before they begin"),
          Map.entry("overlap", "two tensors claim the same bytes"),
          Map.entry("product_overflows", "overflows 64 bits"),
          Map.entry("product_times_width_overflows", "overflows 64 bits"),
          Map.entry("seven_bytes", "shorter than the 8-byte header length field"),
          Map.entry("shape_missing", "no shape"),
          Map.entry("starts_with_space", "first byte is 0x20"),
          Map.entry("trailing_bytes", "data goes on after the last tensor"),
          Map.entry("truncated_header", "header goes beyond"),
          Map.entry("two_negative_dimensions", "negative number: -2"));

  private static final Map<String, String> INDEX_WORDS =
      Map.of(
          "absolute_path", "'/etc/passwd', which is not a plain file name",
          "missing_shard", "model-00003-of-00003.safetensors, which is missing",
          "no_weight_map", "has no weight_map",
          "parent_path", "'../outside.safetensors', which is not a plain file name",
          "tensor_in_two_shards", "tensor 'a' lies in two shards",
          "tensor_not_in_shard", "tensor 'ghost' is listed in shard",
          "truncated_json", "not valid JSON",
          "unlisted_tensor", "the index does not list it");

  @TempDir Path folder;

  private static JsonNode manifest(Path folder) throws IOException {
    return Json.STRICT.readTree(Files.readAllBytes(folder.resolve("manifest.json")));
  }

  @Test
  void everyGoodFileIsRead() throws IOException {
    Path good = Shared.path("golden/formats/safetensors/good");
    JsonNode files = manifest(good).get("files");
    for (Map.Entry<String, JsonNode> file : files.properties()) {
      try (Safetensors tensors = Safetensors.open(good.resolve(file.getKey()))) {
        JsonNode wanted = file.getValue().get("tensors");
        assertEquals(wanted.size(), tensors.entries().size(), file.getKey());
        for (TensorEntry entry : tensors.entries()) {
          JsonNode spec = wanted.get(entry.name());
          assertEquals(spec.get(0).textValue(), entry.dtype().name());
          long[] shape = new long[spec.get(1).size()];
          for (int i = 0; i < shape.length; i++) {
            shape[i] = spec.get(1).get(i).longValue();
          }
          assertEquals(Shape.of(shape), entry.shape());
          assertEquals(
              entry.sizeBytes(), tensors.find(entry.name()).orElseThrow().toBytes().length);
        }
        Map<String, String> metadata = new HashMap<>();
        file.getValue()
            .get("metadata")
            .properties()
            .forEach(pair -> metadata.put(pair.getKey(), pair.getValue().textValue()));
        assertEquals(metadata, tensors.metadata(), file.getKey());
      }
    }
    assertFalse(files.isEmpty());
  }

  @Test
  void everyHostileFileIsRefusedByName() throws IOException {
    Path hostile = Shared.path("golden/formats/safetensors/hostile");
    List<String> names = new ArrayList<>();
    manifest(hostile).get("safetensors_files").fieldNames().forEachRemaining(names::add);
    for (String name : names) {
      Path file = hostile.resolve(name);
      EspalierException e =
          assertThrows(EspalierException.class, () -> Safetensors.open(file).close(), name);
      String words = WORDS.get(name.replace(".safetensors", ""));
      assertTrue(words != null && e.getMessage().contains(words), name + ": " + e.getMessage());
      assertTrue(e.getMessage().contains(name));
      assertEquals(EspalierException.Kind.INPUT, e.kind());
    }
    assertEquals(WORDS.size(), names.size());
  }

  @Test
  void everyHostileIndexIsRefusedByName() throws IOException {
    Path hostile = Shared.path("golden/formats/safetensors/hostile");
    List<String> names = new ArrayList<>();
    manifest(hostile).get("index_folders").fieldNames().forEachRemaining(names::add);
    for (String name : names) {
      Path checkpoint = hostile.resolve("index").resolve(name);
      EspalierException e =
          assertThrows(EspalierException.class, () -> Checkpoint.open(checkpoint).close(), name);
      String words = INDEX_WORDS.get(name);
      assertTrue(words != null && e.getMessage().contains(words), name + ": " + e.getMessage());
      assertEquals(EspalierException.Kind.INPUT, e.kind());
    }
    assertEquals(INDEX_WORDS.size(), names.size());
  }

  @Test
  void rewrittenFileIsByteEqual() throws IOException {
    Path good = Shared.path("golden/formats/safetensors/good");
    Path file = good.resolve("all_dtypes.safetensors");
    Path out = folder.resolve("out");
    try (Safetensors tensors = Safetensors.open(file);
        CheckpointWriter writer = CheckpointWriter.create(out, Long.MAX_VALUE)) {
      tensors.metadata().forEach(writer::metadata);
      // Neither the order of declaring nor of writing may show.
      List<TensorEntry> entries = new ArrayList<>(tensors.entries());
      Collections.shuffle(entries, new Random(1));
      entries.forEach(entry -> writer.declare(entry.spec()));
      writer.begin();
      Collections.reverse(entries);
      entries.forEach(e -> writer.write(e.name(), tensors.find(e.name()).orElseThrow()));
      writer.finish();
    }
    assertArrayEquals(
        Files.readAllBytes(file), Files.readAllBytes(out.resolve("model.safetensors")));
    assertEquals(
        List.of("model.safetensors"),
        Files.list(out).map(path -> path.getFileName().toString()).toList());
  }

  @Test
  void rewrittenShardsAndIndexAreByteEqual() throws IOException {
    Path sharded = Shared.path("golden/formats/safetensors/good").resolve("sharded");
    Path out = folder.resolve("out");
    try (Checkpoint source = Checkpoint.open(sharded);
        CheckpointWriter writer = CheckpointWriter.create(out, 16)) {
      assertEquals(List.of("a.weight", "b.weight", "c"), source.names().stream().sorted().toList());
      assertTrue(source.events().isEmpty(), source.events().toString());
      source.names().stream()
          .sorted()
          .forEach(name -> writer.declare(source.spec(name).orElseThrow()));
      ShardPlan plan = writer.begin();
      source.names().forEach(name -> writer.write(name, source.get(name)));
      writer.finish();
      assertEquals(3, plan.fileNames().size());
      for (String name : plan.fileNames()) {
        assertArrayEquals(
            Files.readAllBytes(sharded.resolve(name)), Files.readAllBytes(out.resolve(name)), name);
      }
    }
  }

  @Test
  void wholeCheckpointsOfOtherToolsOpen() throws IOException {
    try (Checkpoint tiny = Checkpoint.open(Shared.path("golden/formats/tiny-llama"))) {
      assertEquals("llama", tiny.json("config.json").orElseThrow().get("model_type").textValue());
      assertEquals(
          List.of("generation_config.json"),
          tiny.companions().stream().map(path -> path.getFileName().toString()).toList());
    }
  }
}
