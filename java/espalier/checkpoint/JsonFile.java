// SPDX-License-Identifier: Apache-2.0
package espalier.checkpoint;

import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.json.JsonReadFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectReader;
import com.fasterxml.jackson.databind.node.ObjectNode;
import espalier.internal.Json;
import espalier.report.EspalierException;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.Reader;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.CodingErrorAction;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;

/**
 * JSON files beside the weights: strict UTF-8 and strict JSON, except for two things other tools
 * write: a byte order mark, and the tokens NaN and Infinity of Python's {@code json.dump}.
 */
final class JsonFile {
  private static final char BYTE_ORDER_MARK = '\ufeff';
  private static final ObjectReader READER =
      Json.STRICT.reader().with(JsonReadFeature.ALLOW_NON_NUMERIC_NUMBERS);

  /** What to do with an open parser. */
  interface Body<T> {
    T read(JsonParser parser) throws IOException;
  }

  private JsonFile() {}

  /** Reads a whole file whose root is an object. */
  static ObjectNode object(Path file, long maxBytes) {
    JsonNode root = stream(file, maxBytes, READER::readTree);
    if (root instanceof ObjectNode object) {
      return object;
    }
    throw fault(file, "is not a JSON object");
  }

  /**
   * Opens a parser at the start of a file and closes it after {@code body}.
   *
   * @throws EspalierException (INPUT) when the file is unreadable, longer than {@code maxBytes},
   *     not UTF-8 or not JSON
   */
  static <T> T stream(Path file, long maxBytes, Body<T> body) {
    try (Reader reader = reader(file);
        JsonParser parser = READER.createParser(reader)) {
      if (Files.size(file) > maxBytes) {
        throw fault(file, "is longer than " + maxBytes + " bytes");
      }
      T value = body.read(parser);
      if (parser.nextToken() != null) {
        throw fault(file, "goes on after its JSON value");
      }
      return value;
    } catch (CharacterCodingException e) {
      throw fault(file, "is not valid UTF-8");
    } catch (JsonProcessingException e) {
      throw fault(
          file,
          "is not valid JSON at line "
              + e.getLocation().getLineNr()
              + ", column "
              + e.getLocation().getColumnNr()
              + ": "
              + e.getOriginalMessage());
    } catch (IOException e) {
      throw fault(file, "cannot be read: " + e.getMessage());
    }
  }

  private static Reader reader(Path file) throws IOException {
    BufferedReader reader =
        new BufferedReader(
            new InputStreamReader(
                Files.newInputStream(file),
                StandardCharsets.UTF_8
                    .newDecoder()
                    .onMalformedInput(CodingErrorAction.REPORT)
                    .onUnmappableCharacter(CodingErrorAction.REPORT)));
    try {
      reader.mark(1);
      if (reader.read() != BYTE_ORDER_MARK) {
        reader.reset();
      }
      return reader;
    } catch (Throwable e) {
      reader.close();
      throw e;
    }
  }

  static EspalierException fault(Path file, String what) {
    return EspalierException.input(file + ": " + what, "Fetch the file again, or mend it by hand.");
  }
}
