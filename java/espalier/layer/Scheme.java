// SPDX-License-Identifier: Apache-2.0
package espalier.layer;

/**
 * How the weights of one linear are quantized to integers, and its input.
 *
 * @param bits width of a code, 2..8
 * @param symmetric whether zero points are all 0
 * @param groupSize columns that share a scale; 0 for one scale a row (per channel)
 * @param activations what happens to the input
 */
public record Scheme(int bits, boolean symmetric, int groupSize, Activations activations) {
  /** Creates a scheme of weights alone. */
  public Scheme(int bits, boolean symmetric, int groupSize) {
    this(bits, symmetric, groupSize, Activations.FLOAT);
  }

  public Scheme {
    if (bits < 2 || bits > 8) {
      throw new IllegalArgumentException("bits is " + bits + ", expected 2..8");
    }
    if (groupSize < 0) {
      throw new IllegalArgumentException("groupSize is " + groupSize + ", expected 0 or more");
    }
  }

  /** Returns columns per group in a matrix of this many columns. */
  public long group(long columns) {
    return groupSize == 0 ? columns : groupSize;
  }

  /** Returns whether the groups divide the columns. */
  public boolean divides(long columns) {
    return columns % group(columns) == 0;
  }

  /**
   * Returns bits per weight with scales of {@code scaleBits} bits and packed zero points counted
   * in.
   */
  public double bitsPerWeight(long columns, int scaleBits) {
    return bits + (scaleBits + (symmetric ? 0 : bits)) / (double) group(columns);
  }

  @Override
  public String toString() {
    return "W"
        + bits
        + (activations == Activations.FLOAT ? "" : "A8")
        + (symmetric ? " symmetric " : " asymmetric ")
        + (groupSize == 0 ? "per channel" : "group " + groupSize);
  }
}
