// SPDX-License-Identifier: Apache-2.0
package espalier.compress;

import espalier.recipe.Options;
import espalier.recipe.Pruner;
import espalier.recipe.PrunerOptions;
import espalier.recipe.Recipe;
import espalier.recipe.Targets;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/** {@code WandaPruningModifier} of recipes: {@link Wanda}. */
record WandaModifier(PrunerOptions options) implements Pruner, PruningModifier {
  static WandaModifier read(Options options) {
    return new WandaModifier(PrunerOptions.read(options, false));
  }

  @Override
  public Map<String, Double> sparsities(Recipe recipe, List<Targets.Module> modules) {
    return Targets.sparsities(recipe, this, modules);
  }

  @Override
  public LinearMethod method(double sparsity) {
    return new Wanda(SparseGptModifier.pattern(options, sparsity));
  }

  @Override
  public Optional<Owl> owl() {
    return Owl.of(options);
  }
}
