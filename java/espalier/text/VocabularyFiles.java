// SPDX-License-Identifier: Apache-2.0
package espalier.text;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import espalier.internal.Json;
import espalier.report.EspalierException;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.TreeMap;

/**
 * Byte-level BPE from {@code vocab.json} and {@code merges.txt}, for folders older than
 * tokenizer.json. How a text is cut before merging stands in neither file but in the tokenizer's
 * class, so only the two classes known here are assembled: GPT-2 and Qwen2.
 */
final class VocabularyFiles {
  /** Qwen2's cut, checked against its published test vectors. */
  private static final String QWEN2_PIECES =
      "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}"
          + "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";

  private VocabularyFiles() {}

  static boolean present(Path folder) {
    return Files.isRegularFile(folder.resolve("vocab.json"))
        && Files.isRegularFile(folder.resolve("merges.txt"));
  }

  static TokenizerFile assemble(Path folder) {
    Path vocabularyFile = folder.resolve("vocab.json");
    Path mergesFile = folder.resolve("merges.txt");
    JsonNode config = optional(folder.resolve("tokenizer_config.json"));
    String type = config.path("tokenizer_class").asText();
    if (type.isEmpty()) {
      type = optional(folder.resolve("config.json")).path("model_type").asText();
    }
    boolean qwen = type.equals("Qwen2Tokenizer") || type.equals("qwen2");
    if (!qwen && !type.equals("GPT2Tokenizer") && !type.equals("gpt2")) {
      String named = type.isEmpty() ? "no tokenizer_class" : "the tokenizer class " + type;
      throw EspalierException.input(
          folder
              + " has vocab.json and merges.txt but no tokenizer.json, and "
              + named
              + " does not say how texts are cut",
          "write tokenizer.json with save_pretrained of a fast tokenizer");
    }
    byte[] vocabularyBytes = TokenizerFile.bytes(vocabularyFile);
    byte[] mergeBytes = TokenizerFile.bytes(mergesFile);
    JsonNode vocabulary = object(vocabularyFile, vocabularyBytes);
    ObjectNode root = Json.STRICT.createObjectNode();
    root.put("version", "1.0");
    root.set("added_tokens", addedTokens(folder, config, vocabulary));
    if (qwen) {
      root.putObject("normalizer").put("type", "NFC");
    }
    root.set("pre_tokenizer", preTokenizer(qwen, config));
    byteLevel(root.putObject("decoder"), false, true);
    ObjectNode model = root.putObject("model");
    model.put("type", "BPE").put("byte_fallback", false).put("fuse_unk", false);
    model.set("vocab", vocabulary);
    model.set("merges", merges(new String(mergeBytes, StandardCharsets.UTF_8)));
    byte[] json = root.toString().getBytes(StandardCharsets.UTF_8);
    String sha256 = TokenizerFile.sha256(vocabularyBytes, mergeBytes);
    return TokenizerFile.of(json, sha256, vocabularyFile + " with merges.txt");
  }

  private static ObjectNode byteLevel(ObjectNode node, boolean prefixSpace, boolean cuts) {
    return node.put("type", "ByteLevel")
        .put("add_prefix_space", prefixSpace)
        .put("trim_offsets", true)
        .put("use_regex", cuts);
  }

  private static ObjectNode preTokenizer(boolean qwen, JsonNode config) {
    ObjectNode byteLevel = Json.STRICT.createObjectNode();
    boolean prefixSpace = config.path("add_prefix_space").asBoolean(false);
    if (!qwen) {
      return byteLevel(byteLevel, prefixSpace, true);
    }
    ObjectNode sequence = Json.STRICT.createObjectNode().put("type", "Sequence");
    ArrayNode steps = sequence.putArray("pretokenizers");
    ObjectNode split = steps.addObject().put("type", "Split");
    split.putObject("pattern").put("Regex", QWEN2_PIECES);
    split.put("behavior", "Isolated").put("invert", false);
    steps.add(byteLevel(byteLevel, prefixSpace, false));
    return sequence;
  }

  private static ArrayNode merges(String text) {
    ArrayNode merges = Json.STRICT.createArrayNode();
    for (String line : text.split("\r?\n")) {
      if (!line.isBlank() && !(merges.isEmpty() && line.startsWith("#version"))) {
        merges.add(line);
      }
    }
    return merges;
  }

  /** Tokens beside the merges, in the order of their ids. */
  private static ArrayNode addedTokens(Path folder, JsonNode config, JsonNode vocabulary) {
    Map<Long, ObjectNode> byId = new TreeMap<>();
    for (Map.Entry<String, JsonNode> entry :
        optional(folder.resolve("added_tokens.json")).properties()) {
      add(byId, entry.getValue().asLong(-1), entry.getKey(), null);
    }
    for (Map.Entry<String, JsonNode> entry : config.path("added_tokens_decoder").properties()) {
      String content = entry.getValue().path("content").asText();
      long id = entry.getKey().matches("[0-9]{1,9}") ? Long.parseLong(entry.getKey()) : -1;
      add(byId, id, content, entry.getValue());
    }
    for (String name : new String[] {"bos_token", "eos_token", "unk_token", "pad_token"}) {
      JsonNode value =
          config.path(name).isObject() ? config.path(name).path("content") : config.path(name);
      long id = vocabulary.path(value.asText()).asLong(-1);
      if (value.isTextual() && !byId.containsKey(id)) {
        add(byId, id, value.asText(), null);
      }
    }
    long end = vocabulary.path("<|endoftext|>").asLong(-1);
    if (!byId.containsKey(end)) {
      add(byId, end, "<|endoftext|>", null);
    }
    ArrayNode tokens = Json.STRICT.createArrayNode();
    byId.values().forEach(tokens::add);
    return tokens;
  }

  private static void add(Map<Long, ObjectNode> byId, long id, String content, JsonNode flags) {
    if (id < 0 || content.isEmpty()) {
      return;
    }
    ObjectNode token = Json.STRICT.createObjectNode().put("id", id).put("content", content);
    for (String flag : new String[] {"single_word", "lstrip", "rstrip", "normalized"}) {
      token.put(flag, flags != null && flags.path(flag).asBoolean(false));
    }
    byId.put(id, token.put("special", flags == null || flags.path("special").asBoolean(true)));
  }

  private static JsonNode optional(Path file) {
    return Files.isRegularFile(file)
        ? object(file, TokenizerFile.bytes(file))
        : Json.STRICT.createObjectNode();
  }

  private static JsonNode object(Path file, byte[] bytes) {
    String reason = "it does not hold an object";
    try {
      JsonNode node = Json.STRICT.readTree(bytes);
      if (node.isObject()) {
        return node;
      }
    } catch (JsonProcessingException e) {
      reason = e.getOriginalMessage();
    } catch (IOException e) {
      reason = e.getMessage();
    }
    throw EspalierException.input(file + " is not JSON: " + reason, "fetch the file again");
  }
}
