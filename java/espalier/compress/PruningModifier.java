// SPDX-License-Identifier: Apache-2.0
package espalier.compress;

import espalier.recipe.Modifier;
import espalier.recipe.Recipe;
import espalier.recipe.Targets;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * A modifier of a recipe that puts zeros into one linear at a time, or keeps those that are there.
 */
interface PruningModifier extends Modifier {
  /** Returns the share of zeros of every linear it works on, in model order. */
  Map<String, Double> sparsities(Recipe recipe, List<Targets.Module> modules);

  /**
   * Returns the algorithm for linears that lose a share.
   *
   * @param sparsity of {@link #sparsities}
   */
  LinearMethod method(double sparsity);

  /** Returns how sparsity is spread over the blocks, if it is. */
  default Optional<Owl> owl() {
    return Optional.empty();
  }
}
