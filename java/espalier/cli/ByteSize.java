// SPDX-License-Identifier: Apache-2.0
package espalier.cli;

import espalier.report.EspalierException;
import java.math.BigDecimal;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * Sizes as people write them: a number and a unit, {@code 6GB} or {@code 5.5 GiB}. The unit must be
 * there, since nobody means six bytes, and M alone may be 10⁶ or 2²⁰.
 */
final class ByteSize {
  private static final Pattern SIZE = Pattern.compile("(\\d+(?:\\.\\d+)?) ?([A-Za-z]*)");

  private ByteSize() {}

  /**
   * Returns bytes.
   *
   * @param option whose value this is, for the message
   * @throws EspalierException (USAGE) when it is not a number with a known unit
   */
  static long parse(String option, String text) {
    Matcher matcher = SIZE.matcher(text.strip());
    if (!matcher.matches()) {
      throw refused(option, text, "is not a size");
    }
    long unit =
        switch (matcher.group(2)) {
          case "kB", "KB" -> 1_000L;
          case "MB" -> 1_000_000L;
          case "GB" -> 1_000_000_000L;
          case "TB" -> 1_000_000_000_000L;
          case "KiB" -> 1L << 10;
          case "MiB" -> 1L << 20;
          case "GiB" -> 1L << 30;
          case "TiB" -> 1L << 40;
          case "" -> throw refused(option, text, "has no unit");
          default -> throw refused(option, text, "has the unknown unit '" + matcher.group(2) + "'");
        };
    try {
      long bytes =
          new BigDecimal(matcher.group(1))
              .multiply(BigDecimal.valueOf(unit))
              .toBigInteger()
              .longValueExact();
      if (bytes > 0) {
        return bytes;
      }
    } catch (ArithmeticException e) {
      throw refused(option, text, "is too large");
    }
    throw refused(option, text, "is not more than nothing");
  }

  private static EspalierException refused(String option, String text, String what) {
    return EspalierException.usage(
        option + " " + text + " " + what,
        "Write a number and MB, GB (powers of 1000), MiB or GiB (powers of 1024): 6GB.");
  }
}
