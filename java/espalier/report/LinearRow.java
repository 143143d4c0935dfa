// SPDX-License-Identifier: Apache-2.0
package espalier.report;

import com.fasterxml.jackson.annotation.JsonIgnore;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * What happened to one linear.
 *
 * @param name full module name
 * @param method how it was compressed: {@code gptq}, {@code sparsegpt+rtn}; {@code none} when left
 *     alone
 * @param scheme what is pruned, bits, symmetry and group in words, or why it was left alone
 * @param parameters weights it has, or 0 where that is not known
 * @param bitsPerWeight stored bits per weight, scales and zero points included
 * @param relativeError tr((W−Q)H(W−Q)ᵀ) / tr(WHWᵀ); with H = I where no calibration was run
 * @param nearestError the same for the plain way, for comparison: rounding to nearest, pruning by
 *     magnitude, or both; NaN when not measured
 * @param seconds wall time of its solve
 * @param variant the kernel row that solved it, as {@code operation/row}; null when not known
 * @param sparsity its zeros; null when they were not counted
 */
public record LinearRow(
    String name,
    String method,
    String scheme,
    long parameters,
    double bitsPerWeight,
    double relativeError,
    double nearestError,
    double seconds,
    String variant,
    Sparsity sparsity) {
  private static final Pattern BLOCK = Pattern.compile("(.*?\\.\\d+)\\..*");

  /** Makes the row of a linear whose zeros were not counted. */
  public LinearRow(
      String name,
      String method,
      String scheme,
      long parameters,
      double bitsPerWeight,
      double relativeError,
      double nearestError,
      double seconds,
      String variant) {
    this(
        name,
        method,
        scheme,
        parameters,
        bitsPerWeight,
        relativeError,
        nearestError,
        seconds,
        variant,
        null);
  }

  /** Makes the row of a linear that is left alone. */
  public static LinearRow untouched(
      String name, String reason, long parameters, double bitsPerWeight) {
    return new LinearRow(name, "none", reason, parameters, bitsPerWeight, 0, 0, 0, null);
  }

  /** Returns the same with what is known of its zeros. */
  public LinearRow with(Sparsity zeros) {
    return new LinearRow(
        name,
        method,
        scheme,
        parameters,
        bitsPerWeight,
        relativeError,
        nearestError,
        seconds,
        variant,
        zeros);
  }

  /** Returns the share of weights that are not 0; null when zeros were not counted. */
  public Double density() {
    return sparsity == null ? null : sparsity.density();
  }

  @JsonIgnore // follows from the method
  public boolean isCompressed() {
    return !method.equals("none");
  }

  /** Returns the block it belongs to ("model.layers.3"), or the name itself outside of blocks. */
  public String block() {
    return blockOf(name);
  }

  static String blockOf(String linear) {
    Matcher matcher = BLOCK.matcher(linear);
    return matcher.matches() ? matcher.group(1) : linear;
  }
}
