// SPDX-License-Identifier: Apache-2.0
package espalier.text;

import espalier.text.JinjaFault.Misuse;
import espalier.text.JinjaValues.Callable;
import espalier.text.JinjaValues.Namespace;
import java.time.LocalDateTime;
import java.time.format.DateTimeFormatter;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/** The functions every chat template may call. */
final class JinjaGlobals {
  /** The sandbox of the original allows no longer range. */
  private static final long MAX_RANGE = 100_000;

  private JinjaGlobals() {}

  static void install(Map<String, Object> variables, JinjaValues values, LocalDateTime now) {
    define(variables, "range", (p, n) -> range(p, values));
    define(variables, "namespace", (p, n) -> new Namespace(entries(p, n)));
    define(variables, "dict", (p, n) -> new LinkedHashMap<Object, Object>(entries(p, n)));
    define(variables, "strftime_now", (p, n) -> strftime(p, n, now));
    define(
        variables,
        "raise_exception",
        (p, n) -> {
          Object message = new JinjaArguments("raise_exception", p, n).get(0, "message");
          throw Misuse.of("the template refuses the messages: " + values.text(message));
        });
  }

  private static void define(Map<String, Object> variables, String name, Callable function) {
    variables.put(name, function);
  }

  private static Map<String, Object> entries(List<Object> positional, Map<String, Object> named) {
    Map<String, Object> entries = new LinkedHashMap<>();
    for (Object start : positional) {
      if (!(start instanceof Map<?, ?> map)) {
        throw Misuse.of("namespace and dict want named values");
      }
      map.forEach((key, value) -> entries.put(JinjaValues.string(key, "a name"), value));
    }
    entries.putAll(named);
    return entries;
  }

  private static Object range(List<Object> bounds, JinjaValues values) {
    if (bounds.isEmpty() || bounds.size() > 3) {
      throw Misuse.of("range wants one to three numbers");
    }
    long[] b = bounds.stream().mapToLong(x -> JinjaValues.wholeNumber(x, "range")).toArray();
    long start = b.length == 1 ? 0 : b[0];
    long stop = b.length == 1 ? b[0] : b[1];
    long step = b.length == 3 ? b[2] : 1;
    List<Object> items = new ArrayList<>();
    if (step == 0) {
      throw Misuse.of("the step of a range is zero");
    }
    for (long i = start; step > 0 ? i < stop : i > stop; i += step) {
      if (items.size() >= MAX_RANGE) {
        throw Misuse.of("a range is longer than " + MAX_RANGE);
      }
      items.add(i);
    }
    values.budget().steps(items.size());
    return items;
  }

  /** Writes the date the way C's strftime does, in English; {@code %-d} drops a leading zero. */
  private static String strftime(List<Object> p, Map<String, Object> n, LocalDateTime now) {
    String format = new JinjaArguments("strftime_now", p, n).string(0, "format");
    StringBuilder out = new StringBuilder();
    for (int i = 0; i < format.length(); i++) {
      char c = format.charAt(i);
      if (c != '%') {
        out.append(c);
        continue;
      }
      boolean bare = i + 1 < format.length() && format.charAt(i + 1) == '-';
      i += bare ? 2 : 1;
      if (i >= format.length()) {
        throw Misuse.of("strftime_now: the format ends inside a field");
      }
      String field = field(format.charAt(i), now);
      out.append(bare ? field.replaceFirst("^0+(?=.)", "") : field);
    }
    return out.toString();
  }

  private static String field(char letter, LocalDateTime now) {
    String pattern =
        switch (letter) {
          case 'Y' -> "uuuu";
          case 'y' -> "uu";
          case 'm' -> "MM";
          case 'B' -> "MMMM";
          case 'b', 'h' -> "MMM";
          case 'd' -> "dd";
          case 'j' -> "DDD";
          case 'A' -> "EEEE";
          case 'a' -> "EEE";
          case 'H' -> "HH";
          case 'I' -> "hh";
          case 'M' -> "mm";
          case 'S' -> "ss";
          case 'p' -> "a";
          case 'F' -> "uuuu-MM-dd";
          case 'T' -> "HH:mm:ss";
          case '%' -> "'%'";
          default -> throw Misuse.unsupported("the date field %" + letter);
        };
    return DateTimeFormatter.ofPattern(pattern, Locale.ENGLISH).format(now);
  }
}
