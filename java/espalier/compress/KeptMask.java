// SPDX-License-Identifier: Apache-2.0
package espalier.compress;

import espalier.layer.Dense;
import espalier.layer.Scheme;
import espalier.tensor.Context;
import java.util.List;

/** Prunes nothing: what is 0 stays 0, also in what comes after it. */
public record KeptMask() implements LinearMethod {
  @Override
  public String name() {
    return "constant";
  }

  @Override
  public boolean needsStatistics() {
    return false;
  }

  @Override
  public boolean prunes() {
    return true;
  }

  @Override
  public boolean keepsZeros(Scheme scheme) {
    return true;
  }

  @Override
  public LinearResult apply(LinearInput input, Context context) {
    Dense same = new Dense(Pruning.copy(context, input.weight()), input.bias());
    return new LinearResult(same, 0, Double.NaN, List.of());
  }
}
