// SPDX-License-Identifier: Apache-2.0
package espalier.compress;

import espalier.recipe.Modifier;
import espalier.recipe.Options;
import espalier.recipe.Pruners;
import espalier.recipe.ReadPruner;
import espalier.recipe.Reading;
import espalier.recipe.Recipe;
import espalier.recipe.Targets;
import espalier.report.EspalierException;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * {@code MagnitudePruningModifier} of recipes: {@link Magnitude} at the final sparsity. A schedule
 * is for training; there is one step here. {@code mask_structure} also takes {@code row} (every row
 * loses the same share) and n:m, which are ours.
 */
record MagnitudeModifier(Reading reading) implements ReadPruner, PruningModifier {
  static MagnitudeModifier read(Options options) {
    return new MagnitudeModifier(Pruners.magnitude(options));
  }

  /** The linears that targets name, each with the same share. */
  static Map<String, Double> all(Modifier modifier, List<Targets.Module> modules, double share) {
    Map<String, Double> sparsities = new LinkedHashMap<>();
    Targets.pruned(modifier, modules)
        .values()
        .forEach(inside -> inside.forEach(name -> sparsities.put(name, share)));
    return sparsities;
  }

  @Override
  public Map<String, Double> sparsities(Recipe recipe, List<Targets.Module> modules) {
    return all(this, modules, reading.number("final_sparsity"));
  }

  @Override
  public LinearMethod method(double sparsity) {
    String structure = reading.text("mask_structure");
    if (structure.matches("[0-9]+:[0-9]+")) {
      String[] parts = structure.split(":");
      return new Magnitude(
          Pattern.of(Integer.parseInt(parts[0]), Integer.parseInt(parts[1])), true);
    }
    return switch (structure) {
      case "unstructured" -> new Magnitude(Pattern.of(sparsity), false);
      case "row" -> new Magnitude(Pattern.of(sparsity), true);
      default ->
          throw EspalierException.unsupported(
              type() + ": mask_structure " + structure + " is not built yet",
              "Use unstructured, row, or n:m such as \"2:4\".");
    };
  }
}
