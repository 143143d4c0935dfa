// SPDX-License-Identifier: Apache-2.0
package espalier.compress;

import espalier.recipe.Modifier;
import espalier.recipe.QuantizationArgs;

/** A modifier of a recipe that compresses one linear at a time. */
public interface WeightModifier extends Modifier {
  /** Returns the algorithm for linears that the recipe gives these weights' options. */
  LinearMethod method(QuantizationArgs weights);
}
