// SPDX-License-Identifier: Apache-2.0
package espalier.compress;

import espalier.layer.Linear;
import espalier.layer.Quantized;
import espalier.report.Event;
import java.util.List;

/**
 * What a per-linear algorithm gives back.
 *
 * @param linear the new form; its tensors lie in the scope the algorithm ran in
 * @param relativeError tr((W−Q)H(W−Q)ᵀ) / tr(WHWᵀ), H = I without statistics
 * @param nearestError the same for rounding to nearest, NaN when not measured
 * @param events what a user should know
 */
public record LinearResult(
    Linear linear, double relativeError, double nearestError, List<Event> events) {
  /** Returns the linear as the quantized form that the integer algorithms of this package make. */
  public Quantized quantized() {
    return (Quantized) linear;
  }
}
