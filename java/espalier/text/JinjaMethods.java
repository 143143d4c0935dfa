// SPDX-License-Identifier: Apache-2.0
package espalier.text;

import espalier.text.JinjaFault.Misuse;
import espalier.text.JinjaValues.Callable;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.function.IntPredicate;

/** The methods of Python's str, dict and list that templates use. */
final class JinjaMethods {
  /** Methods of str that are refused by name rather than taken for a missing attribute. */
  private static final Set<String> OTHER_STRING_METHODS =
      Set.of("format", "encode", "translate", "zfill", "center", "ljust", "rjust", "expandtabs");

  /** The sandbox of the original refuses whatever changes a list or dict. */
  private static final Set<String> CHANGING =
      Set.of(
          "append",
          "extend",
          "insert",
          "remove",
          "sort",
          "reverse",
          "clear",
          "pop",
          "popitem",
          "update",
          "setdefault");

  private final JinjaValues values;

  JinjaMethods(JinjaValues values) {
    this.values = values;
  }

  /** Returns the bound method {@code name} of {@code object}, or null if it has none. */
  Callable of(Object object, String name) {
    if (object instanceof String text) {
      return stringMethod(text, name);
    }
    if (object instanceof Map<?, ?> map) {
      return dictMethod(map, name);
    }
    if (object instanceof List<?> list) {
      if (CHANGING.contains(name)) {
        throw Misuse.unsupported("the method " + name + ", which changes a list,");
      }
      return switch (name) {
        case "count" -> (p, n) -> count(list, new JinjaArguments("count", p, n));
        case "index" -> (p, n) -> index(list, new JinjaArguments("index", p, n));
        default -> null;
      };
    }
    return null;
  }

  private Object count(List<?> list, JinjaArguments a) {
    Object wanted = a.get(0, "value");
    return list.stream().filter(item -> values.equal(item, wanted)).count();
  }

  private Object index(List<?> list, JinjaArguments a) {
    for (int i = 0; i < list.size(); i++) {
      if (values.equal(list.get(i), a.get(0, "value"))) {
        return (long) i;
      }
    }
    throw Misuse.of("index: the list does not hold the value");
  }

  private Callable dictMethod(Map<?, ?> map, String name) {
    return switch (name) {
      case "items" -> (p, n) -> items(map);
      case "keys" -> (p, n) -> values.iterate(map);
      case "values" -> (p, n) -> values.iterate(map.values());
      case "copy" -> (p, n) -> JinjaValues.copy(map);
      case "get" ->
          (p, n) -> {
            JinjaArguments a = new JinjaArguments("get", p, n);
            Object key = a.get(0, "key");
            return map.containsKey(key) ? map.get(key) : a.get(1, "default", null);
          };
      default -> {
        if (CHANGING.contains(name) && !map.containsKey(name)) {
          throw Misuse.unsupported("the method " + name + ", which changes a dict,");
        }
        yield null;
      }
    };
  }

  /** Returns the entries of a dict as pairs. */
  List<Object> items(Map<?, ?> map) {
    values.budget().steps(map.size());
    List<Object> pairs = new ArrayList<>();
    for (Map.Entry<?, ?> entry : map.entrySet()) {
      List<Object> pair = new ArrayList<>(2);
      pair.add(entry.getKey());
      pair.add(entry.getValue());
      pairs.add(pair);
    }
    return pairs;
  }

  private Callable stringMethod(String text, String name) {
    if (OTHER_STRING_METHODS.contains(name)) {
      throw Misuse.unsupported("the string method " + name);
    }
    if (!JinjaStrings.METHODS.contains(name)) {
      return null;
    }
    return (positional, named) -> {
      values.budget().characters(text.length());
      return call(text, name, new JinjaArguments(name, positional, named));
    };
  }

  private Object call(String text, String name, JinjaArguments a) {
    return switch (name) {
      case "strip" -> JinjaStrings.strip(text, set(a), true, true);
      case "lstrip" -> JinjaStrings.strip(text, set(a), true, false);
      case "rstrip" -> JinjaStrings.strip(text, set(a), false, true);
      case "upper" -> text.toUpperCase(Locale.ROOT);
      case "lower", "casefold" -> text.toLowerCase(Locale.ROOT);
      case "title" -> JinjaStrings.title(text);
      case "capitalize" -> JinjaStrings.capitalize(text);
      case "startswith" -> affix(text, a.get(0, "prefix"), true);
      case "endswith" -> affix(text, a.get(0, "suffix"), false);
      case "removeprefix" ->
          text.startsWith(a.string(0, "prefix"))
              ? text.substring(a.string(0, "prefix").length())
              : text;
      case "removesuffix" ->
          text.endsWith(a.string(0, "suffix"))
              ? text.substring(0, text.length() - a.string(0, "suffix").length())
              : text;
      case "split" -> JinjaStrings.split(text, separator(a), limit(a, 1, "maxsplit"));
      case "rsplit" -> JinjaStrings.splitFromEnd(text, separator(a), limit(a, 1, "maxsplit"));
      case "splitlines" -> JinjaStrings.lines(text);
      case "partition" -> JinjaStrings.partition(text, a.string(0, "sep"), false);
      case "rpartition" -> JinjaStrings.partition(text, a.string(0, "sep"), true);
      case "replace" -> replace(text, a);
      case "join" -> join(text, a);
      case "find" -> find(text, text.indexOf(a.string(0, "sub")), a);
      case "rfind" -> find(text, text.lastIndexOf(a.string(0, "sub")), a);
      case "index" -> {
        long at = find(text, text.indexOf(a.string(0, "sub")), a);
        if (at < 0) {
          throw Misuse.of("index: the string does not hold the part");
        }
        yield at;
      }
      case "count" -> JinjaStrings.count(text, a.string(0, "sub"));
      case "isspace" -> all(text, JinjaStrings::isSpace);
      case "isalpha" -> all(text, Character::isLetter);
      case "isalnum" -> all(text, Character::isLetterOrDigit);
      case "isdigit", "isnumeric", "isdecimal" -> all(text, Character::isDigit);
      case "isupper" ->
          text.equals(text.toUpperCase(Locale.ROOT)) && !text.equals(text.toLowerCase(Locale.ROOT));
      case "islower" ->
          text.equals(text.toLowerCase(Locale.ROOT)) && !text.equals(text.toUpperCase(Locale.ROOT));
      default -> throw Misuse.unsupported("the string method " + name);
    };
  }

  private static boolean all(String text, IntPredicate holds) {
    return !text.isEmpty() && text.codePoints().allMatch(holds);
  }

  private static String set(JinjaArguments a) {
    Object set = a.get(0, "chars", null);
    return set == null ? null : JinjaValues.string(set, a.callee());
  }

  private static String separator(JinjaArguments a) {
    Object separator = a.get(0, "sep", null);
    return separator == null ? null : JinjaValues.string(separator, a.callee());
  }

  private static long limit(JinjaArguments a, int position, String name) {
    long limit = JinjaValues.wholeNumber(a.get(position, name, -1L), a.callee());
    return limit < 0 ? Long.MAX_VALUE : limit;
  }

  private static boolean affix(String text, Object affix, boolean first) {
    if (affix instanceof List<?> several) {
      return several.stream().anyMatch(one -> affix(text, one, first));
    }
    String one = JinjaValues.string(affix, first ? "startswith" : "endswith");
    return first ? text.startsWith(one) : text.endsWith(one);
  }

  private static long find(String text, int at, JinjaArguments a) {
    if (a.count() > 1) {
      throw Misuse.unsupported(a.callee() + " with a range");
    }
    return at < 0 ? -1 : text.codePointCount(0, at);
  }

  /** {@code replace(old, new, count)} as method and as filter. */
  String replace(String text, JinjaArguments a) {
    String old = a.string(0, "old");
    String by = a.string(1, "new");
    Object count = a.get(2, "count", null);
    long most = count == null ? Long.MAX_VALUE : JinjaValues.wholeNumber(count, "replace");
    most = most < 0 ? Long.MAX_VALUE : most;
    long hits = Math.min(most, JinjaStrings.count(text, old));
    values.budget().characters(text.length() + hits * by.length());
    return JinjaStrings.replace(text, old, by, most);
  }

  private String join(String separator, JinjaArguments a) {
    List<String> parts = new ArrayList<>();
    for (Object item : values.iterate(a.get(0, "iterable"))) {
      parts.add(JinjaValues.string(item, "join"));
    }
    return join(separator, parts);
  }

  /** Joins, and pays for the result before it is made. */
  String join(String separator, List<String> parts) {
    long size = (long) separator.length() * parts.size();
    for (String part : parts) {
      size += part.length();
    }
    values.budget().characters(size);
    return String.join(separator, parts);
  }
}
