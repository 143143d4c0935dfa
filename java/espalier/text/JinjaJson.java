// SPDX-License-Identifier: Apache-2.0
package espalier.text;

import com.fasterxml.jackson.databind.JsonNode;
import espalier.report.EspalierException;
import espalier.text.JinjaFault.Misuse;
import espalier.text.JinjaValues.Undefined;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** JSON into template values, and template values into the JSON of Python's {@code json.dumps}. */
final class JinjaJson {
  private final JinjaBudget budget;
  private final String indent;
  private final String itemSeparator;
  private final String keySeparator;
  private final boolean sorted;
  private final boolean ascii;
  private final StringBuilder out = new StringBuilder();

  private JinjaJson(
      JinjaBudget budget,
      String indent,
      String itemSeparator,
      String keySeparator,
      boolean sorted,
      boolean ascii) {
    this.budget = budget;
    this.indent = indent;
    this.itemSeparator = itemSeparator;
    this.keySeparator = keySeparator;
    this.sorted = sorted;
    this.ascii = ascii;
  }

  /** Returns {@code node} as a template sees it: null, booleans, longs, doubles, lists, maps. */
  static Object value(JsonNode node) {
    if (node.isObject()) {
      Map<Object, Object> map = new LinkedHashMap<>();
      for (Map.Entry<String, JsonNode> entry : node.properties()) {
        map.put(entry.getKey(), value(entry.getValue()));
      }
      return map;
    }
    if (node.isArray()) {
      List<Object> list = new ArrayList<>(node.size());
      node.forEach(item -> list.add(value(item)));
      return list;
    }
    if (node.isTextual()) {
      return node.textValue();
    }
    if (node.isBoolean()) {
      return node.booleanValue();
    }
    if (node.isIntegralNumber() && node.canConvertToLong()) {
      return node.longValue();
    }
    return node.isNumber() ? (Object) node.doubleValue() : null;
  }

  /**
   * Returns a caller's value as a template sees it: integers become longs, other numbers doubles,
   * collections lists.
   */
  static Object adopt(Object value) {
    if (value instanceof JsonNode node) {
      return value(node);
    }
    if (value instanceof Map<?, ?> map) {
      Map<Object, Object> adopted = new LinkedHashMap<>();
      map.forEach((key, entry) -> adopted.put(key, adopt(entry)));
      return adopted;
    }
    if (value instanceof Iterable<?> items) {
      List<Object> adopted = new ArrayList<>();
      items.forEach(item -> adopted.add(adopt(item)));
      return adopted;
    }
    if (value == null || value instanceof Boolean || value instanceof String) {
      return value;
    }
    if (value instanceof Number number) {
      boolean whole = value instanceof Long || value instanceof Integer || value instanceof Short;
      return whole ? (Object) number.longValue() : (Object) number.doubleValue();
    }
    throw EspalierException.usage(
        "a chat template cannot read a value of " + value.getClass().getName(),
        "give strings, numbers, booleans, lists and maps");
  }

  /** Writes {@code value} with the options of {@code json.dumps}; non-ASCII stays as it is. */
  static String write(JinjaBudget budget, Object value, JinjaArguments arguments) {
    Object indent = arguments.get(1, "indent", null);
    Object separators = arguments.get(2, "separators", null);
    boolean sorted = JinjaValues.truth(arguments.get(3, "sort_keys", false));
    boolean ascii = JinjaValues.truth(arguments.get(0, "ensure_ascii", false));
    String gap = null;
    if (indent instanceof String text) {
      gap = text;
    } else if (indent != null) {
      gap = " ".repeat((int) Math.max(0, Math.min(64, JinjaValues.wholeNumber(indent, "indent"))));
    }
    String between = gap == null ? ", " : ",";
    String after = ": ";
    if (separators instanceof List<?> pair && pair.size() == 2) {
      between = JinjaValues.string(pair.get(0), "separators");
      after = JinjaValues.string(pair.get(1), "separators");
    } else if (separators != null) {
      throw Misuse.of("separators wants two strings");
    }
    JinjaJson json = new JinjaJson(budget, gap, between, after, sorted, ascii);
    json.write(value, 0);
    return json.out.toString();
  }

  private void write(Object value, int depth) {
    budget.enter();
    if (value == null) {
      out.append("null");
    } else if (value instanceof Boolean || value instanceof Long) {
      out.append(value);
    } else if (value instanceof Double number) {
      out.append(
          number.isNaN()
              ? "NaN"
              : number.isInfinite()
                  ? (number > 0 ? "Infinity" : "-Infinity")
                  : JinjaValues.decimal(number));
    } else if (value instanceof String text) {
      quote(text);
    } else if (value instanceof List<?> list) {
      out.append('[');
      boolean first = true;
      for (Object item : list) {
        separate(first, depth + 1);
        write(item, depth + 1);
        first = false;
      }
      end(list.isEmpty(), depth);
      out.append(']');
    } else if (value instanceof Map<?, ?> map) {
      object(map, depth);
    } else {
      String what = value instanceof Undefined ? "an undefined value" : JinjaValues.typeOf(value);
      throw Misuse.of("tojson cannot write " + what);
    }
    budget.leave();
  }

  private void object(Map<?, ?> map, int depth) {
    Map<String, Object> entries = sorted ? new java.util.TreeMap<>() : new LinkedHashMap<>();
    map.forEach((key, value) -> entries.put(key(key), value));
    out.append('{');
    boolean first = true;
    for (Map.Entry<String, Object> entry : entries.entrySet()) {
      separate(first, depth + 1);
      quote(entry.getKey());
      out.append(keySeparator);
      write(entry.getValue(), depth + 1);
      first = false;
    }
    end(entries.isEmpty(), depth);
    out.append('}');
  }

  private static String key(Object key) {
    return key == null
        ? "null"
        : key instanceof Double number ? JinjaValues.decimal(number) : key.toString();
  }

  private void separate(boolean first, int depth) {
    if (!first) {
      out.append(itemSeparator);
    }
    line(depth);
  }

  private void end(boolean empty, int depth) {
    if (!empty) {
      line(depth);
    }
  }

  private void line(int depth) {
    if (indent != null) {
      budget.characters((long) indent.length() * depth);
      out.append('\n').append(indent.repeat(depth));
    }
  }

  private void quote(String text) {
    budget.characters(text.length());
    out.append('"');
    for (int i = 0; i < text.length(); i++) {
      char c = text.charAt(i);
      switch (c) {
        case '"' -> out.append("\\\"");
        case '\\' -> out.append("\\\\");
        case '\n' -> out.append("\\n");
        case '\r' -> out.append("\\r");
        case '\t' -> out.append("\\t");
        case '\b' -> out.append("\\b");
        case '\f' -> out.append("\\f");
        default -> {
          if (c < 0x20 || (ascii && c > 0x7e)) {
            out.append(String.format("\\u%04x", (int) c));
          } else {
            out.append(c);
          }
        }
      }
    }
    out.append('"');
  }
}
