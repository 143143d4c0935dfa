// SPDX-License-Identifier: Apache-2.0
package espalier.text;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import espalier.internal.Json;
import espalier.report.EspalierException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/**
 * One row of a JSONL file: exactly one of the three is not null.
 *
 * @param text the value of {@code text}, as it stands
 * @param messages the conversation, for a chat template
 * @param ids the value of {@code input_ids}
 * @param line counted from 1
 */
record TextRow(String text, List<Map<String, Object>> messages, int[] ids, int line) {
  private static final String KEYS = "text, messages or input_ids";

  /**
   * Reads one line. Of several keys the first of text, messages, input_ids that is not null counts;
   * other keys are ignored.
   */
  static TextRow parse(Path file, int line, String json) {
    JsonNode row;
    try {
      row = Json.STRICT.readTree(json);
    } catch (JsonProcessingException e) {
      if (json.strip().startsWith("[")) {
        throw array(file, line);
      }
      throw EspalierException.input(
          file + ", line " + line + " is not JSON: " + e.getOriginalMessage(),
          "write one JSON object a line, or name the file .txt if it is plain text");
    }
    if (row.isArray()) {
      throw array(file, line);
    }
    if (!row.isObject()) {
      throw EspalierException.input(
          file + ", line " + line + " is a JSON " + type(row) + ", not an object with " + KEYS,
          "write one JSON object a line, such as {\"text\": \"…\"}");
    }
    JsonNode text = row.path("text");
    if (present(text)) {
      if (!text.isTextual()) {
        throw wrongType(file, line, "text", "a string", text);
      }
      return new TextRow(text.textValue(), null, null, line);
    }
    if (present(row.path("messages"))) {
      return new TextRow(null, messages(file, line, row.path("messages")), null, line);
    }
    if (present(row.path("input_ids"))) {
      return new TextRow(null, null, ids(file, line, row.path("input_ids")), line);
    }
    throw noKey(file, line, row);
  }

  private static boolean present(JsonNode node) {
    return !node.isMissingNode() && !node.isNull();
  }

  private static EspalierException array(Path file, int line) {
    return EspalierException.input(
        file
            + ", line "
            + line
            + " starts a JSON array; this reader wants JSONL, one object a line",
        "convert it with: jq -c '.[]' IN.json > OUT.jsonl");
  }

  private static EspalierException noKey(Path file, int line, JsonNode row) {
    List<String> found = new ArrayList<>();
    for (Map.Entry<String, JsonNode> entry : row.properties()) {
      found.add(entry.getKey() + (entry.getValue().isNull() ? " (null)" : ""));
    }
    String keys = found.isEmpty() ? "no keys at all" : "the keys " + String.join(", ", found);
    return EspalierException.input(
        file + ", line " + line + ": looked for " + KEYS + ", found " + keys,
        "rename the key that holds the text to text");
  }

  private static EspalierException wrongType(
      Path file, int line, String key, String wanted, JsonNode found) {
    return EspalierException.input(
        file + ", line " + line + ": " + key + " is not " + wanted + " but a JSON " + type(found),
        "write one text, one conversation or one list of ids a line");
  }

  private static String type(JsonNode node) {
    return node.getNodeType().name().toLowerCase(Locale.ROOT);
  }

  private static List<Map<String, Object>> messages(Path file, int line, JsonNode node) {
    if (!node.isArray() || node.isEmpty()) {
      throw wrongType(file, line, "messages", "a list of messages", node);
    }
    List<Map<String, Object>> messages = new ArrayList<>(node.size());
    for (JsonNode message : node) {
      if (!message.isObject() || !message.path("role").isTextual()) {
        throw wrongType(file, line, "a message", "an object with a role", message);
      }
      Map<String, Object> entries = new java.util.LinkedHashMap<>();
      message.properties().forEach(e -> entries.put(e.getKey(), JinjaJson.value(e.getValue())));
      messages.add(entries);
    }
    return messages;
  }

  private static int[] ids(Path file, int line, JsonNode node) {
    if (!node.isArray()) {
      throw wrongType(file, line, "input_ids", "a list of ids", node);
    }
    int[] ids = new int[node.size()];
    for (int i = 0; i < ids.length; i++) {
      JsonNode id = node.get(i);
      if (!id.isIntegralNumber() || !id.canConvertToInt() || id.intValue() < 0) {
        throw EspalierException.input(
            file + ", line " + line + ": input_ids holds " + id + " at place " + i,
            "token ids are whole numbers from 0");
      }
      ids[i] = id.intValue();
    }
    return ids;
  }
}
