// SPDX-License-Identifier: Apache-2.0
package espalier.compress;

import espalier.kernel.Quantize;
import espalier.layer.Scheme;
import java.util.Optional;

/**
 * What will happen to one linear.
 *
 * @param name canonical module name
 * @param out rows of its matrix
 * @param in columns of its matrix
 * @param method the algorithm, or null when the linear is left alone
 * @param scheme bits, symmetry and group; null when left alone, or only pruned
 * @param range how ranges are found; null without a scheme
 * @param owl how its sparsity is spread over the blocks, or null
 * @param reason why it is left alone, or empty
 */
record PlannedLinear(
    String name,
    long out,
    long in,
    LinearMethod method,
    Scheme scheme,
    Quantize.Range range,
    Owl owl,
    String reason) {
  static PlannedLinear untouched(String name, long out, long in, String reason) {
    return new PlannedLinear(name, out, in, null, null, null, null, reason);
  }

  boolean isCompressed() {
    return method != null;
  }

  /** Returns whether its weights become codes. */
  boolean isQuantized() {
    return scheme != null;
  }

  /** Returns what is sure of its zeros beforehand; see {@link LinearMethod#zeros}. */
  Optional<Zeros> zeros() {
    // Of blocks that are pruned by their outliers, the one that is pruned least.
    return (owl == null ? method : method.moved(-2 * owl.lambda())).zeros(out, in, scheme);
  }

  /** Returns the same with another method. */
  PlannedLinear with(LinearMethod other) {
    return new PlannedLinear(name, out, in, other, scheme, range, owl, reason);
  }

  /** Returns what is pruned and how the rest is stored, in words: {@code 2:4, W4A16 group 128}. */
  String describe() {
    if (scheme == null) {
      return method.detail();
    }
    return method.detail().isEmpty() ? scheme.toString() : method.detail() + ", " + scheme;
  }
}
