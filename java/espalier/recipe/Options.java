// SPDX-License-Identifier: Apache-2.0
package espalier.recipe;

import espalier.recipe.Datum.Entry;
import espalier.recipe.Datum.Kind;
import espalier.recipe.Datum.Mapping;
import espalier.recipe.Datum.Scalar;
import espalier.recipe.Datum.Sequence;
import espalier.report.EspalierException;
import espalier.report.Event;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;

/**
 * Typed reading of one map of options. Every accessor marks its field as known, so that {@link
 * #finish} can refuse the rest. Values are coerced as pydantic's lax mode does: quoted numbers and
 * whole floats pass as integers, yes/no words as booleans, numbers never as text. Every error is a
 * usage error that names file, line, dotted path and reason. Confined to the thread that reads.
 */
public final class Options {
  private final String source;
  private final String type;
  private final String group;
  private final String path;
  private final int line;
  private final Mapping map;
  private final List<Event> notes;
  private final Set<String> known = new LinkedHashSet<>();
  private final List<String> missing = new ArrayList<>();

  Options(
      String source,
      String type,
      String group,
      String path,
      int line,
      Mapping map,
      List<Event> notes) {
    this.source = source;
    this.type = type;
    this.group = group;
    this.path = path;
    this.line = line;
    this.map = map;
    this.notes = notes;
  }

  /** Returns the modifier type these options belong to. */
  public String type() {
    return type;
  }

  /** Returns the key of the enclosing group without {@code _modifiers}. */
  public String group() {
    return group;
  }

  /** Returns the dotted path of this map in the file. */
  public String path() {
    return path;
  }

  /** Returns the keys as written, in order. */
  public List<String> keys() {
    return List.copyOf(map.entries().keySet());
  }

  /** Returns whether the field is written, even as null. */
  public boolean given(String field) {
    known.add(field);
    return map.entries().containsKey(field);
  }

  /** Returns whether the field is written and not null. */
  public boolean has(String field) {
    return datum(field) != null;
  }

  /** Returns an integer; an absent field gives the default, null is an error. */
  public int integer(String field, int standard) {
    return given(field) ? required(integerOrNull(field, null), field, "an integer") : standard;
  }

  /** Returns an integer or null; an absent field gives the default. */
  public Integer integerOrNull(String field, Integer standard) {
    if (!given(field)) {
      return standard;
    }
    Datum datum = datum(field);
    return datum == null ? null : Coercion.integer(scalar(datum, field, "an integer"), this, field);
  }

  /** Returns a finite number; an absent field gives the default, null is an error. */
  public double number(String field, double standard) {
    return given(field) ? required(numberOrNull(field, null), field, "a number") : standard;
  }

  /** Returns a finite number or null; an absent field gives the default. */
  public Double numberOrNull(String field, Double standard) {
    if (!given(field)) {
      return standard;
    }
    Datum datum = datum(field);
    return datum == null ? null : Coercion.number(scalar(datum, field, "a number"), this, field);
  }

  /** Returns a boolean; an absent field gives the default, null is an error. */
  public boolean flag(String field, boolean standard) {
    if (!given(field)) {
      return standard;
    }
    Scalar scalar = scalar(required(datum(field), field, "a boolean"), field, "a boolean");
    return Coercion.flag(scalar, this, field);
  }

  /** Returns text or null; an absent field gives the default. Numbers are refused. */
  public String text(String field, String standard) {
    if (!given(field)) {
      return standard;
    }
    Datum datum = datum(field);
    return datum == null ? null : text(datum, field);
  }

  /**
   * Returns one of {@code words} or null; an absent field gives the default. With {@code anyCase}
   * the case of letters does not count and the listed spelling is returned.
   */
  public String word(String field, String standard, boolean anyCase, String... words) {
    String text = text(field, standard);
    if (!given(field) || text == null) {
      return text;
    }
    for (String word : words) {
      if (anyCase ? word.equalsIgnoreCase(text) : word.equals(text)) {
        return word;
      }
    }
    String nearest = RecipeError.didYouMean(Nearest.of(text, List.of(words)));
    throw error(field, text + " is none of " + String.join(", ", words) + nearest);
  }

  /** Returns a list of texts, one text standing for a list of one; absent or null gives default. */
  public List<String> texts(String field, List<String> standard) {
    Datum datum = datum(field);
    if (datum instanceof Scalar) {
      return List.of(text(datum, field));
    }
    return list(field, standard);
  }

  /** Returns a list of texts; one text alone is an error; absent or null gives the default. */
  public List<String> list(String field, List<String> standard) {
    List<String> texts = new ArrayList<>();
    if (!has(field)) {
      return standard;
    }
    for (Datum item : items(field)) {
      texts.add(text(item, field + "[" + texts.size() + "]"));
    }
    return List.copyOf(texts);
  }

  /** Returns a list of finite numbers; absent or null gives the default. */
  public List<Double> numbers(String field, List<Double> standard) {
    List<Double> numbers = new ArrayList<>();
    if (!has(field)) {
      return standard;
    }
    for (Datum item : items(field)) {
      String place = field + "[" + numbers.size() + "]";
      numbers.add(Coercion.number(scalar(item, place, "a number"), this, place));
    }
    return List.copyOf(numbers);
  }

  /** Returns the maps of a list of maps; absent or null gives an empty list. */
  public List<Options> maps(String field) {
    List<Options> maps = new ArrayList<>();
    if (has(field)) {
      for (Datum item : items(field)) {
        String place = field + "[" + maps.size() + "]";
        maps.add(nested(place, item.line(), item));
      }
    }
    return maps;
  }

  /** Returns the options of a map, or null if the field is absent or null. */
  public Options map(String field) {
    Datum datum = datum(field);
    return datum == null ? null : nested(field, map.entries().get(field).keyLine(), datum);
  }

  /** Returns any value as plain lists, maps, strings, numbers and booleans; absent gives null. */
  public Object plain(String field) {
    Datum datum = datum(field);
    return datum == null ? null : plain(datum, field);
  }

  /** Returns whether the field holds one value, neither list nor map nor null. */
  public boolean isScalar(String field) {
    return datum(field) instanceof Scalar;
  }

  /** Returns whether the field holds text, not a number or a boolean. */
  public boolean isText(String field) {
    return datum(field) instanceof Scalar scalar && scalar.kind() == Kind.STRING;
  }

  /** Returns whether the field holds a list. */
  public boolean isList(String field) {
    return datum(field) instanceof Sequence;
  }

  /** Returns the text of a scalar exactly as written, even if YAML reads a number in it. */
  public String written(String field, String standard) {
    return datum(field) instanceof Scalar scalar ? scalar.text() : standard;
  }

  /** Marks fields as known whose values do not matter here. */
  public void accept(String... fields) {
    known.addAll(Arrays.asList(fields));
  }

  /** Has {@link #finish} refuse the map if the field is absent or null. */
  public void require(String field) {
    if (!has(field)) {
      missing.add(field);
    }
  }

  /** Refuses the first field that no accessor has asked for, then what is required and missing. */
  public void finish() {
    for (Entry entry : map.entries().values()) {
      if (!entry.textKey()) {
        throw at(
            entry.keyLine(),
            entry.key(),
            "a key must be text; write it as \"" + entry.key() + "\"");
      }
      if (!known.contains(entry.key())) {
        String nearest = RecipeError.didYouMean(Nearest.of(entry.key(), known));
        throw at(entry.keyLine(), entry.key(), "unknown field" + nearest);
      }
    }
    if (!missing.isEmpty()) {
      throw at(line, missing.get(0), "must be given");
    }
  }

  /**
   * Returns the error of a value, on the line of the value ({@code field} may hold {@code [n]}).
   */
  public EspalierException error(String field, String why) {
    Datum datum = find(field);
    return at(datum == null ? line : datum.line(), field, why);
  }

  /** Returns the error of a field that should not be there, on the line of its key. */
  public EspalierException errorAtKey(String field, String why) {
    Entry entry = map.entries().get(field);
    return at(entry == null ? line : entry.keyLine(), field, why);
  }

  /** Returns the error of a missing field, on the line of another that calls for it. */
  public EspalierException missing(String field, String calledForBy, String why) {
    Datum datum = find(calledForBy);
    return at(datum == null ? line : datum.line(), field, why);
  }

  /** Returns the error of this map as a whole, on the line of its key. */
  public EspalierException error(String why) {
    return RecipeError.at(source, line, path, why);
  }

  /** Records a remark on a field. */
  public void note(Event.Severity severity, String kind, String field, String message) {
    Datum datum = find(field);
    String where = RecipeError.where(source, datum == null ? line : datum.line());
    notes.add(new Event(severity, kind, where, Document.join(path, field) + ": " + message));
  }

  private EspalierException at(int where, String field, String why) {
    return RecipeError.at(source, where, Document.join(path, field), why);
  }

  /** Returns the datum of a field of which a trailing {@code [n]} names an item. */
  private Datum find(String field) {
    int bracket = field.indexOf('[');
    Entry entry = map.entries().get(bracket < 0 ? field : field.substring(0, bracket));
    if (entry == null || bracket < 0) {
      return entry == null ? null : entry.value();
    }
    if (entry.value() instanceof Sequence list) {
      int index = Integer.parseInt(field.substring(bracket + 1, field.indexOf(']', bracket)));
      return index < list.items().size() ? list.items().get(index) : list;
    }
    return entry.value();
  }

  /** Returns the value of a field, or null if it is absent or null. */
  private Datum datum(String field) {
    known.add(field);
    Entry entry = map.entries().get(field);
    if (entry == null || entry.value() instanceof Scalar scalar && scalar.isNull()) {
      return null;
    }
    return entry.value();
  }

  private <T> T required(T value, String field, String wanted) {
    if (value == null) {
      throw error(field, wanted + " is wanted, nothing was given");
    }
    return value;
  }

  private List<Datum> items(String field) {
    Datum datum = datum(field);
    if (datum instanceof Sequence list) {
      return list.items();
    }
    throw error(field, "a list is wanted, " + datum.kindName() + " was given");
  }

  private Scalar scalar(Datum datum, String field, String wanted) {
    if (datum instanceof Scalar scalar) {
      return scalar;
    }
    throw at(datum.line(), field, wanted + " is wanted, " + datum.kindName() + " was given");
  }

  private String text(Datum datum, String field) {
    if (datum instanceof Scalar scalar && scalar.kind() == Kind.STRING) {
      return scalar.text();
    }
    String hint = datum instanceof Scalar ? "; quote it to make it text" : "";
    throw at(datum.line(), field, "text is wanted, " + datum.kindName() + " was given" + hint);
  }

  private Options nested(String field, int keyLine, Datum datum) {
    if (datum instanceof Mapping inner) {
      String innerPath = Document.join(path, field);
      return new Options(source, type, group, innerPath, keyLine, inner, notes);
    }
    throw at(datum.line(), field, "a map is wanted, " + datum.kindName() + " was given");
  }

  private Object plain(Datum datum, String field) {
    if (datum instanceof Sequence list) {
      List<Object> values = new ArrayList<>();
      for (Datum item : list.items()) {
        values.add(plain(item, field + "[" + values.size() + "]"));
      }
      return values;
    }
    if (datum instanceof Mapping inner) {
      Map<String, Object> values = new LinkedHashMap<>();
      for (Entry entry : inner.entries().values()) {
        values.put(entry.key(), plain(entry.value(), field + "." + entry.key()));
      }
      return values;
    }
    return Coercion.plain((Scalar) datum);
  }

  /** Returns the text in lower case, or null for null. */
  static String lower(String text) {
    return text == null ? null : text.toLowerCase(Locale.ROOT);
  }
}
