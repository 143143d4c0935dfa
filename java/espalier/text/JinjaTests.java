// SPDX-License-Identifier: Apache-2.0
package espalier.text;

import espalier.text.JinjaFault.Misuse;
import espalier.text.JinjaValues.Callable;
import espalier.text.JinjaValues.Undefined;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/** What may follow {@code is}. */
final class JinjaTests {
  private final JinjaValues values;

  JinjaTests(JinjaValues values) {
    this.values = values;
  }

  boolean holds(String name, Object value, JinjaArguments a) {
    return switch (name) {
      case "defined" -> !(value instanceof Undefined);
      case "undefined" -> value instanceof Undefined;
      case "none" -> value == null;
      case "string" -> value instanceof String;
      case "mapping" -> value instanceof Map;
      case "number" -> JinjaValues.isNumber(value);
      case "integer" -> value instanceof Long;
      case "float" -> value instanceof Double;
      case "boolean" -> value instanceof Boolean;
      case "true" -> Boolean.TRUE.equals(value);
      case "false" -> Boolean.FALSE.equals(value);
      case "callable" -> value instanceof Callable;
      case "sequence", "iterable" ->
          value instanceof String
              || value instanceof List
              || value instanceof Map
              || value instanceof Undefined;
      case "equalto", "eq", "==" -> values.equal(value, a.get(0, "other"));
      case "ne", "!=" -> !values.equal(value, a.get(0, "other"));
      case "gt", "greaterthan", ">" -> values.compare(value, a.get(0, "other")) > 0;
      case "ge", ">=" -> values.compare(value, a.get(0, "other")) >= 0;
      case "lt", "lessthan", "<" -> values.compare(value, a.get(0, "other")) < 0;
      case "le", "<=" -> values.compare(value, a.get(0, "other")) <= 0;
      case "in" -> values.contains(a.get(0, "seq"), value);
      case "sameas" ->
          value == a.get(0, "other")
              || (JinjaValues.isNumber(value) && value.equals(a.get(0, "other")));
      case "odd" -> Math.floorMod(JinjaValues.wholeNumber(value, name), 2L) == 1;
      case "even" -> Math.floorMod(JinjaValues.wholeNumber(value, name), 2L) == 0;
      case "divisibleby" -> {
        long by = JinjaValues.wholeNumber(a.get(0, "num"), name);
        if (by == 0) {
          throw Misuse.of("divisibleby zero");
        }
        yield JinjaValues.wholeNumber(value, name) % by == 0;
      }
      case "lower" -> values.text(value).equals(values.text(value).toLowerCase(Locale.ROOT));
      case "upper" -> values.text(value).equals(values.text(value).toUpperCase(Locale.ROOT));
      default -> throw Misuse.unsupported("the test '" + name + "'");
    };
  }
}
