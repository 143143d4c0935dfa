// SPDX-License-Identifier: Apache-2.0
package espalier.compress;

import espalier.report.EspalierException;
import espalier.report.Event;
import java.util.Locale;
import java.util.Optional;

/**
 * How many weights become 0, and where: a share of them anywhere, or n of every m neighbours of a
 * row.
 *
 * @param sparsity the share, in [0, 1); n / m with a pattern
 * @param n zeros in every {@code m} columns; 0 without a pattern
 * @param m columns of a pattern, 0 without one
 */
public record Pattern(double sparsity, int n, int m) {
  /** Zeros anywhere. */
  public static Pattern of(double sparsity) {
    return new Pattern(sparsity, 0, 0);
  }

  /** {@code n} zeros in every {@code m} columns. */
  public static Pattern of(int n, int m) {
    return new Pattern((double) n / m, n, m);
  }

  /** Returns whether zeros may be anywhere. */
  public boolean isUnstructured() {
    return m == 0;
  }

  /** Returns the pattern as a person writes it: {@code 2:4}, {@code 50 %}. */
  public String text() {
    return isUnstructured()
        ? String.format(Locale.ROOT, "%s %%", Math.round(sparsity * 1e4) / 1e2)
            .replace(".0 %", " %")
        : n + ":" + m;
  }

  /**
   * Returns how many of {@code weights} go when they are compared with each other: as many as the
   * reference codes of SparseGPT and of magnitude pruning drop, which keep what lies above the
   * score of that number, counted from 0.
   */
  long dropped(long weights) {
    return sparsity == 0 ? 0 : Math.min(weights, (long) (weights * sparsity) + 1);
  }

  /** Returns how many weights of a row go when rows are compared apart, as Wanda has it. */
  long droppedOfRow(long columns) {
    return (long) (columns * sparsity);
  }

  /** Returns the zeros of a row under n:m, its rest included. */
  long patternZeros(long columns) {
    return columns / m * n + columns % m * n / m;
  }

  /**
   * Refuses columns that the pattern leaves a rest of which cannot lose its share.
   *
   * @return what should be told of a rest that can
   * @throws EspalierException (USAGE) naming the linear
   */
  Optional<Event> check(String name, long columns) {
    long rest = isUnstructured() ? 0 : columns % m;
    if (rest == 0) {
      return Optional.empty();
    }
    if (rest * n % m != 0) {
      throw EspalierException.usage(
          name
              + ": its "
              + columns
              + " inputs leave a rest of "
              + rest
              + " beside the sets of "
              + m
              + ", and "
              + n
              + " of "
              + m
              + " of that is no whole number",
          "Ignore this layer, or choose a pattern whose m divides its inputs.");
    }
    return Optional.of(
        Event.info(
            "pattern-rest",
            name,
            "its "
                + columns
                + " inputs are no multiple of "
                + m
                + ": the last "
                + rest
                + " lose "
                + rest * n / m));
  }
}
