// SPDX-License-Identifier: Apache-2.0
package espalier.recipe;

import java.math.BigInteger;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/**
 * One value of a recipe file after aliases, merge keys and tags are resolved: a tree of plain data
 * in which every value knows its line (1-based).
 */
sealed interface Datum {
  /** Returns the line, counted from 1, on which the value begins. */
  int line();

  /** Returns what the value is, for a message: {@code a string}, {@code a list}. */
  String kindName();

  /** What a scalar means in YAML 1.1. */
  enum Kind {
    NULL("nothing"),
    BOOLEAN("a boolean"),
    INTEGER("an integer"),
    FLOAT("a number"),
    DATE("a date"),
    STRING("a string");

    private final String words;

    Kind(String words) {
      this.words = words;
    }
  }

  /** A scalar with the text as written (quotes and escapes already undone). */
  record Scalar(Kind kind, String text, int line) implements Datum {
    @Override
    public String kindName() {
      return kind.words;
    }

    boolean isNull() {
      return kind == Kind.NULL;
    }

    /** Returns the value of a BOOLEAN scalar. */
    boolean truth() {
      return switch (text.toLowerCase(Locale.ROOT)) {
        case "yes", "on", "true" -> true;
        default -> false;
      };
    }

    /**
     * Returns the value of an INTEGER scalar by the rules of YAML 1.1: underscores, {@code 0x},
     * {@code 0b}, a leading zero for octal and base-60 groups. Throws NumberFormatException.
     */
    BigInteger integer() {
      String digits = text.replace("_", "");
      boolean negative = digits.startsWith("-");
      if (negative || digits.startsWith("+")) {
        digits = digits.substring(1);
      }
      BigInteger value;
      if (digits.startsWith("0x")) {
        value = new BigInteger(digits.substring(2), 16);
      } else if (digits.startsWith("0b")) {
        value = new BigInteger(digits.substring(2), 2);
      } else if (digits.indexOf(':') > 0) {
        value = BigInteger.ZERO;
        for (String part : digits.split(":")) {
          value = value.multiply(BigInteger.valueOf(60)).add(new BigInteger(part));
        }
      } else if (digits.length() > 1 && digits.startsWith("0")) {
        value = new BigInteger(digits, 8);
      } else {
        value = new BigInteger(digits);
      }
      return negative ? value.negate() : value;
    }

    /** Returns the value of a FLOAT scalar; throws NumberFormatException. */
    double real() {
      String digits = text.replace("_", "");
      String lower = digits.toLowerCase(Locale.ROOT);
      if (lower.endsWith(".inf")) {
        return lower.startsWith("-") ? Double.NEGATIVE_INFINITY : Double.POSITIVE_INFINITY;
      }
      if (lower.equals(".nan")) {
        return Double.NaN;
      }
      if (digits.indexOf(':') < 0) {
        return Double.parseDouble(digits);
      }
      boolean negative = digits.startsWith("-");
      double value = 0;
      for (String part : digits.replaceFirst("^[-+]", "").split(":")) {
        value = value * 60 + Double.parseDouble(part);
      }
      return negative ? -value : value;
    }
  }

  /** A list. */
  record Sequence(List<Datum> items, int line) implements Datum {
    @Override
    public String kindName() {
      return "a list";
    }
  }

  /** A map in written order, its keys as text. */
  record Mapping(Map<String, Entry> entries, int line) implements Datum {
    @Override
    public String kindName() {
      return "a map";
    }
  }

  /**
   * One key of a map with its value.
   *
   * @param textKey false if YAML reads the key as a number, a boolean, a date or null
   */
  record Entry(String key, int keyLine, boolean textKey, Datum value) {}
}
