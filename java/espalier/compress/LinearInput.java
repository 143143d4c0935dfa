// SPDX-License-Identifier: Apache-2.0
package espalier.compress;

import espalier.kernel.Quantize;
import espalier.kernel.ScaleType;
import espalier.layer.Scheme;
import espalier.tensor.DType;
import espalier.tensor.Tensor;

/**
 * All that a per-linear algorithm sees.
 *
 * @param name full module name, for messages
 * @param weight F32 [out, in]; not to be changed
 * @param bias F32 [out] or null, passed through
 * @param scheme bits, symmetry and group; null when nothing is rounded
 * @param range how the range of a group is found; null without a scheme
 * @param scaleType what scales are rounded to: exact in every format of the output
 * @param statistics of the input, or null when the algorithm asked for none
 */
public record LinearInput(
    String name,
    Tensor weight,
    Tensor bias,
    Scheme scheme,
    Quantize.Range range,
    ScaleType scaleType,
    Statistics statistics) {
  /** Creates an input whose scales only have to be exact in one stored type. */
  public LinearInput(
      String name,
      Tensor weight,
      Tensor bias,
      Scheme scheme,
      Quantize.Range range,
      DType scaleType,
      Statistics statistics) {
    this(name, weight, bias, scheme, range, ScaleType.of(scaleType), statistics);
  }

  /** Returns the same with another weight of this shape. */
  LinearInput withWeight(Tensor other) {
    return new LinearInput(name, other, bias, scheme, range, scaleType, statistics);
  }

  /** Returns the same with another scheme, null for none. */
  LinearInput withScheme(Scheme other, Quantize.Range otherRange) {
    return new LinearInput(name, weight, bias, other, otherRange, scaleType, statistics);
  }
}
