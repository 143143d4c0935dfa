// SPDX-License-Identifier: Apache-2.0
package espalier.gradient;

import espalier.tensor.Context;
import espalier.tensor.Tensor;
import java.util.Map;

/** Changes parameters by their gradients. It owns its state and is closed with it. */
public interface Optimizer extends AutoCloseable {
  /**
   * Takes a step.
   *
   * @param step counts from 1
   * @param rate the learning rate of this step
   * @param gradientFactor every gradient is multiplied by it first: clipping
   */
  void step(Context context, long step, double rate, double gradientFactor);

  /**
   * Returns what the next step depends on besides the parameters, F32 by a name that ends in the
   * parameter's; written and read by whoever saves a run.
   */
  Map<String, Tensor> state();

  @Override
  void close();
}
