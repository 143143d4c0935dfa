// SPDX-License-Identifier: Apache-2.0
package espalier.text;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.node.ObjectNode;
import espalier.report.EspalierException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class TokenizerTest {
  @TempDir Path folder;

  private Tokenizer tiny() throws IOException {
    return Tokenizer.open(TinyTokenizer.write(folder));
  }

  @Test
  void postProcessorAddsTheOnlySpecialTokens() throws IOException {
    Files.writeString(folder.resolve("tokenizer_config.json"), "{\"add_eos_token\": true}");
    try (Tokenizer tokenizer = tiny()) {
      assertArrayEquals(new int[] {1, TinyTokenizer.SPACE_AB}, tokenizer.encode("ab"));
      assertArrayEquals(new int[] {TinyTokenizer.SPACE_AB}, tokenizer.encode("ab", false));
      assertArrayEquals(new int[] {1}, tokenizer.encode(""));
      assertArrayEquals(new int[0], tokenizer.encode("", false));
      assertEquals(265, tokenizer.vocabularySize());
    }
  }

  @Test
  void withoutPostProcessorNothingIsAdded() throws IOException {
    ObjectNode json = TinyTokenizer.json();
    json.putNull("post_processor");
    TinyTokenizer.write(folder, json);
    Files.writeString(folder.resolve("tokenizer_config.json"), "{\"add_bos_token\": true}");
    Files.writeString(folder.resolve("config.json"), "{\"bos_token_id\": 1}");
    try (Tokenizer tokenizer = Tokenizer.open(folder)) {
      assertArrayEquals(new int[] {TinyTokenizer.SPACE_AB}, tokenizer.encode("ab"));
      assertArrayEquals(new int[0], tokenizer.encode(""));
    }
  }

  @Test
  void specialTokensSpeltInATextAreThoseTokens() throws IOException {
    try (Tokenizer tokenizer = tiny()) {
      int[] ids = tokenizer.encode("a</s>");
      assertArrayEquals(new int[] {1, TinyTokenizer.SPACE_A, 2}, ids);
      assertEquals("a", tokenizer.decode(ids, true));
      assertEquals("<s> a</s>", tokenizer.decode(ids, false));
    }
  }

  @Test
  void truncationAndPaddingInTheFileDoNotApply() throws IOException {
    ObjectNode json = TinyTokenizer.json();
    ObjectNode truncation = json.putObject("truncation").put("max_length", 2).put("stride", 0);
    truncation.put("strategy", "LongestFirst").put("direction", "Right");
    ObjectNode padding = json.putObject("padding").put("direction", "Right").put("pad_id", 0);
    padding.putObject("strategy").put("Fixed", 32);
    padding.put("pad_type_id", 0).put("pad_token", "<unk>").putNull("pad_to_multiple_of");
    try (Tokenizer tokenizer = Tokenizer.open(TinyTokenizer.write(folder, json))) {
      assertEquals(1 + 1 + 99, tokenizer.encode("a".repeat(100)).length);
      assertEquals(1, tokenizer.encode("").length);
    }
    json.put("truncation", "sixteen").put("padding", true);
    try (Tokenizer tokenizer = Tokenizer.open(TinyTokenizer.write(folder, json))) {
      assertEquals(2, tokenizer.encode("a").length);
    }
  }

  @Test
  void longTextsAreEncodedWhole() throws IOException {
    try (Tokenizer tokenizer = tiny()) {
      int words = 300_000;
      int[] ids = tokenizer.encode(" ab".repeat(words).substring(1));
      assertEquals(1 + words, ids.length);
    }
  }

  @Test
  void bytesStandForCharactersWithoutAToken() throws IOException {
    try (Tokenizer tokenizer = tiny()) {
      int[] apple = {0xF0, 0x9F, 0x8D, 0x8E};
      int[] tokens = Arrays.stream(apple).map(b -> b + TinyTokenizer.BYTES).toArray();
      int[] expected = IntStream.concat(IntStream.of(259), Arrays.stream(tokens)).toArray();
      assertArrayEquals(expected, tokenizer.encode("🍎", false));
      assertEquals("🍎", tokenizer.decode(expected, true));
      assertArrayEquals(new int[] {259, TinyTokenizer.BYTES}, tokenizer.encode("\0", false));
      assertEquals("\0", tokenizer.decode(new int[] {259, TinyTokenizer.BYTES}, true));
    }
  }

  @Test
  void loneSurrogatesCountAsTheReplacementCharacter() throws IOException {
    try (Tokenizer tokenizer = tiny()) {
      for (String lone : List.of("a\uD83C🍎b", "a\uDF4E🍎b", "a🍎\uD83C")) {
        String sound = lone.equals("a🍎\uD83C") ? "a🍎\uFFFD" : "a\uFFFD🍎b";
        assertArrayEquals(tokenizer.encode(sound), tokenizer.encode(lone), sound);
      }
    }
  }

  @Test
  void idsWithoutATokenHaveNoText() throws IOException {
    try (Tokenizer tokenizer = tiny()) {
      assertEquals("ab", tokenizer.decode(new int[] {-1, 264, 9999, Integer.MAX_VALUE}, true));
    }
  }

  @Test
  void streamedPiecesJoinToTheWholeText() throws IOException {
    try (Tokenizer tokenizer = tiny()) {
      for (String text : List.of("ab 🍎 a", "a b", "🍎🍎", "", "日本 語", "a\n\nb", " ab")) {
        TextStream stream = new TextStream(tokenizer, true);
        StringBuilder joined = new StringBuilder();
        for (int id : tokenizer.encode(text)) {
          String piece = stream.append(id);
          assertTrue(piece.indexOf('\uFFFD') < 0, "half a character in " + text);
          joined.append(piece);
        }
        assertEquals(text, joined.append(stream.finish()).toString());
      }
    }
  }

  @Test
  void streamAfterAPromptKeepsTheSpaceInFront() throws IOException {
    try (Tokenizer tokenizer = tiny()) {
      TextStream stream = new TextStream(tokenizer, true);
      stream.begin(tokenizer.encode("a b a b a b a b a b a b"));
      assertEquals(" ab", stream.append(TinyTokenizer.SPACE_AB));
      assertEquals("", stream.append(2));
      assertEquals("b", stream.append(TinyTokenizer.B));
      assertEquals("", stream.append(TinyTokenizer.BYTES + 0xF0));
      assertEquals("\uFFFD", stream.finish());
      assertEquals("", stream.finish());
    }
  }

  @Test
  void bytesThatBecomeNoCharacterAreWrittenWhenTextFollows() throws IOException {
    try (Tokenizer tokenizer = tiny()) {
      TextStream stream = new TextStream(tokenizer, true);
      assertEquals("a", stream.append(TinyTokenizer.A));
      assertEquals(
          "é",
          stream.append(TinyTokenizer.BYTES + 0xC3) + stream.append(TinyTokenizer.BYTES + 0xA9));
      assertEquals("", stream.append(TinyTokenizer.BYTES + 0xC3));
      String rest = stream.append(TinyTokenizer.B);
      assertTrue(rest.endsWith("b") && rest.contains("\uFFFD"), rest);
    }
  }

  @Test
  void closedTokenizerRefusesEveryCall() throws IOException {
    Tokenizer tokenizer = tiny();
    tokenizer.close();
    tokenizer.close();
    assertThrows(IllegalStateException.class, () -> tokenizer.encode("a"));
    assertThrows(IllegalStateException.class, () -> tokenizer.decode(new int[] {1}, false));
  }

  @Test
  void everyThreadGetsTheSameIds() throws IOException {
    try (Tokenizer tokenizer = tiny()) {
      int[] expected = tokenizer.encode("ab a b 🍎 ".repeat(50));
      IntStream.range(0, 64)
          .parallel()
          .forEach(i -> assertArrayEquals(expected, tokenizer.encode("ab a b 🍎 ".repeat(50))));
    }
  }

  @Test
  void unreadableFilesAreNamed() throws IOException {
    for (String json :
        List.of(
            "",
            "{",
            "[]",
            "{}",
            "{\"model\": {}}",
            "{\"model\": {\"type\": \"BPE\", \"vocab\": {}, \"merges\": []}}",
            "{\"model\": {\"type\": \"Magic\", \"vocab\": {\"a\": 0}}}",
            "{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0}, \"merges\": [[\"a\", \"b\"]]}}",
            "{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 99999999999}, \"merges\": []}}",
            "{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0}, \"merges\": []}} trailing")) {
      Files.writeString(folder.resolve("tokenizer.json"), json);
      EspalierException e =
          assertThrows(EspalierException.class, () -> Tokenizer.open(folder), json);
      assertEquals(EspalierException.Kind.INPUT, e.kind());
      assertTrue(e.getMessage().contains("tokenizer.json"), e.getMessage());
      assertTrue(!e.advice().isEmpty());
    }
  }

  @Test
  void missingFilesAreNamedWithWhatIsThere() throws IOException {
    assertMessage("tokenizer.json");
    Files.writeString(folder.resolve("tokenizer.model"), "x");
    assertMessage("tokenizer.model");
    Files.writeString(folder.resolve("vocab.json"), "{\"a\": 0}");
    Files.writeString(folder.resolve("merges.txt"), "#version: 0.2\n");
    assertMessage("vocab.json");
  }

  private void assertMessage(String part) {
    EspalierException e = assertThrows(EspalierException.class, () -> Tokenizer.open(folder));
    assertEquals(EspalierException.Kind.INPUT, e.kind());
    assertTrue(e.getMessage().contains(part), e.getMessage());
  }

  @Test
  void vocabularyAndMergesAreEnoughForGpt2() throws IOException {
    Files.writeString(
        folder.resolve("vocab.json"),
        "{\"a\":0,\"b\":1,\"Ġ\":2,\"ab\":3,\"Ġab\":4,\"<|endoftext|>\":5}");
    Files.writeString(folder.resolve("merges.txt"), "#version: 0.2\na b\nĠ ab\n");
    Files.writeString(folder.resolve("config.json"), "{\"model_type\": \"gpt2\"}");
    try (Tokenizer tokenizer = Tokenizer.open(folder)) {
      int[] ids = {3, 4, 5, 2, 0};
      assertArrayEquals(ids, tokenizer.encode("ab ab<|endoftext|> a"));
      assertEquals("ab ab<|endoftext|> a", tokenizer.decode(ids, false));
      assertEquals("ab ab a", tokenizer.decode(ids, true));
      assertEquals(6, tokenizer.vocabularySize());
    }
  }

  @Test
  void unigramIdsAreCountedByPlace() throws IOException {
    Files.writeString(
        folder.resolve("tokenizer.json"),
        "{\"version\":\"1.0\",\"added_tokens\":[],\"model\":{\"type\":\"Unigram\",\"unk_id\":0,"
            + "\"vocab\":[[\"<unk>\",0.0],[\"a\",-1.5],[\"b\",-2]]}}");
    try (Tokenizer tokenizer = Tokenizer.open(folder)) {
      assertEquals(3, tokenizer.vocabularySize());
      assertArrayEquals(new int[] {1, 2}, tokenizer.encode("ab"));
    }
  }
}
