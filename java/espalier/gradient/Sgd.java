// SPDX-License-Identifier: Apache-2.0
package espalier.gradient;

import espalier.kernel.Optimize;
import espalier.tensor.Context;
import espalier.tensor.Tensor;
import java.util.List;
import java.util.Map;

/**
 * Stochastic gradient descent with momentum µ and decay λ apart from the gradient: v = µ v + g; p
 * −= η λ p + η v. Without momentum it keeps no state.
 */
public final class Sgd implements Optimizer {
  private final List<Parameter> parameters;
  private final double momentum;
  private final double decay;
  private final OptimizerState state = new OptimizerState();
  private final List<Tensor> velocities; // empty without momentum

  public Sgd(List<Parameter> parameters, double momentum, double decay) {
    this.parameters = List.copyOf(parameters);
    this.momentum = momentum;
    this.decay = decay;
    this.velocities = momentum == 0 ? List.of() : state.add("velocity", parameters);
  }

  @Override
  public void step(Context context, long step, double rate, double gradientFactor) {
    for (int i = 0; i < parameters.size(); i++) {
      Parameter p = parameters.get(i);
      Tensor velocity = velocities.isEmpty() ? null : velocities.get(i);
      double own = p.decays() ? decay : 0;
      Optimize.descend(
          context, false, rate, momentum, own, gradientFactor, p.gradient(), velocity, p.value());
    }
  }

  @Override
  public Map<String, Tensor> state() {
    return state.tensors();
  }

  @Override
  public void close() {
    state.close();
  }
}
