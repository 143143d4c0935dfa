// SPDX-License-Identifier: Apache-2.0
package espalier.gradient;

import espalier.kernel.Optimize;
import espalier.tensor.Context;
import espalier.tensor.Tensor;
import java.util.List;
import java.util.Map;

/**
 * AdamW (arXiv 1711.05101, algorithm 2, with PyTorch's order: decay first). Symbols: m moment, v
 * square, k the step from 1, η the rate, λ the decay.
 *
 * <pre>
 * p −= η λ p;  m = β₁ m + (1 − β₁) g;  v = β₂ v + (1 − β₂) g²
 * p −= η (m / (1 − β₁ᵏ)) / (√(v / (1 − β₂ᵏ)) + ε)
 * </pre>
 *
 * State is fp32, 8 bytes a parameter.
 */
public final class AdamW implements Optimizer {
  /**
   * The usual numbers.
   *
   * @param decay λ, of parameters that decay
   */
  public record Settings(double beta1, double beta2, double eps, double decay) {}

  private final List<Parameter> parameters;
  private final Settings settings;
  private final OptimizerState state = new OptimizerState();
  private final List<Tensor> moments;
  private final List<Tensor> squares;

  public AdamW(List<Parameter> parameters, Settings settings) {
    this.parameters = List.copyOf(parameters);
    this.settings = settings;
    this.moments = state.add("moment", parameters);
    this.squares = state.add("square", parameters);
  }

  @Override
  public void step(Context context, long step, double rate, double gradientFactor) {
    for (int i = 0; i < parameters.size(); i++) {
      Parameter p = parameters.get(i);
      Optimize.adamW(
          context,
          step,
          rate,
          settings.beta1(),
          settings.beta2(),
          settings.eps(),
          p.decays() ? settings.decay() : 0,
          gradientFactor,
          p.gradient(),
          moments.get(i),
          squares.get(i),
          p.value());
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
