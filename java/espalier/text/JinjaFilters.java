// SPDX-License-Identifier: Apache-2.0
package espalier.text;

import espalier.text.JinjaFault.Misuse;
import espalier.text.JinjaValues.Undefined;
import java.math.BigDecimal;
import java.math.RoundingMode;
import java.util.ArrayList;
import java.util.Collections;
import java.util.Comparator;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.function.UnaryOperator;

/** What may follow {@code |}. */
final class JinjaFilters {
  private final JinjaValues values;
  private final JinjaMethods methods;
  private final JinjaTests tests;
  private final JinjaAccess access;

  JinjaFilters(JinjaValues values, JinjaMethods methods, JinjaTests tests, JinjaAccess access) {
    this.values = values;
    this.methods = methods;
    this.tests = tests;
    this.access = access;
  }

  Object apply(String name, Object value, JinjaArguments a) {
    return switch (name) {
      case "trim" -> JinjaStrings.strip(paid(value), chars(a), true, true);
      case "upper" -> paid(value).toUpperCase(Locale.ROOT);
      case "lower" -> paid(value).toLowerCase(Locale.ROOT);
      case "title" -> JinjaStrings.titleWords(paid(value));
      case "capitalize" -> JinjaStrings.capitalize(paid(value));
      case "string", "safe" -> values.text(value);
      case "escape", "e" -> escape(paid(value));
      case "replace" -> methods.replace(paid(value), a);
      case "indent" -> indent(JinjaValues.string(value, name), a);
      case "tojson" -> JinjaJson.write(values.budget(), value, a);
      case "length", "count" -> values.length(value);
      case "default", "d" -> {
        boolean missing = value instanceof Undefined;
        boolean falsy = JinjaValues.truth(a.get(1, "boolean", false)) && !JinjaValues.truth(value);
        yield missing || falsy ? a.get(0, "default_value", "") : value;
      }
      case "int" -> whole(value, a);
      case "float" -> real(value, a);
      case "abs" -> absolute(value);
      case "round" -> round(value, a);
      case "list" -> values.iterate(value);
      case "items" -> {
        if (value instanceof Undefined) {
          yield List.of();
        }
        if (value instanceof Map<?, ?> map) {
          yield methods.items(map);
        }
        throw Misuse.of("items wants a dict, not " + JinjaValues.typeOf(value));
      }
      case "dictsort" -> dictsort(value, a);
      case "first" -> end(value, true);
      case "last" -> end(value, false);
      case "join" -> join(value, a);
      case "reverse" -> reverse(value);
      case "sort" -> sort(value, a);
      case "unique" -> unique(value);
      case "min" -> extreme(value, -1);
      case "max" -> extreme(value, 1);
      case "sum" -> sum(value, a);
      case "map" -> map(value, a);
      case "select" -> filter(value, a, false, true);
      case "reject" -> filter(value, a, false, false);
      case "selectattr" -> filter(value, a, true, true);
      case "rejectattr" -> filter(value, a, true, false);
      default -> throw Misuse.unsupported("the filter '" + name + "'");
    };
  }

  private String paid(Object value) {
    String text = values.text(value);
    values.budget().characters(text.length());
    return text;
  }

  private static String chars(JinjaArguments a) {
    Object chars = a.get(0, "chars", null);
    return chars == null ? null : JinjaValues.string(chars, "trim");
  }

  private static String escape(String text) {
    return text.replace("&", "&amp;")
        .replace("<", "&lt;")
        .replace(">", "&gt;")
        .replace("'", "&#39;")
        .replace("\"", "&#34;");
  }

  private String indent(String text, JinjaArguments a) {
    Object width = a.get(0, "width", 4L);
    String by =
        width instanceof String given
            ? given
            : " "
                .repeat((int) Math.max(0, Math.min(256, JinjaValues.wholeNumber(width, "indent"))));
    values.budget().characters(JinjaStrings.count(text, "\n") * by.length());
    boolean first = JinjaValues.truth(a.get(1, "first", false));
    return JinjaStrings.indent(text, by, first, JinjaValues.truth(a.get(2, "blank", false)));
  }

  private Object whole(Object value, JinjaArguments a) {
    if (value instanceof Long || value instanceof Boolean) {
      return JinjaValues.toLong(value);
    }
    try {
      if (value instanceof Double number) {
        return new BigDecimal(number).setScale(0, RoundingMode.DOWN).longValueExact();
      }
      if (value instanceof String text) {
        String digits = text.strip();
        return digits.matches("[+-]?[0-9]+")
            ? Long.parseLong(digits)
            : (long) Double.parseDouble(digits);
      }
    } catch (ArithmeticException | NumberFormatException e) {
      return a.get(0, "default", 0L);
    }
    return a.get(0, "default", 0L);
  }

  private static Object real(Object value, JinjaArguments a) {
    if (JinjaValues.isNumber(value)) {
      return JinjaValues.toDouble(value);
    }
    try {
      if (value instanceof String text) {
        return Double.parseDouble(text.strip());
      }
    } catch (NumberFormatException e) {
      return a.get(0, "default", 0.0);
    }
    return a.get(0, "default", 0.0);
  }

  private static Object absolute(Object value) {
    if (value instanceof Double number) {
      return Math.abs(number);
    }
    return Math.abs(JinjaValues.wholeNumber(value, "abs"));
  }

  private static Object round(Object value, JinjaArguments a) {
    if (!JinjaValues.isNumber(value)) {
      throw Misuse.of("round wants a number, not " + JinjaValues.typeOf(value));
    }
    int precision = (int) JinjaValues.wholeNumber(a.get(0, "precision", 0L), "round");
    RoundingMode mode =
        switch (String.valueOf(a.get(1, "method", "common"))) {
          case "common" -> RoundingMode.HALF_EVEN;
          case "ceil" -> RoundingMode.CEILING;
          case "floor" -> RoundingMode.FLOOR;
          default -> throw Misuse.of("round knows common, ceil and floor");
        };
    if (value instanceof Long && precision >= 0 && mode == RoundingMode.HALF_EVEN) {
      return value;
    }
    double number = JinjaValues.toDouble(value);
    if (precision < 0 || precision > 300 || Double.isNaN(number) || Double.isInfinite(number)) {
      return number;
    }
    return new BigDecimal(number).setScale(precision, mode).doubleValue();
  }

  private Object dictsort(Object value, JinjaArguments a) {
    if (!(value instanceof Map<?, ?> map) || a.count() > 0) {
      throw Misuse.unsupported("dictsort with options or on anything but a dict");
    }
    List<Object> pairs = methods.items(map);
    pairs.sort(Comparator.comparing(pair -> folded(((List<?>) pair).get(0)), values::compare));
    return pairs;
  }

  private static Object folded(Object value) {
    return value instanceof String text ? text.toLowerCase(Locale.ROOT) : value;
  }

  private Object end(Object value, boolean first) {
    List<Object> items = values.iterate(value);
    if (items.isEmpty()) {
      return new Undefined("item of an empty sequence");
    }
    return items.get(first ? 0 : items.size() - 1);
  }

  private Object join(Object value, JinjaArguments a) {
    String separator = values.text(a.get(0, "d", ""));
    Object attribute = a.get(1, "attribute", null);
    List<String> parts = new ArrayList<>();
    for (Object item : values.iterate(value)) {
      parts.add(values.text(attribute == null ? item : path(item, attribute)));
    }
    return methods.join(separator, parts);
  }

  private Object reverse(Object value) {
    if (value instanceof String) {
      return new StringBuilder(paid(value)).reverse().toString();
    }
    List<Object> items = values.iterate(value);
    Collections.reverse(items);
    return items;
  }

  private Object sort(Object value, JinjaArguments a) {
    boolean reverse = JinjaValues.truth(a.get(0, "reverse", false));
    boolean sensitive = JinjaValues.truth(a.get(1, "case_sensitive", false));
    Object attribute = a.get(2, "attribute", null);
    UnaryOperator<Object> key =
        item -> {
          Object part = attribute == null ? item : path(item, attribute);
          return sensitive ? part : folded(part);
        };
    Comparator<Object> order = (x, y) -> values.compare(key.apply(x), key.apply(y));
    List<Object> items = new ArrayList<>(values.iterate(value));
    items.sort(reverse ? order.reversed() : order);
    return items;
  }

  private Object unique(Object value) {
    List<Object> kept = new ArrayList<>();
    for (Object item : values.iterate(value)) {
      if (kept.stream().noneMatch(one -> values.equal(folded(one), folded(item)))) {
        kept.add(item);
      }
    }
    return kept;
  }

  private Object extreme(Object value, int sign) {
    Object best = new Undefined("item of an empty sequence");
    for (Object item : values.iterate(value)) {
      if (best instanceof Undefined || values.compare(folded(item), folded(best)) * sign > 0) {
        best = item;
      }
    }
    return best;
  }

  private Object sum(Object value, JinjaArguments a) {
    Object attribute = a.get(0, "attribute", null);
    Object total = a.get(1, "start", 0L);
    for (Object item : values.iterate(value)) {
      total = values.arithmetic("+", total, attribute == null ? item : path(item, attribute));
    }
    return total;
  }

  /** Follows {@code a.b.0} through entries and attributes. */
  private Object path(Object item, Object attribute) {
    if (!(attribute instanceof String names)) {
      return access.entry(item, attribute);
    }
    Object value = item;
    for (String name : names.split("\\.")) {
      boolean index = !name.isEmpty() && name.chars().allMatch(c -> c >= '0' && c <= '9');
      value = access.entry(value, index && name.length() < 10 ? (Object) Long.valueOf(name) : name);
    }
    return value;
  }

  /** As iterate, but of None and other empty values nothing: what map and select do. */
  private List<Object> iterateIfAny(Object value) {
    return JinjaValues.truth(value) ? values.iterate(value) : List.of();
  }

  private Object map(Object value, JinjaArguments a) {
    List<Object> mapped = new ArrayList<>();
    if (a.positional().isEmpty()) {
      Object attribute = a.get(0, "attribute");
      for (Object item : iterateIfAny(value)) {
        Object part = path(item, attribute);
        boolean missing = part instanceof Undefined && a.named().containsKey("default");
        mapped.add(missing ? a.named().get("default") : part);
      }
      return mapped;
    }
    String filter = a.string(0, "filter");
    JinjaArguments rest = a.after(1, filter);
    for (Object item : iterateIfAny(value)) {
      mapped.add(apply(filter, item, rest));
    }
    return mapped;
  }

  private Object filter(Object value, JinjaArguments a, boolean byAttribute, boolean keeps) {
    int skip = byAttribute ? 1 : 0;
    Object attribute = byAttribute ? a.get(0, "attribute") : null;
    String test = a.positional().size() > skip ? a.string(skip, "test") : null;
    JinjaArguments rest = a.after(skip + 1, test);
    List<Object> kept = new ArrayList<>();
    for (Object item : iterateIfAny(value)) {
      Object part = byAttribute ? path(item, attribute) : item;
      if (keeps == (test == null ? JinjaValues.truth(part) : tests.holds(test, part, rest))) {
        kept.add(item);
      }
    }
    return kept;
  }
}
