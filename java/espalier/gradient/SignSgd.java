// SPDX-License-Identifier: Apache-2.0
package espalier.gradient;

import espalier.kernel.Optimize;
import espalier.tensor.Context;
import espalier.tensor.Tensor;
import java.util.List;
import java.util.Map;

/**
 * Descent by the sign of the gradient (arXiv 1802.04434): p −= η λ p + η sign(g). The rate is the
 * size of every step, which suits parameters of a known range, such as rounding offsets. No state.
 */
public final class SignSgd implements Optimizer {
  private final List<Parameter> parameters;
  private final double decay;

  public SignSgd(List<Parameter> parameters, double decay) {
    this.parameters = List.copyOf(parameters);
    this.decay = decay;
  }

  @Override
  public void step(Context context, long step, double rate, double gradientFactor) {
    for (Parameter p : parameters) {
      double own = p.decays() ? decay : 0;
      Optimize.descend(context, true, rate, 0, own, gradientFactor, p.gradient(), null, p.value());
    }
  }

  @Override
  public Map<String, Tensor> state() {
    return Map.of();
  }

  @Override
  public void close() {}
}
