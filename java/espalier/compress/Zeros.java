// SPDX-License-Identifier: Apache-2.0
package espalier.compress;

import espalier.layer.Census;

/**
 * What is known of the zeros of a linear before it is compressed: enough to lay a sparse file out.
 *
 * @param kept the most weights that are not 0 afterwards
 * @param twoOfFour whether of every four columns at most two will not be 0
 */
public record Zeros(long kept, boolean twoOfFour) {
  /** Returns what n zeros in every m columns leave of a matrix. */
  static Zeros of(Pattern pattern, long out, long in) {
    boolean pairs = pattern.m() == 4 && pattern.n() >= 2 && in % 4 == 0;
    return new Zeros(out * (in - pattern.patternZeros(in)), pairs);
  }

  /** Returns what a count of zeros in place says of a linear whose zeros stay. */
  public static Zeros of(Census census) {
    return new Zeros(census.nonZeros(), census.fitsTwoOfFour());
  }
}
