// SPDX-License-Identifier: Apache-2.0
package espalier.recipe;

import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.JsonToken;
import espalier.internal.Json;
import espalier.recipe.Datum.Entry;
import espalier.recipe.Datum.Kind;
import espalier.recipe.Datum.Mapping;
import espalier.recipe.Datum.Scalar;
import espalier.recipe.Datum.Sequence;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** JSON text to {@link Datum}: strict JSON, no duplicate keys, nothing after the closing brace. */
final class JsonDocument {
  private JsonDocument() {}

  /** Returns the root map of {@code text}; throws a usage error with the line where it breaks. */
  static Mapping read(String text, String source) {
    try (JsonParser parser = Json.STRICT.getFactory().createParser(text)) {
      if (parser.nextToken() == null) {
        throw RecipeError.at(source, 1, RecipeError.FILE, "the recipe is empty");
      }
      Datum root = value(parser);
      if (parser.nextToken() != null) {
        int line = parser.currentTokenLocation().getLineNr();
        throw RecipeError.at(source, line, RecipeError.FILE, "one document per recipe");
      }
      return Document.root(root, source);
    } catch (JsonProcessingException e) {
      int line = e.getLocation() == null ? 1 : e.getLocation().getLineNr();
      throw RecipeError.at(
          source, line, RecipeError.SYNTAX, "not valid JSON: " + e.getOriginalMessage());
    } catch (IOException e) {
      throw new UncheckedIOException(e); // a string reader has no input to fail on
    }
  }

  private static Datum value(JsonParser parser) throws IOException {
    int line = parser.currentTokenLocation().getLineNr();
    switch (parser.currentToken()) {
      case START_OBJECT:
        Map<String, Entry> entries = new LinkedHashMap<>();
        while (parser.nextToken() != JsonToken.END_OBJECT) {
          String key = parser.currentName();
          int keyLine = parser.currentTokenLocation().getLineNr();
          parser.nextToken();
          entries.put(key, new Entry(key, keyLine, true, value(parser)));
        }
        return new Mapping(Collections.unmodifiableMap(entries), line);
      case START_ARRAY:
        List<Datum> items = new ArrayList<>();
        while (parser.nextToken() != JsonToken.END_ARRAY) {
          items.add(value(parser));
        }
        return new Sequence(List.copyOf(items), line);
      case VALUE_STRING:
        return new Scalar(Kind.STRING, parser.getText(), line);
      case VALUE_NUMBER_INT:
        return new Scalar(Kind.INTEGER, parser.getText(), line);
      case VALUE_NUMBER_FLOAT:
        return new Scalar(Kind.FLOAT, parser.getText(), line);
      case VALUE_TRUE:
      case VALUE_FALSE:
        return new Scalar(Kind.BOOLEAN, parser.getText(), line);
      default:
        return new Scalar(Kind.NULL, "", line);
    }
  }
}
