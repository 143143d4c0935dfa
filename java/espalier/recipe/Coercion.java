// SPDX-License-Identifier: Apache-2.0
package espalier.recipe;

import espalier.recipe.Datum.Kind;
import espalier.recipe.Datum.Scalar;
import espalier.report.EspalierException;
import java.math.BigDecimal;
import java.math.BigInteger;
import java.util.Set;
import java.util.regex.Pattern;

/** What a scalar passes as: the lax rules of pydantic, which recipes are written against. */
final class Coercion {
  private static final Set<String> TRUE_WORDS = Set.of("1", "on", "t", "true", "y", "yes");
  private static final Set<String> FALSE_WORDS = Set.of("0", "off", "f", "false", "n", "no");
  private static final Pattern WHOLE = Pattern.compile("[-+]?[0-9]+(_[0-9]+)*(\\.0+)?");

  private Coercion() {}

  static Integer integer(Scalar scalar, Options options, String field) {
    try {
      switch (scalar.kind()) {
        case INTEGER:
          return scalar.integer().intValueExact();
        case FLOAT:
          return BigDecimal.valueOf(scalar.real()).toBigIntegerExact().intValueExact();
        case BOOLEAN:
          return scalar.truth() ? 1 : 0;
        case STRING:
          String text = scalar.text().strip();
          if (WHOLE.matcher(text).matches()) {
            String digits = text.replace("_", "").replaceFirst("\\..*", "");
            return new BigInteger(digits).intValueExact();
          }
          throw wanted("an integer", scalar, options, field);
        default:
          throw wanted("an integer", scalar, options, field);
      }
    } catch (ArithmeticException | NumberFormatException e) {
      throw options.error(field, "an integer is wanted, " + scalar.text() + " was given");
    }
  }

  static Double number(Scalar scalar, Options options, String field) {
    double value;
    try {
      value =
          switch (scalar.kind()) {
            case INTEGER -> scalar.integer().doubleValue();
            case FLOAT -> scalar.real();
            case BOOLEAN -> scalar.truth() ? 1 : 0;
            case STRING -> real(scalar.text().strip());
            default -> throw wanted("a number", scalar, options, field);
          };
    } catch (NumberFormatException e) {
      throw wanted("a number", scalar, options, field);
    }
    if (Double.isNaN(value) || Double.isInfinite(value)) {
      throw options.error(field, "a finite number is wanted, " + scalar.text() + " was given");
    }
    return value;
  }

  /** Parses decimal text; Java's own suffixes and hexadecimal floats are not numbers here. */
  private static double real(String text) {
    if (!text.matches("[-+]?[0-9._]+([eE][-+]?[0-9]+)?")) {
      throw new NumberFormatException(text);
    }
    return Double.parseDouble(text.replace("_", ""));
  }

  static boolean flag(Scalar scalar, Options options, String field) {
    if (scalar.kind() == Kind.BOOLEAN) {
      return scalar.truth();
    }
    String word = Options.lower(scalar.text().strip());
    if (scalar.kind() == Kind.FLOAT) {
      word = word.replaceFirst("\\.0*$", "");
    }
    if (TRUE_WORDS.contains(word)) {
      return true;
    }
    if (FALSE_WORDS.contains(word)) {
      return false;
    }
    throw wanted("a boolean", scalar, options, field);
  }

  /** Returns the scalar as String, Long, BigInteger, Double, Boolean or null. */
  static Object plain(Scalar scalar) {
    switch (scalar.kind()) {
      case NULL:
        return null;
      case BOOLEAN:
        return scalar.truth();
      case INTEGER:
        BigInteger value = scalar.integer();
        return value.bitLength() < Long.SIZE ? (Object) value.longValue() : value;
      case FLOAT:
        return scalar.real();
      default:
        return scalar.text();
    }
  }

  private static EspalierException wanted(
      String wanted, Scalar scalar, Options options, String field) {
    String why = wanted + " is wanted, " + scalar.kindName() + " was given";
    if (scalar.text().startsWith("eval(")) {
      why = wanted + " is wanted; expressions are not evaluated (they were up to about 0.5)";
    } else if (!scalar.text().isEmpty() && scalar.text().length() <= 40) {
      why += " (" + scalar.text() + ")";
    }
    return options.error(field, why);
  }
}
