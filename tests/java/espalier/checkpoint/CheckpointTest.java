// SPDX-License-Identifier: Apache-2.0
package espalier.checkpoint;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.node.ObjectNode;
import espalier.report.EspalierException;
import espalier.report.EspalierException.Kind;
import espalier.report.Event;
import espalier.tensor.Tensor;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class CheckpointTest {
  private static final String FIRST = "model-00001-of-00002.safetensors";
  private static final String SECOND = "model-00002-of-00002.safetensors";

  @TempDir Path root;
  private Path folder;

  @BeforeEach
  void makeFolder() throws IOException {
    folder = Files.createDirectory(root.resolve("model"));
  }

  private void file(String name, String content) throws IOException {
    Files.createDirectories(folder.resolve(name).getParent());
    Files.writeString(folder.resolve(name), content);
  }

  private void single(String tensor) throws IOException {
    Fixture.write(folder.resolve("model.safetensors"), "{" + Fixture.u8(tensor, 0, 4) + "}", 4);
  }

  private void shards() throws IOException {
    Fixture.write(
        folder.resolve(FIRST), "{" + Fixture.u8("b", 0, 4) + "," + Fixture.u8("a", 4, 6) + "}", 6);
    Fixture.write(folder.resolve(SECOND), "{" + Fixture.u8("c", 0, 3) + "}", 3);
  }

  private void index(String weightMap) throws IOException {
    file("model.safetensors.index.json", "{\"weight_map\":" + weightMap + "}");
  }

  private void soundIndex() throws IOException {
    index(String.format("{\"a\":\"%s\",\"b\":\"%s\",\"c\":\"%s\"}", FIRST, FIRST, SECOND));
  }

  private EspalierException refusal() {
    return assertThrows(EspalierException.class, () -> Checkpoint.open(folder).close());
  }

  private void refused(Kind kind, String words) {
    EspalierException e = refusal();
    assertEquals(kind, e.kind());
    assertTrue(e.getMessage().contains(words), e.getMessage());
  }

  private List<String> eventKinds() {
    try (Checkpoint checkpoint = Checkpoint.open(folder)) {
      return checkpoint.events().stream().map(Event::kind).toList();
    }
  }

  @Test
  void shardsAreOneCheckpoint() throws IOException {
    shards();
    soundIndex();
    Tensor kept;
    try (Checkpoint checkpoint = Checkpoint.open(folder)) {
      assertEquals(List.of("b", "a", "c"), checkpoint.names());
      kept = checkpoint.get("c");
      assertEquals(3, kept.sizeBytes());
      assertTrue(checkpoint.find("d").isEmpty());
      EspalierException e = assertThrows(EspalierException.class, () -> checkpoint.get("d"));
      assertTrue(e.getMessage().contains("no tensor 'd'"));
      assertTrue(e.getMessage().contains(folder.toString()));
      assertTrue(checkpoint.events().isEmpty());
    }
    assertThrows(IllegalStateException.class, kept::address);
  }

  @Test
  void oneFileIsACheckpointWithTheFilesBesideIt() throws IOException {
    single("a");
    file("tokenizer.json", "{}");
    try (Checkpoint checkpoint = Checkpoint.open(folder.resolve("model.safetensors"))) {
      assertEquals(folder, checkpoint.folder());
      assertEquals(List.of("a"), checkpoint.names());
      assertEquals(1, checkpoint.companions().size());
    }
  }

  @Test
  void singleFileComesBeforeAnIndexThatDoesNotListIt() throws IOException {
    shards();
    soundIndex();
    single("whole");
    assertEquals(List.of("index-ignored"), eventKinds());
    try (Checkpoint checkpoint = Checkpoint.open(folder)) {
      assertEquals(List.of("whole"), checkpoint.names());
    }
  }

  @Test
  void indexThatListsTheSingleFileCounts() throws IOException {
    single("a");
    index("{\"a\":\"model.safetensors\",\"ghost\":\"model.safetensors\"}");
    refused(Kind.INPUT, "tensor 'ghost'");
  }

  @Test
  void missingShardIsNamed() throws IOException {
    shards();
    soundIndex();
    Files.delete(folder.resolve(SECOND));
    refused(Kind.INPUT, SECOND + ", which is missing");
  }

  @Test
  void damagedShardIsNamed() throws IOException {
    shards();
    soundIndex();
    Files.write(folder.resolve(SECOND), new byte[3]);
    refused(Kind.INPUT, SECOND + ": file of 3 bytes");
  }

  @Test
  void tensorOutsideTheIndexIsRefusedAlsoInAnUnlistedShard() throws IOException {
    shards();
    index(String.format("{\"a\":\"%s\",\"b\":\"%s\"}", FIRST, FIRST));
    refused(Kind.INPUT, "tensor 'c' lies in shard " + SECOND);
  }

  @Test
  void weightsOfAnotherSetAreIgnoredWithAWarning() throws IOException {
    shards();
    soundIndex();
    Fixture.write(folder.resolve("model-00001-of-00009.safetensors"), "{}", 0);
    Fixture.write(folder.resolve("consolidated.safetensors"), "{}", 0);
    assertEquals(List.of("weights-ignored"), eventKinds());
  }

  @Test
  void tensorInTwoShardsIsRefused() throws IOException {
    shards();
    soundIndex();
    Fixture.write(
        folder.resolve(SECOND), "{" + Fixture.u8("c", 0, 3) + "," + Fixture.u8("a", 3, 4) + "}", 4);
    refused(Kind.INPUT, "tensor 'a' lies in two shards: " + FIRST + " and " + SECOND);
  }

  @Test
  void tensorInAnotherShardThanListedIsRefused() throws IOException {
    shards();
    index(String.format("{\"a\":\"%s\",\"b\":\"%s\",\"c\":\"%s\"}", SECOND, FIRST, SECOND));
    refused(Kind.INPUT, "tensor 'a' is listed in shard " + SECOND);
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '`',
      value = {
        "{\"a\":\"/etc/passwd\"} | plain file name",
        "{\"a\":\"../x.safetensors\"} | plain file name",
        "{\"a\":\"..\"} | plain file name",
        "{\"a\":\"\"} | plain file name",
        "{\"a\":\"d/x.safetensors\"} | plain file name",
        "{\"a\":\"d\\\\x.safetensors\"} | plain file name",
        "{\"a\":\"x\\u0000.safetensors\"} | plain file name",
        "{\"a\":\"pytorch_model.bin\"} | not a safetensors file",
        "{\"a\":3} | no file name",
        "{\"a\":{}} | no file name",
        "[] | weight_map is not an object",
        "{\"a\":\"x.safetensors\",\"a\":\"x.safetensors\"} | not valid JSON",
        "{\"a\":\"x.safet | not valid JSON",
      })
  void weightMapOfOddShapeIsRefused(String map, String words) throws IOException {
    index(map);
    refused(Kind.INPUT, words);
  }

  @Test
  void totalSizeIsOnlyAHint() throws IOException {
    shards();
    String map = String.format("{\"a\":\"%s\",\"b\":\"%s\",\"c\":\"%s\"}", FIRST, FIRST, SECOND);
    for (String total : List.of("9", "\"9\"", "9.0", "99999999999999999999")) {
      file(
          "model.safetensors.index.json",
          "{\"metadata\":{\"total_size\":" + total + "},\"weight_map\":" + map + "}");
      assertEquals(List.of(), eventKinds(), total);
    }
    file(
        "model.safetensors.index.json",
        "{\"metadata\":{\"total_size\":10},\"weight_map\":" + map + "}");
    assertEquals(List.of("total-size-differs"), eventKinds());
  }

  @Test
  void folderWithoutSafetensorsIsRefused() throws IOException {
    refused(Kind.INPUT, "the folder is empty");
    file("config.json", "{}");
    refused(
        Kind.INPUT, "no model.safetensors and no model.safetensors.index.json; it holds config");
    file("pytorch_model.bin", "");
    refused(Kind.UNSUPPORTED, "only pickled weights (pytorch_model.bin)");
    Path file = folder.resolve("pytorch_model.bin");
    assertEquals(
        Kind.UNSUPPORTED,
        assertThrows(EspalierException.class, () -> Checkpoint.open(file)).kind());
    Path none = folder.resolve("none");
    assertEquals(
        Kind.INPUT, assertThrows(EspalierException.class, () -> Checkpoint.open(none)).kind());
  }

  @Test
  void configIsStrictButForMarkAndNonFiniteNumbers() throws IOException {
    single("a");
    file("config.json", "\ufeff{\"limit\":[0.0,Infinity,-Infinity,NaN],\"eps\":1e-05}");
    file("twice.json", "{\"a\":1,\"a\":2}");
    file("after.json", "{} {}");
    file("list.json", "[]");
    file("empty.json", "");
    Files.write(
        folder.resolve("latin.json"), new byte[] {'{', '"', (byte) 0xe9, '"', ':', '1', '}'});
    file("deep.json", "[".repeat(100_000));
    file("digits.json", "{\"a\":" + "1".repeat(2_000_000) + "}");
    try (Checkpoint checkpoint = Checkpoint.open(folder)) {
      ObjectNode config = checkpoint.json("config.json").orElseThrow();
      assertEquals(Double.POSITIVE_INFINITY, config.get("limit").get(1).doubleValue());
      assertEquals(1e-5, config.get("eps").doubleValue());
      assertTrue(checkpoint.json("none.json").isEmpty());
      for (String name : List.of("twice", "after", "list", "empty", "latin", "deep", "digits")) {
        EspalierException e =
            assertThrows(EspalierException.class, () -> checkpoint.json(name + ".json"), name);
        assertEquals(Kind.INPUT, e.kind());
        assertTrue(e.getMessage().contains(name + ".json"), e.getMessage());
      }
      assertThrows(IllegalArgumentException.class, () -> checkpoint.json("../config.json"));
    }
  }

  @Test
  void companionsAreWhatCompressionDoesNotChange() throws IOException {
    single("a");
    List<String> carried =
        List.of(
            "LICENSE.txt",
            "NOTICE",
            "chat_template.jinja",
            "generation_config.json",
            "merges.txt",
            "tokenizer.json",
            "tokenizer.model",
            "additional_chat_templates/tool_use.jinja");
    for (String name : carried) {
      file(name, name);
    }
    for (String name : List.of("README.md", "config.json", "x.bin", "modeling_x.py", ".hidden")) {
      file(name, name);
    }
    try (Checkpoint checkpoint = Checkpoint.open(folder)) {
      assertEquals(
          carried,
          checkpoint.companions().stream().map(p -> folder.relativize(p).toString()).toList());
      assertEquals(1, checkpoint.events().size());
      assertTrue(checkpoint.events().get(0).message().endsWith(": modeling_x.py"));
    }
  }

  @Test
  void linksIntoTheCacheAreHomeAndOthersAreReported() throws IOException {
    Path blobs = Files.createDirectories(root.resolve("blobs"));
    folder = Files.createDirectories(root.resolve("snapshots/1"));
    Fixture.write(blobs.resolve("w"), "{" + Fixture.u8("a", 0, 4) + "}", 4);
    Files.writeString(blobs.resolve("t"), "{}");
    Files.createSymbolicLink(folder.resolve("model.safetensors"), Path.of("../../blobs/w"));
    Files.createSymbolicLink(folder.resolve("tokenizer.json"), Path.of("../../blobs/t"));
    assertEquals(List.of(), eventKinds());
    Files.writeString(root.resolve("elsewhere"), "");
    Files.createSymbolicLink(folder.resolve("LICENSE"), root.resolve("elsewhere"));
    assertEquals(List.of("link-followed"), eventKinds());
  }

  @Test
  void hashOfHeadersSeesNamesAndShapesNotData() throws IOException {
    single("a");
    String first;
    try (Checkpoint checkpoint = Checkpoint.open(folder)) {
      first = checkpoint.headersSha256();
      assertTrue(first.matches("[0-9a-f]{64}"));
    }
    byte[] bytes = Files.readAllBytes(folder.resolve("model.safetensors"));
    bytes[bytes.length - 1] ^= 1;
    Files.write(folder.resolve("model.safetensors"), bytes);
    try (Checkpoint checkpoint = Checkpoint.open(folder)) {
      assertEquals(first, checkpoint.headersSha256());
      assertEquals(64, checkpoint.sha256("model.safetensors").length());
      assertThrows(EspalierException.class, () -> checkpoint.sha256("none"));
    }
    single("b");
    try (Checkpoint checkpoint = Checkpoint.open(folder)) {
      assertNotEquals(first, checkpoint.headersSha256());
      assertFalse(checkpoint.spec("b").isEmpty());
    }
  }
}
