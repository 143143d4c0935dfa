// SPDX-License-Identifier: Apache-2.0
package espalier.gradient;

import espalier.tensor.Tensor;

/**
 * A tensor that training changes.
 *
 * @param name as the checkpoint spells it
 * @param value F32, read and written in place; whoever made it owns it
 * @param gradient F32 of the same shape, summed over the sequences of a step
 * @param decays whether weight decay applies to it: to matrices, not to norms and biases
 */
public record Parameter(String name, Tensor value, Tensor gradient, boolean decays) {}
