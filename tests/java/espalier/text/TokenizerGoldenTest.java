// SPDX-License-Identifier: Apache-2.0
package espalier.text;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import espalier.Shared;
import espalier.internal.Json;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Base64;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Ids that other tokenizers gave. */
class TokenizerGoldenTest {
  @TempDir Path folder;

  @ParameterizedTest
  @ValueSource(strings = {"babyllama105", "stories260K", "stories3M", "tiny1m"})
  void modelsEncodeAndDecodeAsRecorded(String model) throws IOException {
    JsonNode expected = Shared.json(Shared.path("models", model, "expected.json"));
    try (Tokenizer tokenizer = Tokenizer.open(Shared.path("models", model))) {
      assertEquals(expected.get("tokenizer_sha256").textValue(), tokenizer.sourceSha256());
      for (JsonNode vector : expected.get("tokenizer")) {
        String text = vector.get("text").textValue();
        int[] ids = Shared.ids(vector.get("ids"));
        assertArrayEquals(ids, tokenizer.encode(text), text);
        assertEquals(vector.get("decoded").textValue(), tokenizer.decode(ids, true));
        assertEquals(vector.get("decoded").textValue(), streamed(tokenizer, ids), text);
      }
    }
  }

  private static String streamed(Tokenizer tokenizer, int[] ids) {
    TextStream stream = new TextStream(tokenizer, true);
    StringBuilder text = new StringBuilder();
    for (int id : ids) {
      text.append(stream.append(id));
    }
    return text.append(stream.finish()).toString();
  }

  @Test
  void llama2MatchesItsVectors() throws IOException {
    try (Tokenizer tokenizer = Tokenizer.open(Shared.path("tokenizers", "llama2"))) {
      assertVectors("llama2", tokenizer);
    }
  }

  @Test
  void llama2CountsTheKnownTokensOfWikitext() throws IOException {
    String text = Files.readString(Shared.path("data", "wikitext2_test.txt"));
    try (Tokenizer tokenizer = Tokenizer.open(Shared.path("tokenizers", "llama2"))) {
      int[] ids = tokenizer.encode(text);
      assertEquals(341_469, ids.length);
      assertEquals(1, ids[0]);
    }
  }

  @Test
  void gpt2MatchesItsVectors() throws IOException {
    Path source = Shared.path("tokenizers", "gpt2");
    Files.copy(source.resolve("tokenizer.json"), folder.resolve("tokenizer.json"));
    try (Tokenizer tokenizer = Tokenizer.open(folder)) {
      assertVectors("gpt2", tokenizer);
      assertEquals(50257, tokenizer.vocabularySize());
    }
  }

  @Test
  void gpt2FromVocabularyAndMergesMatchesToo() throws IOException {
    Path source = Shared.path("tokenizers", "gpt2");
    Files.copy(source.resolve("vocab.json"), folder.resolve("vocab.json"));
    Files.copy(source.resolve("merges.txt"), folder.resolve("merges.txt"));
    Files.writeString(folder.resolve("config.json"), "{\"model_type\": \"gpt2\"}");
    try (Tokenizer tokenizer = Tokenizer.open(folder)) {
      assertVectors("gpt2", tokenizer);
      assertEquals(50257, tokenizer.vocabularySize());
    }
  }

  @Test
  void qwen2FromVocabularyAndMergesMatchesItsVectors() throws IOException {
    try (Tokenizer tokenizer = Tokenizer.open(Shared.path("tokenizers", "qwen2"))) {
      assertVectors("qwen2", tokenizer);
      assertEquals(151_646, tokenizer.vocabularySize());
      assertArrayEquals(
          new int[] {151_644, 151_645, 151_643},
          tokenizer.encode("<|im_start|><|im_end|><|endoftext|>"));
    }
  }

  @Test
  void llama3AssembledFromItsRanksMatchesItsVectors() throws IOException {
    List<String> lines = Files.readAllLines(Shared.path("tokenizers", "llama3", "tokenizer.model"));
    Files.writeString(folder.resolve("tokenizer.json"), llama3(lines).toString());
    try (Tokenizer tokenizer = Tokenizer.open(folder)) {
      assertVectors("llama3", tokenizer);
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"gpt-neox", "phi-2"})
  void publishedFilesOpenAndRoundTrip(String name) throws IOException {
    String text = "Once upon a time, naïve 🙂\n\n    indented\t日本語";
    try (Tokenizer tokenizer = Tokenizer.open(Shared.path("tokenizers", name))) {
      assertEquals(text, tokenizer.decode(tokenizer.encode(text), true));
      assertEquals(text, streamed(tokenizer, tokenizer.encode(text)));
    }
  }

  private static void assertVectors(String name, Tokenizer tokenizer) throws IOException {
    String[] texts =
        Files.readString(Shared.path("tokenizers", name, "vectors.inp"))
            .split("\n__ggml_vocab_test__\n", -1);
    List<String> lines = Files.readAllLines(Shared.path("tokenizers", name, "vectors.out"));
    assertEquals(47, texts.length);
    for (int i = 0; i < texts.length; i++) {
      String line = i < lines.size() ? lines.get(i).strip() : ""; // the last text is empty
      int[] ids =
          line.isEmpty()
              ? new int[0]
              : Arrays.stream(line.split(" +")).mapToInt(Integer::parseInt).toArray();
      assertArrayEquals(ids, tokenizer.encode(texts[i], false), "text " + i + ": " + texts[i]);
    }
  }

  /**
   * The published file of ranks as a tokenizer.json: each token's merge is the split it came from.
   */
  private static ObjectNode llama3(List<String> lines) {
    Map<String, Integer> ranks = new HashMap<>(); // a token's bytes as Latin-1 text
    for (String line : lines) {
      int space = line.indexOf(' ');
      byte[] bytes = Base64.getDecoder().decode(line.substring(0, space));
      ranks.put(
          new String(bytes, StandardCharsets.ISO_8859_1),
          Integer.parseInt(line.substring(space + 1)));
    }
    String[] byRank = new String[ranks.size()];
    ranks.forEach((token, rank) -> byRank[rank] = token);
    ObjectNode root = Json.STRICT.createObjectNode().put("version", "1.0");
    root.putArray("added_tokens");
    ObjectNode model = root.putObject("model").put("type", "BPE").put("ignore_merges", true);
    ObjectNode vocabulary = model.putObject("vocab");
    ArrayNode merges = model.putArray("merges");
    for (int rank = 0; rank < byRank.length; rank++) {
      vocabulary.put(shown(byRank[rank]), rank);
      if (byRank[rank].length() > 1) {
        int cut = lastCut(byRank[rank], rank, ranks);
        if (cut > 0) {
          merges.add(
              shown(byRank[rank].substring(0, cut)) + " " + shown(byRank[rank].substring(cut)));
        }
      }
    }
    ArrayNode steps =
        root.putObject("pre_tokenizer").put("type", "Sequence").putArray("pretokenizers");
    ObjectNode split = steps.addObject().put("type", "Split").put("invert", false);
    split.put("behavior", "Isolated");
    split
        .putObject("pattern")
        .put(
            "Regex",
            "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}"
                + "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+");
    steps
        .addObject()
        .put("type", "ByteLevel")
        .put("add_prefix_space", false)
        .put("trim_offsets", true)
        .put("use_regex", false);
    return root;
  }

  /**
   * Merges the bytes of {@code token} by lower ranks only; returns where the last two parts meet.
   */
  private static int lastCut(String token, int rank, Map<String, Integer> ranks) {
    java.util.ArrayList<String> parts = new java.util.ArrayList<>(Arrays.asList(token.split("")));
    while (parts.size() > 2) {
      int best = -1;
      int bestRank = rank;
      for (int i = 0; i + 1 < parts.size(); i++) {
        int pair = ranks.getOrDefault(parts.get(i) + parts.get(i + 1), Integer.MAX_VALUE);
        if (pair < bestRank) {
          best = i;
          bestRank = pair;
        }
      }
      if (best < 0) {
        return 0; // no merge makes it: ignore_merges finds it whole
      }
      parts.set(best, parts.get(best) + parts.remove(best + 1));
    }
    return parts.get(0).length();
  }

  /** GPT-2's way to write any byte as a printable character. */
  private static String shown(String latin1) {
    StringBuilder text = new StringBuilder();
    for (char c : latin1.toCharArray()) {
      boolean printable = (c > 32 && c < 127) || (c > 160 && c != 173);
      int hidden = c <= 32 ? c : c <= 160 ? c - 127 + 33 : 67; // place among those not printable
      text.append(printable ? c : (char) (256 + hidden));
    }
    return text.toString();
  }
}
