// SPDX-License-Identifier: Apache-2.0
package espalier.checkpoint;

import java.io.ByteArrayOutputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;

/**
 * One safetensors file to be written: its first bytes, and the place of each tensor. For the same
 * tensors and metadata the file is byte-equal to the reference writer's (safetensors 0.8.0).
 *
 * <pre>
 * order    = element type, widest first (the enum order reversed), then name by its UTF-8 bytes;
 *            so every tensor is aligned to its element without gaps
 * header   = compact JSON; __metadata__ first if not empty, its keys sorted; then the tensors in that
 *            order, fields dtype, shape, data_offsets; padded with spaces to a multiple of 8
 * </pre>
 */
final class SafetensorsLayout {
  /** Orders strings by their UTF-8 bytes, which is by code point, as Rust and Python sort. */
  static final Comparator<String> BYTE_ORDER =
      (a, b) ->
          Arrays.compareUnsigned(
              a.getBytes(StandardCharsets.UTF_8), b.getBytes(StandardCharsets.UTF_8));

  private static final Comparator<TensorSpec> FILE_ORDER =
      Comparator.comparing(TensorSpec::dtype)
          .reversed()
          .thenComparing(TensorSpec::name, BYTE_ORDER);

  private static final int PADDING = 8;

  private final String fileName;
  private final byte[] head;
  private final List<TensorEntry> entries;

  private SafetensorsLayout(String fileName, byte[] head, List<TensorEntry> entries) {
    this.fileName = fileName;
    this.head = head;
    this.entries = entries;
  }

  static SafetensorsLayout of(
      String fileName, List<TensorSpec> specs, Map<String, String> metadata) {
    List<TensorSpec> sorted = specs.stream().sorted(FILE_ORDER).toList();
    ByteArrayOutputStream json = new ByteArrayOutputStream();
    StringBuilder text = new StringBuilder("{");
    String comma = "";
    if (!metadata.isEmpty()) {
      text.append("\"__metadata__\":{");
      for (Map.Entry<String, String> pair : sortedByKey(metadata).entrySet()) {
        appendString(text.append(comma), pair.getKey());
        appendString(text.append(':'), pair.getValue());
        comma = ",";
      }
      text.append('}');
      comma = ",";
    }
    long offset = 0;
    for (TensorSpec spec : sorted) {
      long end = Math.addExact(offset, checkedBytes(spec));
      appendString(text.append(comma), spec.name());
      text.append(":{\"dtype\":\"").append(spec.dtype()).append("\",\"shape\":[");
      String between = "";
      for (long dimension : spec.shape().toArray()) {
        text.append(between).append(dimension);
        between = ",";
      }
      text.append("],\"data_offsets\":[").append(offset).append(',').append(end).append("]}");
      json.writeBytes(text.toString().getBytes(StandardCharsets.UTF_8));
      text.setLength(0);
      comma = ",";
      offset = end;
    }
    text.append('}');
    json.writeBytes(text.toString().getBytes(StandardCharsets.UTF_8));
    while (json.size() % PADDING != 0) {
      json.write(' ');
    }
    if (json.size() > SafetensorsHeader.MAX_BYTES || specs.size() > SafetensorsHeader.MAX_TENSORS) {
      throw new IllegalArgumentException(
          String.format(
              "%s: a header of %d tensors and %d bytes is more than readers accept",
              fileName, specs.size(), json.size()));
    }
    ByteBuffer head = ByteBuffer.allocate(Long.BYTES + json.size()).order(ByteOrder.LITTLE_ENDIAN);
    head.putLong(json.size()).put(json.toByteArray());
    return new SafetensorsLayout(fileName, head.array(), place(sorted, head.capacity()));
  }

  private static List<TensorEntry> place(List<TensorSpec> sorted, long dataOffset) {
    List<TensorEntry> entries = new ArrayList<>();
    long at = dataOffset;
    for (TensorSpec spec : sorted) {
      TensorEntry entry = new TensorEntry(spec, at);
      entries.add(entry);
      at = entry.endBytes();
    }
    return List.copyOf(entries);
  }

  private static Map<String, String> sortedByKey(Map<String, String> metadata) {
    Map<String, String> sorted = new TreeMap<>(BYTE_ORDER);
    sorted.putAll(metadata);
    return sorted;
  }

  /** Appends a JSON string as Rust's serde_json spells it: only what must be escaped is. */
  private static void appendString(StringBuilder text, String value) {
    text.append('"');
    for (int i = 0; i < value.length(); i++) {
      char c = value.charAt(i);
      switch (c) {
        case '"', '\\' -> text.append('\\').append(c);
        case '\b' -> text.append("\\b");
        case '\t' -> text.append("\\t");
        case '\n' -> text.append("\\n");
        case '\f' -> text.append("\\f");
        case '\r' -> text.append("\\r");
        default -> {
          if (c < ' ') {
            text.append(String.format("\\u%04x", (int) c));
          } else {
            text.append(c);
          }
        }
      }
    }
    text.append('"');
  }

  /** Returns the bytes of a tensor, or says which one cannot be stored. */
  static long checkedBytes(TensorSpec spec) {
    try {
      return spec.sizeBytes();
    } catch (ArithmeticException e) {
      throw new IllegalArgumentException(spec + " cannot be stored: " + e.getMessage(), e);
    }
  }

  String fileName() {
    return fileName;
  }

  /** Returns the tensors in the order of their data. */
  List<TensorEntry> entries() {
    return entries;
  }

  /** Returns the file's first bytes: the length field and the padded header. */
  ByteBuffer head() {
    return ByteBuffer.wrap(head).asReadOnlyBuffer();
  }

  long fileBytes() {
    return entries.isEmpty() ? head.length : entries.get(entries.size() - 1).endBytes();
  }
}
