// SPDX-License-Identifier: Apache-2.0
package espalier.model;

import espalier.tensor.Tensor;

/**
 * Where a sequence stands inside a block.
 *
 * @param residual the residual stream, F32 [tokens, hidden]
 * @param input what the next step's linears read, F32 [tokens, their inFeatures]; null after the
 *     last step
 */
public record State(Tensor residual, Tensor input) {}
