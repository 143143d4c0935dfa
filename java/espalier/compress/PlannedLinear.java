// SPDX-License-Identifier: Apache-2.0
package espalier.compress;

import espalier.kernel.Quantize;
import espalier.layer.Scheme;

/**
 * What will happen to one linear.
 *
 * @param name canonical module name
 * @param out rows of its matrix
 * @param in columns of its matrix
 * @param method the algorithm, or null when the linear is left alone
 * @param scheme bits, symmetry and group; null when left alone
 * @param range how ranges are found; null when left alone
 * @param reason why it is left alone, or empty
 */
record PlannedLinear(
    String name,
    long out,
    long in,
    LinearMethod method,
    Scheme scheme,
    Quantize.Range range,
    String reason) {
  static PlannedLinear untouched(String name, long out, long in, String reason) {
    return new PlannedLinear(name, out, in, null, null, null, reason);
  }

  boolean isCompressed() {
    return method != null;
  }
}
