// SPDX-License-Identifier: Apache-2.0
package espalier.checkpoint;

import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Collections;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.SortedSet;
import java.util.TreeSet;

/**
 * The index of a sharded checkpoint.
 *
 * <pre>
 * index = { "metadata": { "total_size": bytes, … }, "weight_map": { tensor name: file name … } }
 * </pre>
 *
 * File names are plain: an index that points outside its folder is refused. The total is a hint, as
 * tools disagree on what it counts.
 *
 * @param weightMap tensor name to file name
 * @param totalBytes the hint, or −1 when there is none
 */
record ShardIndex(Map<String, String> weightMap, long totalBytes) {
  private static final long MAX_BYTES = 256L << 20;
  private static final int MAX_TENSORS = 1 << 20;

  /** Reads an index file. */
  static ShardIndex read(Path file) {
    return JsonFile.stream(file, MAX_BYTES, parser -> read(file, parser));
  }

  /** Returns the files the index names, sorted. */
  SortedSet<String> files() {
    return new TreeSet<>(weightMap.values());
  }

  private static ShardIndex read(Path file, JsonParser parser) throws IOException {
    if (parser.nextToken() != JsonToken.START_OBJECT) {
      throw JsonFile.fault(file, "is not a JSON object");
    }
    Map<String, String> weightMap = null;
    long totalBytes = -1;
    while (parser.nextToken() != JsonToken.END_OBJECT) {
      String key = parser.currentName();
      parser.nextToken();
      switch (key) {
        case "weight_map" -> weightMap = weightMap(file, parser);
        case "metadata" -> totalBytes = totalBytes(parser);
        default -> parser.skipChildren();
      }
    }
    if (weightMap == null) {
      throw JsonFile.fault(file, "has no weight_map");
    }
    return new ShardIndex(Collections.unmodifiableMap(weightMap), totalBytes);
  }

  private static Map<String, String> weightMap(Path file, JsonParser parser) throws IOException {
    if (parser.currentToken() != JsonToken.START_OBJECT) {
      throw JsonFile.fault(file, "weight_map is not an object");
    }
    Map<String, String> map = new LinkedHashMap<>();
    Map<String, String> shared = new HashMap<>();
    while (parser.nextToken() != JsonToken.END_OBJECT) {
      String name = parser.currentName();
      if (parser.nextToken() != JsonToken.VALUE_STRING) {
        throw JsonFile.fault(
            file, "weight_map gives tensor " + TensorSpec.quoted(name) + " no file name");
      }
      if (map.size() == MAX_TENSORS) {
        throw JsonFile.fault(file, "weight_map lists more than " + MAX_TENSORS + " tensors");
      }
      String shard = shared.computeIfAbsent(parser.getText(), text -> text);
      if (!isPlain(shard)) {
        throw JsonFile.fault(
            file,
            String.format(
                "weight_map puts tensor %s in %s, which is not a plain file name",
                TensorSpec.quoted(name), TensorSpec.quoted(shard)));
      }
      if (!shard.endsWith(Checkpoint.EXTENSION)) {
        throw JsonFile.fault(
            file,
            String.format(
                "weight_map puts tensor %s in %s, which is not a safetensors file",
                TensorSpec.quoted(name), TensorSpec.quoted(shard)));
      }
      map.put(name, shard);
    }
    return map;
  }

  private static long totalBytes(JsonParser parser) throws IOException {
    long total = -1;
    if (parser.currentToken() == JsonToken.START_OBJECT) {
      while (parser.nextToken() != JsonToken.END_OBJECT) {
        boolean wanted = parser.currentName().equals("total_size");
        if (parser.nextToken() == JsonToken.VALUE_NUMBER_INT
            && wanted
            && parser.getNumberType() != JsonParser.NumberType.BIG_INTEGER) {
          total = parser.getLongValue();
        }
        parser.skipChildren();
      }
    } else {
      parser.skipChildren();
    }
    return total;
  }

  /** Returns whether a name stays in its folder on every system. */
  static boolean isPlain(String name) {
    return !name.isEmpty()
        && !name.equals(".")
        && !name.contains("..")
        && name.chars().noneMatch(c -> c == '/' || c == '\\' || c == ':' || c < ' ');
  }
}
