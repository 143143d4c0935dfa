// SPDX-License-Identifier: Apache-2.0
package espalier.text;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import espalier.Shared;
import espalier.report.EspalierException;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class TextDataTest {
  private static final int AB = TinyTokenizer.SPACE_AB;
  private static final int A = TinyTokenizer.SPACE_A;

  @TempDir Path folder;
  private Tokenizer tokenizer;

  @BeforeEach
  void open() throws IOException {
    tokenizer = Tokenizer.open(TinyTokenizer.write(folder));
  }

  @AfterEach
  void close() {
    tokenizer.close();
  }

  private TextData data(String name, String content) throws IOException {
    return data(name, content.getBytes(StandardCharsets.UTF_8));
  }

  private TextData data(String name, byte[] content) throws IOException {
    Path file = folder.resolve(name);
    Files.write(file, content);
    return TextData.open(file, tokenizer, () -> null);
  }

  private static void assertDocument(Document document, int line, int... ids) {
    assertEquals(line, document.line());
    assertArrayEquals(ids, document.ids());
  }

  @Test
  void rowsAreReadWithMarkCarriageReturnsAndBlankLines() throws IOException {
    String rows =
        "\uFEFF{\"id\": 0, \"text\": \"ab\", \"meta\": {\"text\": \"b\"}}\r\n"
            + "\r\n   \r\n{\"text\": \"\"}\r\n{\"text\": \" \"}\r\n{\"text\": \"a\\r\\na\"}";
    List<Document> documents = data("rows.jsonl", rows).documents().documents();
    assertEquals(4, documents.size());
    assertDocument(documents.get(0), 1, 1, AB);
    assertDocument(documents.get(1), 4, 1);
    assertDocument(documents.get(2), 5, 1, 259, 259);
    int byteOffset = TinyTokenizer.BYTES;
    assertDocument(
        documents.get(3), 6, 1, A, byteOffset + '\r', byteOffset + '\n', TinyTokenizer.A);
  }

  @Test
  void plainTextIsOneDocumentAsItStands() throws IOException {
    String text = "\uFEFFab\r\n{\"text\": 1}\n";
    Samples samples = data("plain.txt", text).documents();
    assertEquals(1, samples.available());
    assertArrayEquals(tokenizer.encode(text.substring(1)), samples.ids()[0]);
    assertArrayEquals(samples.ids()[0], data("plain.txt", text).joinedStream());
  }

  @Test
  void fileOfAnotherNameIsJudgedByItsFirstLine() throws IOException {
    assertArrayEquals(new int[] {1, AB}, data("rows", "\n{\"text\":\"ab\"}").documents().ids()[0]);
    assertArrayEquals(tokenizer.encode("a {"), data("words", "a {").documents().ids()[0]);
  }

  @Test
  void limitAndLengthCutAndAreReported() throws IOException {
    TextData data = data("rows.jsonl", "{\"text\":\"ab ab ab\"}\n{\"text\":\"a\"}\nnot read\n");
    Samples samples = data.documents(2, 3);
    assertArrayEquals(new int[] {1, AB, AB}, samples.ids()[0]);
    assertArrayEquals(new int[] {1, A}, samples.ids()[1]);
    assertEquals(3, samples.available());
    assertEquals(1, samples.shortened());
    assertEquals(5, samples.tokens());
    assertEquals("documents-cut", samples.events().get(0).kind());
    assertThrows(EspalierException.class, () -> data.documents(3, 3));
    assertThrows(EspalierException.class, () -> data.documents(0, 3));
    TextData single = data("rows.jsonl", "{\"text\":\"a\"}");
    assertEquals("few-documents", single.documents(8, 8).events().get(0).kind());
    assertTrue(single.documents().events().isEmpty());
  }

  @Test
  void streamOfRowsJoinsTextsWithAnEmptyLine() throws IOException {
    TextData data = data("rows.jsonl", "{\"text\":\"ab\"}\n\n{\"text\":\"\"}\n{\"text\":\"a\"}\n");
    assertArrayEquals(tokenizer.encode("ab\n\n\n\na"), data.joinedStream());
  }

  @Test
  void idsAreTakenAsTheyAre() throws IOException {
    String rows = "{\"input_ids\": [5, 6, 7]}\n{\"input_ids\": []}\n{\"text\": \"a\"}\n";
    TextData data = data("rows.jsonl", rows);
    assertArrayEquals(new int[] {5, 6, 7}, data.documents().ids()[0]);
    assertArrayEquals(new int[] {5, 6, 7, 1, A}, data.joinedStream());
  }

  @Test
  void chatTextHasTheSpecialTokensOfItsTemplateOnly() throws IOException {
    String row = "{\"messages\": [{\"role\": \"user\", \"content\": \"ab\"}], \"text\": null}\n";
    Path file = Files.writeString(folder.resolve("chat.jsonl"), row);
    String plain = "{% for m in messages %}{{ m.content }}{% endfor %}";
    Map<String, String> tokens = Map.of("bos_token", "<s>");
    Map<String, int[]> expected =
        Map.of("{{ bos_token }}" + plain, new int[] {1, AB}, plain, new int[] {AB});
    expected.forEach(
        (source, ids) -> {
          ChatTemplate template = ChatTemplate.of("test", source, tokens);
          TextData data = TextData.open(file, tokenizer, () -> template);
          assertArrayEquals(ids, data.documents().ids()[0], source);
          assertArrayEquals(ids, data.joinedStream(), source);
        });
  }

  @Test
  void messagesNeedATemplateAndItsRefusalsNameTheLine() throws IOException {
    String row = "\n{\"messages\": [{\"role\": \"user\", \"content\": \"ab\"}]}";
    assertRefused(data("chat.jsonl", row), "line 2", "no chat template");
    TextData without =
        TextData.open(folder.resolve("chat.jsonl"), tokenizer, () -> ChatTemplate.open(folder));
    assertRefused(without, "line 2", "no chat template");
    ChatTemplate template = ChatTemplate.of("test", "\n{{ raise_exception('not you') }}", Map.of());
    TextData data = TextData.open(folder.resolve("chat.jsonl"), tokenizer, () -> template);
    assertRefused(data, "chat.jsonl", "line 2", "not you");
  }

  private static void assertRefused(TextData data, String... parts) {
    EspalierException e = assertThrows(EspalierException.class, data::documents);
    assertEquals(EspalierException.Kind.INPUT, e.kind());
    for (String part : parts) {
      assertTrue(e.getMessage().contains(part), e.getMessage() + " should say " + part);
    }
    assertFalse(e.advice().isEmpty());
  }

  @Test
  void rowsOfAnotherShapeAreRefusedByKeyAndLine() throws IOException {
    String good = "{\"text\": \"a\"}\n";
    assertRefused(
        data("a.jsonl", good + "{\"content\": \"x\", \"lang\": \"en\"}"),
        "line 2",
        "text, messages or input_ids",
        "content, lang");
    assertRefused(data("a.jsonl", good + "{}"), "line 2", "no keys at all");
    assertRefused(data("a.jsonl", "{\"text\": null}"), "line 1", "text (null)");
    assertRefused(data("a.jsonl", "{\"text\": 3}"), "line 1", "text is not a string", "number");
    assertRefused(data("a.jsonl", "{\"text\": [\"a\"]}"), "text is not a string", "array");
    assertRefused(data("a.jsonl", good + "\n\"a\""), "line 3", "string");
    assertRefused(data("a.jsonl", good + "{\"text\": \"a\""), "line 2", "not JSON");
    assertRefused(data("a.jsonl", good + "{\"text\": \"a\"} {}"), "line 2", "not JSON");
    assertRefused(data("a.jsonl", "{\"text\": \"a\", \"text\": \"b\"}"), "line 1", "not JSON");
    assertRefused(data("a.json", "[{\"text\": \"a\"}]"), "line 1", "JSON array");
    assertRefused(data("a.json", "[\n{\"text\": \"a\"}\n]"), "line 1", "JSON array");
    assertRefused(data("a.jsonl", "{\"messages\": []}"), "messages");
    assertRefused(data("a.jsonl", "{\"messages\": [{\"content\": \"a\"}]}"), "role");
    assertRefused(data("a.jsonl", "{\"input_ids\": [1, -2]}"), "place 1", "-2");
    assertRefused(data("a.jsonl", "{\"input_ids\": [1.5]}"), "place 0");
    assertRefused(data("a.jsonl", "{\"input_ids\": 3}"), "input_ids");
  }

  @Test
  void filesWithoutTextAreRefused() throws IOException {
    for (String content : List.of("", "\uFEFF", "\n \r\n")) {
      assertRefused(data("a.jsonl", content), "no text");
    }
    assertRefused(data("a.txt", ""), "no text");
    assertRefused(data("a.txt", "\uFEFF"), "no text");
    assertThrows(EspalierException.class, () -> data("a.txt", "").joinedStream());
  }

  @Test
  void invalidUtf8IsRefusedWithItsLine() throws IOException {
    byte[] rows = "{\"text\":\"a\"}\n{\"text\":\"\u00e9\"}\n".getBytes(StandardCharsets.ISO_8859_1);
    assertRefused(data("a.jsonl", rows), "line 2", "UTF-8");
    assertRefused(data("a.txt", rows), "line 2", "UTF-8");
    assertRefused(data("a.txt", new byte[] {'a', '\n', '\n', (byte) 0xC3}), "line 3", "UTF-8");
    assertRefused(data("a.txt", new byte[] {(byte) 0xED, (byte) 0xA0, (byte) 0x80}), "UTF-8");
  }

  @Test
  void packedFilesAreRefusedByName() throws IOException {
    for (byte[] head : List.of(new byte[] {0x1F, (byte) 0x8B, 8, 0}, "PAR1".getBytes())) {
      EspalierException e = assertThrows(EspalierException.class, () -> data("a.jsonl", head));
      assertEquals(EspalierException.Kind.UNSUPPORTED, e.kind());
    }
    Path missing = folder.resolve("missing.jsonl");
    for (Path path : List.of(missing, folder)) {
      assertThrows(EspalierException.class, () -> TextData.open(path, tokenizer, () -> null));
    }
  }

  @Test
  void tokensWithoutARowAreRefusedWithTheirLine() throws IOException {
    TextData data = data("a.jsonl", "{\"text\": \"a\"}\n{\"text\": \"ab\"}\n");
    Samples samples = data.documents();
    samples.requireRows(265);
    data.requireRows(data.joinedStream(), 265);
    for (int turn = 0; turn < 2; turn++) {
      boolean stream = turn == 1;
      EspalierException e =
          assertThrows(
              EspalierException.class,
              () -> {
                if (stream) {
                  data.requireRows(new int[] {1, AB}, 264);
                } else {
                  samples.requireRows(264);
                }
              });
      assertTrue(e.getMessage().contains("line 2"), e.getMessage());
      assertTrue(e.getMessage().contains("token 264 ('ab')"), e.getMessage());
    }
  }

  @Test
  void streamHashIsThatOfLittleEndianBytes() {
    String empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    assertEquals(empty, TokenStream.sha256());
    // Bytes 01 00 00 00 00 01 00 00, hashed by sha256sum.
    String two = "242045e2f1bb37769b514f182fd91b3d215324cb57f187cced1e9c62921dbac3";
    assertEquals(
        TokenStream.sha256(new int[] {1, 256}), TokenStream.sha256(new int[] {1}, new int[] {256}));
    assertEquals(two, TokenStream.sha256(new int[] {1, 256}));
    int[] all = new int[10_000];
    assertEquals(
        TokenStream.sha256(all), TokenStream.sha256(new int[4_097], new int[5_903], new int[0]));
  }

  /** The number of predictions of the docs protocol is recorded with each of these cases. */
  @ParameterizedTest
  @ValueSource(
      strings = {
        "bom-crlf-blank-lines",
        "byte-fallback-and-prefix-space",
        "merges-as-strings",
        "no-bos",
        "padded-vocabulary",
        "tokenizer-truncates-and-pads",
        "unused-tokens-beyond-embedding"
      })
  void fieldCasesCountTheRecordedPredictions(String name) throws IOException {
    Path golden = Shared.path("golden", "field", name);
    JsonNode expected = Shared.json(golden.resolve("case.json")).get("expect");
    JsonNode config = Shared.json(golden.resolve("config.json"));
    int context = config.path("max_position_embeddings").asInt();
    try (Tokenizer its = Tokenizer.open(golden)) {
      Path file = golden.resolve("data.jsonl");
      Samples samples = TextData.open(file, its, () -> null).documents(Integer.MAX_VALUE, context);
      samples.requireRows(config.get("vocab_size").asLong());
      long predictions = 0;
      for (int[] ids : samples.ids()) {
        predictions += Math.max(0, ids.length - 1);
      }
      assertEquals(expected.get("predictions").asLong(), predictions);
    }
  }

  @Test
  void fieldCaseWithoutTextKeyIsRefused() throws IOException {
    Path golden = Shared.path("golden", "field", "no-text-key");
    try (Tokenizer its = Tokenizer.open(golden)) {
      assertRefused(
          TextData.open(golden.resolve("data.jsonl"), its, () -> null),
          "line 1",
          "text",
          "content, lang");
    }
  }

  @ParameterizedTest
  @CsvSource({
    "tinystories_calib.jsonl,600",
    "tinystories_eval.jsonl,200",
    "wikitext_calib.jsonl,1000"
  })
  void sharedFilesHoldTheStatedDocuments(String name, int count) throws IOException {
    Path file = Shared.path("data", name);
    try (Tokenizer its = Tokenizer.open(Shared.path("models", "stories260K"))) {
      TextData data = TextData.open(file, its, () -> null);
      assertEquals(count, data.documents(3, 16).available());
      assertEquals(1, data.joinedStream()[0]);
    }
  }

  /** The counts of tokens and predictions that were recorded with each model's perplexities. */
  @Tag("slow")
  @ParameterizedTest
  @ValueSource(strings = {"babyllama105", "stories260K", "stories3M", "tiny1m"})
  void modelsCountTheRecordedTokens(String model) throws IOException {
    JsonNode recorded = Shared.json(Shared.path("models", model, "expected.json"));
    try (Tokenizer its = Tokenizer.open(Shared.path("models", model))) {
      for (JsonNode entry : recorded.get("perplexity")) {
        Path file = Shared.path("data", entry.get("file").textValue());
        TextData data = TextData.open(file, its, () -> null);
        if (entry.get("protocol").textValue().equals("stream")) {
          assertEquals(entry.get("tokens_in_file").intValue(), data.joinedStream().length);
        } else {
          int context = entry.get("context").intValue();
          Samples samples = data.documents(entry.get("documents").intValue(), context);
          assertEquals(
              entry.get("predictions").asLong(), samples.tokens() - samples.documents().size());
        }
      }
    }
  }
}
