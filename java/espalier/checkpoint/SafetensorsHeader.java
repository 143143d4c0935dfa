// SPDX-License-Identifier: Apache-2.0
package espalier.checkpoint;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.JsonToken;
import com.fasterxml.jackson.core.StreamReadConstraints;
import com.fasterxml.jackson.databind.util.ByteBufferBackedInputStream;
import espalier.report.EspalierException;
import espalier.tensor.DType;
import espalier.tensor.Shape;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.CodingErrorAction;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * The JSON header of a safetensors file, parsed as a stream, every entry checked on its own and
 * then all of them against the data they must cover. Memory grows with the tensors really listed,
 * and is bounded by the limits below; nothing is allocated by a number the header claims.
 */
final class SafetensorsHeader {
  /** Limit of the reference reader. */
  static final int MAX_BYTES = 100_000_000;

  /** A file of a trillion-parameter mixture of experts has about 150,000. */
  static final int MAX_TENSORS = 1 << 18;

  private static final int MAX_RANK = 64;
  private static final int MAX_NAME_LENGTH = 10_000;
  private static final int MAX_METADATA_LENGTH = 1 << 24;

  /** Tensor entries nest three deep; the rest is for unknown fields, which are skipped. */
  private static final int MAX_DEPTH = 16;

  private static final String METADATA = "__metadata__";

  // Names are kept out of Jackson's symbol table: a hostile header would fill it.
  private static final JsonFactory FACTORY =
      JsonFactory.builder()
          .disable(JsonFactory.Feature.CANONICALIZE_FIELD_NAMES)
          .disable(JsonFactory.Feature.INTERN_FIELD_NAMES)
          .streamReadConstraints(
              StreamReadConstraints.builder()
                  .maxNestingDepth(MAX_DEPTH)
                  .maxNameLength(MAX_NAME_LENGTH)
                  .maxStringLength(MAX_METADATA_LENGTH)
                  .build())
          .build();

  private final Path file;
  private final long dataOffset;
  private final Map<String, TensorEntry> entries = new LinkedHashMap<>();
  private Map<String, String> metadata;

  private SafetensorsHeader(Path file, long dataOffset) {
    this.file = file;
    this.dataOffset = dataOffset;
  }

  /**
   * Parses and checks a header.
   *
   * @param json the header bytes, padding included
   * @param dataOffset where the data begins in the file
   * @param fileBytes the length of the file
   * @throws EspalierException (INPUT) naming file, tensor and fault
   */
  static SafetensorsHeader parse(Path file, ByteBuffer json, long dataOffset, long fileBytes) {
    SafetensorsHeader header = new SafetensorsHeader(file, dataOffset);
    InputStreamReader reader =
        new InputStreamReader(
            new ByteBufferBackedInputStream(json),
            StandardCharsets.UTF_8
                .newDecoder()
                .onMalformedInput(CodingErrorAction.REPORT)
                .onUnmappableCharacter(CodingErrorAction.REPORT));
    try (JsonParser parser = FACTORY.createParser(reader)) {
      header.read(parser);
    } catch (CharacterCodingException e) {
      throw header.fault("the header is not valid UTF-8");
    } catch (JsonProcessingException e) {
      throw header.fault(
          "the header is not valid JSON near character "
              + e.getLocation().getCharOffset()
              + ": "
              + e.getOriginalMessage());
    } catch (IOException e) {
      throw new AssertionError("reading memory does not fail", e);
    }
    header.checkCover(fileBytes);
    return header;
  }

  /** Returns the tensors in the order of their data. */
  List<TensorEntry> entries() {
    List<TensorEntry> sorted = new ArrayList<>(entries.values());
    sorted.sort(
        Comparator.comparingLong(TensorEntry::offsetBytes)
            .thenComparingLong(TensorEntry::sizeBytes));
    return sorted;
  }

  Map<String, String> metadata() {
    return metadata == null ? Map.of() : metadata;
  }

  private void read(JsonParser parser) throws IOException {
    if (parser.nextToken() != JsonToken.START_OBJECT) {
      throw fault("the header is not a JSON object");
    }
    while (parser.nextToken() != JsonToken.END_OBJECT) {
      String name = parser.currentName();
      parser.nextToken();
      if (name.equals(METADATA)) {
        readMetadata(parser);
      } else {
        readTensor(name, parser);
      }
    }
    if (parser.nextToken() != null) {
      throw fault("the header goes on after its JSON object");
    }
  }

  private void readMetadata(JsonParser parser) throws IOException {
    if (metadata != null) {
      throw fault("duplicate " + METADATA);
    }
    if (parser.currentToken() != JsonToken.START_OBJECT) {
      throw fault(METADATA + " is not an object of strings");
    }
    metadata = new LinkedHashMap<>();
    long length = 0;
    while (parser.nextToken() != JsonToken.END_OBJECT) {
      String key = parser.currentName();
      if (parser.nextToken() != JsonToken.VALUE_STRING) {
        throw fault(METADATA + " is not an object of strings: " + TensorSpec.quoted(key));
      }
      String value = parser.getText();
      length += key.length() + value.length();
      if (length > MAX_METADATA_LENGTH) {
        throw fault(METADATA + " is longer than " + MAX_METADATA_LENGTH + " characters");
      }
      if (metadata.put(key, value) != null) {
        throw fault("duplicate key " + TensorSpec.quoted(key) + " in " + METADATA);
      }
    }
  }

  private void readTensor(String name, JsonParser parser) throws IOException {
    if (hasLoneSurrogate(name)) {
      throw fault(name, "name is not valid Unicode (a lone surrogate)");
    }
    if (entries.size() == MAX_TENSORS) {
      throw fault("more than " + MAX_TENSORS + " tensors");
    }
    if (entries.containsKey(name)) {
      throw fault(name, "duplicate name: it is listed twice");
    }
    if (parser.currentToken() != JsonToken.START_OBJECT) {
      throw fault(name, "its entry is not an object with dtype, shape and data_offsets");
    }
    DType dtype = null;
    long[] shape = null;
    long[] offsets = null;
    while (parser.nextToken() != JsonToken.END_OBJECT) {
      String field = parser.currentName();
      parser.nextToken();
      switch (field) {
        case "dtype" -> {
          once(name, field, dtype);
          dtype = dtype(name, parser);
        }
        case "shape" -> {
          once(name, field, shape);
          shape = numbers(name, field, MAX_RANK, parser);
        }
        case "data_offsets" -> {
          once(name, field, offsets);
          offsets = numbers(name, field, 2, parser);
        }
        default -> parser.skipChildren();
      }
    }
    entries.put(name, entry(name, dtype, shape, offsets));
  }

  private void once(String name, String field, Object earlier) {
    if (earlier != null) {
      throw fault(name, "duplicate field " + field);
    }
  }

  private DType dtype(String name, JsonParser parser) throws IOException {
    if (parser.currentToken() != JsonToken.VALUE_STRING) {
      throw fault(name, "dtype is not a string");
    }
    String text = parser.getText();
    return DType.named(text)
        .orElseThrow(() -> fault(name, "unknown dtype " + TensorSpec.quoted(text)));
  }

  private long[] numbers(String name, String field, int limit, JsonParser parser)
      throws IOException {
    if (parser.currentToken() != JsonToken.START_ARRAY) {
      throw fault(name, field + " is not a list of whole numbers");
    }
    long[] values = new long[limit];
    int count = 0;
    while (parser.nextToken() != JsonToken.END_ARRAY) {
      if (parser.currentToken() != JsonToken.VALUE_NUMBER_INT) {
        throw fault(name, field + " holds something that is not a whole number");
      }
      if (parser.getText().charAt(0) == '-') {
        throw fault(name, field + " holds a negative number: " + parser.getText());
      }
      if (parser.getNumberType() == JsonParser.NumberType.BIG_INTEGER) {
        throw fault(name, field + " holds a number that overflows 63 bits");
      }
      if (count == limit) {
        throw fault(name, field + " has more than " + limit + " numbers");
      }
      values[count++] = parser.getLongValue();
    }
    return Arrays.copyOf(values, count);
  }

  private TensorEntry entry(String name, DType dtype, long[] dimensions, long[] offsets) {
    if (dtype == null || dimensions == null || offsets == null) {
      throw fault(
          name, "no " + (dtype == null ? "dtype" : dimensions == null ? "shape" : "data_offsets"));
    }
    if (offsets.length != 2) {
      throw fault(name, "data_offsets is not a pair");
    }
    if (offsets[1] < offsets[0]) {
      throw fault(name, "data_offsets end before they begin: " + Arrays.toString(offsets));
    }
    String text = dtype + Arrays.toString(dimensions);
    Shape shape;
    long bits;
    try {
      shape = Shape.of(dimensions);
      bits = Math.multiplyExact(shape.elements(), (long) dtype.bits());
    } catch (ArithmeticException e) {
      throw fault(name, "the size of " + text + " overflows 64 bits");
    }
    if (bits % 8 != 0) {
      throw fault(name, text + " is not a whole number of bytes");
    }
    long covered = offsets[1] - offsets[0];
    if (covered != bits / 8) {
      throw fault(
          name,
          String.format(
              "%s takes %d bytes, data_offsets cover %d (too %s)",
              text, bits / 8, covered, covered < bits / 8 ? "few" : "many"));
    }
    if (offsets[1] > Long.MAX_VALUE - dataOffset) {
      throw fault(name, "data_offsets overflow 63 bits");
    }
    return new TensorEntry(new TensorSpec(name, dtype, shape), dataOffset + offsets[0]);
  }

  /**
   * Checks that the tensors cover the data exactly: no hole, no overlap, nothing before or after.
   */
  private void checkCover(long fileBytes) {
    long end = dataOffset;
    String before = null;
    for (TensorEntry next : entries()) {
      long begin = next.offsetBytes();
      String name = TensorSpec.quoted(next.name());
      if (begin != end && before == null) {
        throw fault(next.name(), "the first tensor begins at " + (begin - end) + ", not at 0");
      }
      if (begin > end) {
        throw fault(
            "hole of " + (begin - end) + " bytes between tensors " + before + " and " + name);
      }
      if (begin < end) {
        throw fault(
            "tensors " + before + " and " + name + " overlap: two tensors claim the same bytes");
      }
      end = next.endBytes();
      before = name;
      if (end > fileBytes) {
        throw fault(
            next.name(),
            String.format(
                "the file ends before the tensor does: its data ends at byte %d of %d",
                end, fileBytes));
      }
    }
    if (end < fileBytes) {
      throw fault(
          (fileBytes - end)
              + " trailing bytes: data goes on after the last tensor"
              + after(before));
    }
  }

  private static String after(String name) {
    return name == null ? " (there is none)" : " " + name;
  }

  private static boolean hasLoneSurrogate(String text) {
    return text.codePoints()
        .anyMatch(c -> c >= Character.MIN_SURROGATE && c <= Character.MAX_SURROGATE);
  }

  private EspalierException fault(String name, String what) {
    return fault("tensor " + TensorSpec.quoted(name) + ": " + what);
  }

  private EspalierException fault(String what) {
    return Safetensors.fault(file, what);
  }
}
