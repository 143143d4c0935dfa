// SPDX-License-Identifier: Apache-2.0
package espalier.text;

import espalier.text.JinjaFault.Misuse;
import java.math.BigDecimal;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Python's rules for values: truth, equality, order, text, arithmetic.
 *
 * <p>None is {@code null}; the other types are {@code Boolean}, {@code Long}, {@code Double},
 * {@code String}, {@code List} (tuples too), {@code Map}, and the classes below. Strings are
 * counted in code points.
 */
final class JinjaValues {
  /** A name or entry that does not exist: empty when written, an error when used further. */
  record Undefined(String what) {}

  /** What {@code namespace(…)} makes: the one thing a template may change. */
  record Namespace(Map<String, Object> attributes) {}

  /** A list written with parentheses; only its text and equality differ from a list's. */
  static final class Tuple extends ArrayList<Object> {
    private static final long serialVersionUID = 1L;

    Tuple(Collection<?> items) {
      super(items);
    }

    static Tuple of(Object... items) {
      return new Tuple(Arrays.asList(items));
    }
  }

  /** A function, method or macro. */
  interface Callable {
    Object call(List<Object> positional, Map<String, Object> named);
  }

  private final JinjaBudget budget;

  JinjaValues(JinjaBudget budget) {
    this.budget = budget;
  }

  JinjaBudget budget() {
    return budget;
  }

  static boolean truth(Object value) {
    if (value == null || value instanceof Undefined) {
      return false;
    }
    if (value instanceof Boolean flag) {
      return flag;
    }
    if (value instanceof Long number) {
      return number != 0;
    }
    if (value instanceof Double number) {
      return number != 0;
    }
    if (value instanceof String text) {
      return !text.isEmpty();
    }
    if (value instanceof Collection<?> items) {
      return !items.isEmpty();
    }
    return !(value instanceof Map<?, ?> map) || !map.isEmpty();
  }

  static String typeOf(Object value) {
    if (value == null) {
      return "None";
    }
    if (value instanceof Undefined undefined) {
      return "undefined " + undefined.what();
    }
    return switch (value.getClass().getSimpleName()) {
      case "Boolean" -> "bool";
      case "Long" -> "int";
      case "Double" -> "float";
      case "String" -> "str";
      case "Namespace" -> "namespace";
      default -> value instanceof Map ? "dict" : value instanceof List ? "list" : "callable";
    };
  }

  static boolean isNumber(Object value) {
    return value instanceof Long || value instanceof Double || value instanceof Boolean;
  }

  private static boolean isWhole(Object value) {
    return value instanceof Long || value instanceof Boolean;
  }

  boolean equal(Object left, Object right) {
    budget.enter();
    boolean same = compareEqual(left, right);
    budget.leave();
    return same;
  }

  private boolean compareEqual(Object left, Object right) {
    if (isNumber(left) && isNumber(right)) {
      return isDouble(left, right)
          ? toDouble(left) == toDouble(right)
          : toLong(left) == toLong(right);
    }
    if (left instanceof Undefined || right instanceof Undefined) {
      return left instanceof Undefined && right instanceof Undefined;
    }
    if (left instanceof List<?> a && right instanceof List<?> b) {
      if (a.size() != b.size() || a instanceof Tuple != b instanceof Tuple) {
        return false;
      }
      Iterator<?> others = b.iterator();
      for (Object item : a) {
        if (!equal(item, others.next())) {
          return false;
        }
      }
      return true;
    }
    if (left instanceof Map<?, ?> a && right instanceof Map<?, ?> b) {
      if (a.size() != b.size()) {
        return false;
      }
      for (Map.Entry<?, ?> entry : a.entrySet()) {
        if (!b.containsKey(entry.getKey()) || !equal(entry.getValue(), b.get(entry.getKey()))) {
          return false;
        }
      }
      return true;
    }
    if (left instanceof String a && right instanceof String b) {
      budget.characters(Math.min(a.length(), b.length()));
      return a.equals(b);
    }
    return left == right;
  }

  /** Orders numbers, strings (by code point) and lists; anything else has no order. */
  int compare(Object left, Object right) {
    budget.enter();
    try {
      if (isNumber(left) && isNumber(right)) {
        return isDouble(left, right)
            ? Double.compare(toDouble(left), toDouble(right))
            : Long.compare(toLong(left), toLong(right));
      }
      if (left instanceof String a && right instanceof String b) {
        budget.characters(Math.min(a.length(), b.length()));
        int[] x = a.codePoints().toArray();
        int[] y = b.codePoints().toArray();
        return Arrays.compare(x, y);
      }
      if (left instanceof List<?> a && right instanceof List<?> b) {
        for (int i = 0; i < Math.min(a.size(), b.size()); i++) {
          if (!equal(a.get(i), b.get(i))) {
            return compare(a.get(i), b.get(i));
          }
        }
        return Integer.compare(a.size(), b.size());
      }
    } finally {
      budget.leave();
    }
    throw Misuse.of("cannot order " + typeOf(left) + " and " + typeOf(right));
  }

  boolean contains(Object container, Object item) {
    if (container instanceof String text) {
      if (item instanceof String part) {
        budget.characters(text.length());
        return text.contains(part);
      }
      throw Misuse.of("'in' a string wants a string, not " + typeOf(item));
    }
    if (container instanceof Map<?, ?> map) {
      return map.containsKey(item);
    }
    for (Object one : iterate(container)) {
      if (equal(one, item)) {
        return true;
      }
    }
    return false;
  }

  /** Returns the items a loop runs over: of a string its characters, of a dict its keys. */
  List<Object> iterate(Object value) {
    List<Object> items;
    if (value instanceof Collection<?> list) {
      items = new ArrayList<>(list);
    } else if (value instanceof Map<?, ?> map) {
      items = new ArrayList<>(map.keySet());
    } else if (value instanceof String text) {
      budget.characters(16L * text.length());
      items = new ArrayList<>();
      text.codePoints().forEach(c -> items.add(Character.toString(c)));
      return items;
    } else if (value instanceof Undefined) {
      return List.of();
    } else {
      throw Misuse.of(typeOf(value) + " is not iterable");
    }
    budget.steps(items.size());
    return items;
  }

  long length(Object value) {
    if (value instanceof String text) {
      return text.codePointCount(0, text.length());
    }
    if (value instanceof Collection<?> items) {
      return items.size();
    }
    if (value instanceof Map<?, ?> map) {
      return map.size();
    }
    if (value instanceof Undefined) {
      return 0;
    }
    throw Misuse.of(typeOf(value) + " has no length");
  }

  static boolean isDouble(Object left, Object right) {
    return left instanceof Double || right instanceof Double;
  }

  static double toDouble(Object value) {
    return value instanceof Boolean flag ? (flag ? 1 : 0) : ((Number) value).doubleValue();
  }

  static long toLong(Object value) {
    return value instanceof Boolean flag ? (flag ? 1 : 0) : ((Number) value).longValue();
  }

  /** Returns {@code value} as an index or count, or fails naming {@code what}. */
  static long wholeNumber(Object value, String what) {
    if (value instanceof Long || value instanceof Boolean) {
      return toLong(value);
    }
    throw Misuse.of(what + " wants a whole number, not " + typeOf(value));
  }

  static String string(Object value, String what) {
    if (value instanceof String text) {
      return text;
    }
    throw Misuse.of(what + " wants a string, not " + typeOf(value));
  }

  /** Python's {@code str(value)}; nothing for an undefined value. */
  String text(Object value) {
    if (value instanceof String text) {
      return text;
    }
    if (value instanceof Undefined) {
      return "";
    }
    StringBuilder out = new StringBuilder();
    represent(value, out);
    return out.toString();
  }

  /** Python's {@code repr(value)}, appended. */
  private void represent(Object value, StringBuilder out) {
    budget.enter();
    if (value == null) {
      out.append("None");
    } else if (value instanceof Boolean flag) {
      out.append(flag ? "True" : "False");
    } else if (value instanceof Double number) {
      out.append(decimal(number));
    } else if (value instanceof String text) {
      quote(text, out);
    } else if (value instanceof List<?> list) {
      boolean tuple = value instanceof Tuple;
      out.append(tuple ? '(' : '[');
      String gap = "";
      for (Object item : list) {
        out.append(gap);
        represent(item, out);
        gap = ", ";
      }
      out.append(tuple ? (list.size() == 1 ? ",)" : ")") : "]");
    } else if (value instanceof Map<?, ?> map) {
      String gap = "{";
      for (Map.Entry<?, ?> entry : map.entrySet()) {
        out.append(gap);
        represent(entry.getKey(), out);
        out.append(": ");
        represent(entry.getValue(), out);
        gap = ", ";
      }
      out.append(map.isEmpty() ? "{}" : "}");
    } else if (value instanceof Long number) {
      out.append(number.longValue());
    } else {
      throw Misuse.of("cannot write " + typeOf(value) + " as text");
    }
    budget.leave();
  }

  private void quote(String text, StringBuilder out) {
    budget.characters(text.length());
    char mark = text.indexOf('\'') >= 0 && text.indexOf('"') < 0 ? '"' : '\'';
    out.append(mark);
    for (int i = 0; i < text.length(); i++) {
      char c = text.charAt(i);
      switch (c) {
        case '\n' -> out.append("\\n");
        case '\r' -> out.append("\\r");
        case '\t' -> out.append("\\t");
        case '\\' -> out.append("\\\\");
        default -> {
          if (c == mark) {
            out.append('\\').append(c);
          } else if (c < 0x20 || c == 0x7f) {
            out.append(String.format("\\x%02x", (int) c));
          } else {
            out.append(c);
          }
        }
      }
    }
    out.append(mark);
  }

  /** Python's {@code repr} of a float: shortest digits, an exponent below 1e-4 and from 1e16 on. */
  static String decimal(double number) {
    if (Double.isNaN(number)) {
      return "nan";
    }
    if (Double.isInfinite(number)) {
      return number > 0 ? "inf" : "-inf";
    }
    if (number == 0) {
      return 1 / number < 0 ? "-0.0" : "0.0";
    }
    BigDecimal exact = new BigDecimal(Double.toString(number)).stripTrailingZeros();
    int exponent = exact.precision() - exact.scale() - 1;
    if (exponent >= -4 && exponent < 16) {
      String plain = exact.toPlainString();
      return plain.indexOf('.') >= 0 ? plain : plain + ".0";
    }
    String digits = exact.unscaledValue().abs().toString();
    String mantissa = digits.length() == 1 ? digits : digits.charAt(0) + "." + digits.substring(1);
    String power = String.format("e%s%02d", exponent < 0 ? "-" : "+", Math.abs(exponent));
    return (number < 0 ? "-" : "") + mantissa + power;
  }

  String concatenate(Object left, Object right) {
    String a = text(left);
    String b = text(right);
    budget.characters((long) a.length() + b.length());
    return a + b;
  }

  Object arithmetic(String operator, Object left, Object right) {
    if (operator.equals("+") && left instanceof String && right instanceof String) {
      return concatenate(left, right);
    }
    if (operator.equals("+")
        && left instanceof List<?> a
        && right instanceof List<?> b
        && a instanceof Tuple == b instanceof Tuple) {
      budget.steps((long) a.size() + b.size());
      List<Object> joined = a instanceof Tuple ? new Tuple(a) : new ArrayList<>(a);
      joined.addAll(b);
      return joined;
    }
    if (operator.equals("*") && !isNumber(left) && isWhole(right)) {
      return repeat(left, toLong(right));
    }
    if (operator.equals("*") && !isNumber(right) && isWhole(left)) {
      return repeat(right, toLong(left));
    }
    if (operator.equals("%") && left instanceof String) {
      throw Misuse.unsupported("the operator % on a string");
    }
    if (!isNumber(left) || !isNumber(right)) {
      throw Misuse.of("cannot apply " + operator + " to " + typeOf(left) + ", " + typeOf(right));
    }
    try {
      return isDouble(left, right) || operator.equals("/")
          ? (Object) real(operator, toDouble(left), toDouble(right))
          : whole(operator, toLong(left), toLong(right));
    } catch (ArithmeticException e) {
      throw Misuse.of("the result of " + operator + " is not a number that fits");
    }
  }

  private Object repeat(Object value, long count) {
    long times = Math.max(0, count);
    if (value instanceof String text) {
      budget.characters(Math.min(times, Integer.MAX_VALUE) * text.length());
      return text.repeat((int) (text.isEmpty() ? 0 : times));
    }
    if (value instanceof List<?> list) {
      List<Object> items = list instanceof Tuple ? Tuple.of() : new ArrayList<>();
      for (long i = 0; i < (list.isEmpty() ? 0 : times); i++) {
        budget.steps(list.size());
        items.addAll(list);
      }
      return items;
    }
    throw Misuse.of("cannot repeat " + typeOf(value));
  }

  private static double real(String operator, double a, double b) {
    if (b == 0 && !"+-*".contains(operator) && !operator.equals("**")) {
      throw new ArithmeticException();
    }
    return switch (operator) {
      case "+" -> a + b;
      case "-" -> a - b;
      case "*" -> a * b;
      case "/" -> a / b;
      case "//" -> Math.floor(a / b);
      case "%" -> a - Math.floor(a / b) * b;
      default -> Math.pow(a, b);
    };
  }

  private Object whole(String operator, long a, long b) {
    return switch (operator) {
      case "+" -> Math.addExact(a, b);
      case "-" -> Math.subtractExact(a, b);
      case "*" -> Math.multiplyExact(a, b);
      case "//" -> Math.floorDiv(a, b);
      case "%" -> Math.floorMod(a, b);
      default -> b < 0 ? (Object) Math.pow(a, b) : (Object) power(a, b);
    };
  }

  private long power(long base, long exponent) {
    if (base == 0 || base == 1 || base == -1) {
      return exponent == 0 || base == 1 ? 1 : base == 0 ? 0 : exponent % 2 == 0 ? 1 : -1;
    }
    long result = 1;
    for (long i = 0; i < exponent; i++) {
      result = Math.multiplyExact(result, base); // overflows after 62 factors at the latest
    }
    return result;
  }

  /** Returns a copy of {@code map} whose keys are any values. */
  static Map<Object, Object> copy(Map<?, ?> map) {
    return new LinkedHashMap<>(map);
  }
}
