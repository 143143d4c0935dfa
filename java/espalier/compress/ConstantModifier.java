// SPDX-License-Identifier: Apache-2.0
package espalier.compress;

import espalier.recipe.Options;
import espalier.recipe.Pruners;
import espalier.recipe.ReadPruner;
import espalier.recipe.Reading;
import espalier.recipe.Recipe;
import espalier.recipe.Targets;
import java.util.List;
import java.util.Map;

/** {@code ConstantPruningModifier} of recipes: {@link KeptMask}. */
record ConstantModifier(Reading reading) implements ReadPruner, PruningModifier {
  static ConstantModifier read(Options options) {
    return new ConstantModifier(Pruners.constant(options));
  }

  @Override
  public Map<String, Double> sparsities(Recipe recipe, List<Targets.Module> modules) {
    return MagnitudeModifier.all(this, modules, 1); // whatever is there
  }

  @Override
  public LinearMethod method(double sparsity) {
    return new KeptMask();
  }
}
