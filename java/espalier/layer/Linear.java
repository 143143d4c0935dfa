// SPDX-License-Identifier: Apache-2.0
package espalier.layer;

import espalier.kernel.Ops;
import espalier.tensor.Context;
import espalier.tensor.Tensor;

/**
 * A linear map y = x·Wᵀ + b in one of several stored forms. A form never owns its tensors: the
 * checkpoint or the scope they came from does.
 */
public sealed interface Linear permits Dense, Quantized, Sparse, SparseQuantized {
  long inFeatures();

  long outFeatures();

  /** Returns the bias F32 [out], or null. */
  Tensor bias();

  /** Returns F32 [tokens, out] for x F32 [tokens, in], computed from the stored form. */
  Tensor forward(Ops ops, Tensor x);

  /**
   * Returns the matrix as F32 [out, in] in the context's current scope (a copy unless it is stored
   * so). For solvers and checks; a forward pass never calls it.
   */
  Tensor weight(Context context);

  /** Returns stored bits per weight: values, places, scales and zero points over out · in. */
  double bitsPerWeight();

  /** Returns the same map without a bias. */
  Linear withoutBias();
}
