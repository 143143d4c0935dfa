// SPDX-License-Identifier: Apache-2.0
package espalier.compress;

import espalier.kernel.Quantize;
import espalier.layer.Scheme;
import espalier.tensor.DType;
import espalier.tensor.Tensor;

/**
 * All that a per-linear algorithm sees.
 *
 * @param name full module name, for messages
 * @param weight F32 [out, in]; not to be changed
 * @param bias F32 [out] or null, passed through
 * @param scheme bits, symmetry and group
 * @param range how the range of a group is found
 * @param scaleType type the scales will be stored in
 * @param statistics of the input, or null when the algorithm asked for none
 */
public record LinearInput(
    String name,
    Tensor weight,
    Tensor bias,
    Scheme scheme,
    Quantize.Range range,
    DType scaleType,
    Statistics statistics) {}
