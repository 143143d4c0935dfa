// SPDX-License-Identifier: Apache-2.0
package espalier.recipe;

import espalier.recipe.Datum.Entry;
import espalier.recipe.Datum.Mapping;
import espalier.recipe.Datum.Scalar;
import espalier.recipe.Datum.Sequence;
import espalier.report.EspalierException;
import java.util.HashMap;
import java.util.IdentityHashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Where each modifier and each of its entries stands in the file, for errors that are found only
 * when the model is known. Immutable once the recipe is read.
 */
final class Places {
  /** The places of a recipe that came from no file: empty, and nothing is ever added to it. */
  static final Places NONE = new Places("recipe");

  /** A place: line (1-based) and dotted field. */
  record Place(int line, String field) {}

  private final String source;
  private final Map<String, Integer> lines = new HashMap<>();
  private final Map<String, String> texts = new LinkedHashMap<>();
  private final Map<Modifier, String> modifiers = new IdentityHashMap<>();

  Places(String source) {
    this.source = source;
  }

  /** Records what stands under a top-level key that is no modifier. */
  void add(String path, int line, Mapping options) {
    lines.put(path, line);
    walk(path, options);
  }

  /** Records the modifier with every field below it. */
  void add(Modifier modifier, String path, int line, Mapping options) {
    modifiers.put(modifier, path);
    add(path, line, options);
  }

  private void walk(String path, Datum datum) {
    if (datum instanceof Mapping map) {
      for (Entry entry : map.entries().values()) {
        String inner = Document.join(path, entry.key());
        lines.put(inner, entry.keyLine());
        walk(inner, entry.value());
      }
    } else if (datum instanceof Sequence list) {
      lines.put(path, list.line());
      for (int i = 0; i < list.items().size(); i++) {
        walk(path + "[" + i + "]", list.items().get(i));
      }
    } else {
      lines.put(path, datum.line());
      texts.put(path, ((Scalar) datum).text());
    }
  }

  /** Returns the place of a field of a modifier, or of the nearest one that encloses it. */
  Place of(Modifier modifier, String field) {
    String base = modifiers.getOrDefault(modifier, modifier.type());
    String path = field.isEmpty() ? base : base + "." + field;
    while (!lines.containsKey(path) && path.length() > base.length()) {
      int dot = Math.max(path.lastIndexOf('.'), path.lastIndexOf('['));
      path = path.substring(0, Math.max(dot, base.length()));
    }
    return new Place(lines.getOrDefault(path, 1), path);
  }

  /** Returns the place of a full path, or of the nearest one that encloses it. */
  Place at(String path) {
    String nearest = path;
    while (!lines.containsKey(nearest) && nearest.indexOf('.') > 0) {
      nearest = nearest.substring(0, Math.max(nearest.lastIndexOf('.'), nearest.lastIndexOf('[')));
    }
    return new Place(lines.getOrDefault(nearest, 1), path);
  }

  /** Returns the place of an entry with this text below any of the fields, or of the modifier. */
  Place ofText(Modifier modifier, String text, List<String> fields) {
    String base = modifiers.getOrDefault(modifier, modifier.type());
    for (String field : fields) {
      String prefix = base + "." + field;
      for (Map.Entry<String, String> entry : texts.entrySet()) {
        if (entry.getValue().equals(text) && below(entry.getKey(), prefix)) {
          return new Place(lines.get(entry.getKey()), entry.getKey());
        }
      }
    }
    return of(modifier, fields.get(fields.size() - 1));
  }

  private static boolean below(String path, String prefix) {
    return path.startsWith(prefix)
        && (path.length() == prefix.length() || ".[".indexOf(path.charAt(prefix.length())) >= 0);
  }

  /** Returns the error of a place. */
  EspalierException error(Place place, String why) {
    return RecipeError.at(source, place.line(), place.field(), why);
  }

  /** Returns {@code file:line} of a place. */
  String where(Place place) {
    return RecipeError.where(source, place.line());
  }
}
