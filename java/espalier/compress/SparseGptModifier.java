// SPDX-License-Identifier: Apache-2.0
package espalier.compress;

import espalier.kernel.Prune;
import espalier.recipe.Options;
import espalier.recipe.Pruner;
import espalier.recipe.PrunerOptions;
import espalier.recipe.Recipe;
import espalier.recipe.Targets;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/** {@code SparseGPTModifier} of recipes: {@link SparseGpt}. */
record SparseGptModifier(PrunerOptions options) implements Pruner, PruningModifier {
  static SparseGptModifier read(Options options) {
    return new SparseGptModifier(PrunerOptions.read(options, true));
  }

  @Override
  public Map<String, Double> sparsities(Recipe recipe, List<Targets.Module> modules) {
    return Targets.sparsities(recipe, this, modules);
  }

  @Override
  public LinearMethod method(double sparsity) {
    return method(options, sparsity);
  }

  static SparseGpt method(PrunerOptions options, double sparsity) {
    Double damping = options.dampeningFrac();
    return new SparseGpt(
        pattern(options, sparsity),
        damping == null ? 0 : damping,
        Math.min(options.blockSize(), Prune.MOST_COLUMNS),
        options.preservesMask());
  }

  /** A pattern goes before a share. */
  static Pattern pattern(PrunerOptions options, double sparsity) {
    return options.maskM() > 0
        ? Pattern.of(options.maskN(), options.maskM())
        : Pattern.of(sparsity);
  }

  @Override
  public Optional<Owl> owl() {
    return Owl.of(options);
  }
}
