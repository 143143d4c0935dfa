// SPDX-License-Identifier: Apache-2.0
package espalier.model;

import espalier.kernel.Ops;
import espalier.layer.Linear;
import espalier.tensor.Tensor;
import java.util.List;
import java.util.Map;

/**
 * One transformer layer as a short list of steps over named linears. {@code forward} folds the
 * steps; calibration walks them one by one, swapping linears as it goes.
 */
public interface Block {
  /** Returns the linears by full module name ("model.layers.0.self_attn.q_proj"), in step order. */
  Map<String, Linear> linears();

  /** Replaces a linear by another form of the same in and out features. */
  void swap(String name, Linear linear);

  /** Returns the state at the first step's input. */
  State begin(Ops ops, Tensor hidden);

  List<Step> steps();

  /** Returns the hidden states after this block: F32 [tokens, hidden] for the same shape. */
  default Tensor forward(Ops ops, Tensor hidden, Past past) {
    State state = begin(ops, hidden);
    for (Step step : steps()) {
      for (String linear : step.linears()) {
        ops.observe(linear, state.input());
      }
      state = step.apply(ops, state, past);
    }
    return state.residual();
  }
}
