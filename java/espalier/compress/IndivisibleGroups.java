// SPDX-License-Identifier: Apache-2.0
package espalier.compress;

import espalier.layer.Linear;
import espalier.recipe.Modifier;
import espalier.recipe.QuantizationArgs;
import espalier.recipe.Quantizer;
import espalier.recipe.QuantizerOptions;
import espalier.recipe.Recipe;
import espalier.recipe.SchemeGroup;
import espalier.recipe.Targets;
import espalier.recipe.Targets.Assignment;
import espalier.report.EspalierException;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * The refusal of groups that do not divide the inputs of a layer: all such layers at once (a user
 * who sees one at a time gives up at the third), and the recipe that gives them one scale a row.
 */
final class IndivisibleGroups {
  private IndivisibleGroups() {}

  /** Throws a usage error if a group size of the resolution does not divide its layer. */
  static void refuse(Recipe recipe, Map<String, Linear> linears, Targets.Resolution resolution) {
    Map<String, Assignment> faulty = new LinkedHashMap<>();
    resolution
        .assigned()
        .forEach(
            (name, assignment) -> {
              if (linears.containsKey(name)
                  && !divides(assignment.group().weights(), linears.get(name).inFeatures())) {
                faulty.put(name, assignment);
              }
            });
    if (faulty.isEmpty()) {
      return;
    }
    List<String> layers = new ArrayList<>();
    faulty.forEach(
        (name, a) -> layers.add(name + " (" + linears.get(name).inFeatures() + " inputs)"));
    int size = faulty.values().iterator().next().group().weights().groupSize();
    throw EspalierException.usage(
        "group size "
            + size
            + " does not divide the inputs of "
            + layers.size()
            + " layers: "
            + String.join(", ", layers),
        hint(recipe, linears.keySet(), faulty));
  }

  private static boolean divides(QuantizationArgs weights, long columns) {
    return weights == null
        || weights.strategy() != QuantizationArgs.Strategy.GROUP
        || columns % weights.groupSize() == 0;
  }

  /** Returns a whole recipe when there is one modifier to write, else the group to add. */
  private static String hint(Recipe recipe, Set<String> all, Map<String, Assignment> faulty) {
    SchemeGroup group = faulty.values().iterator().next().group();
    List<String> targets = targets(all, faulty.keySet());
    String rows = entry("whole_rows", targets, group.withWeights(group.weights().withGroupSize(0)));
    if (recipe.modifiers().size() != 1) {
      return "Choose another group size, or add this to config_groups, which gives these layers one"
          + " scale a row:\n"
          + rows;
    }
    Modifier modifier = recipe.modifiers().get(0);
    StringBuilder yaml = new StringBuilder("Choose another group size, or one scale a row for");
    yaml.append(" these layers; as --recipe FILE.yaml:\n");
    yaml.append("default_stage:\n  default_modifiers:\n    ").append(modifier.type()).append(":\n");
    yaml.append("      ignore: ").append(flow(modifier.ignore())).append('\n');
    if (modifier instanceof JointModifier joint) {
      yaml.append(joint.pruning().yamlBeside());
    }
    if (modifier instanceof Quantizer quantizer) {
      yaml.append(solver(quantizer, group));
    }
    yaml.append("      config_groups:\n");
    for (SchemeGroup written : modifier.groups()) {
      yaml.append(entry(written.name(), written.targets(), written));
    }
    return yaml.append(rows).append(recipe.extension().yaml()).toString().stripTrailing();
  }

  /** Returns what the modifier says of its solver; of all groups, since they agree on the order. */
  private static String solver(Quantizer quantizer, SchemeGroup group) {
    QuantizerOptions.Solver solver = quantizer.options().solver();
    if (solver == null) {
      return "";
    }
    boolean ordered = group.weights().actorder() != null;
    String text = "      actorder: " + (ordered ? "static" : "null") + "\n";
    if (solver.dampeningFrac() != null && solver.dampeningFrac() != Gptq.DEFAULT_DAMPING) {
      text += "      dampening_frac: " + solver.dampeningFrac() + "\n";
    }
    return text;
  }

  private static String entry(String name, List<String> targets, SchemeGroup group) {
    String indent = " ".repeat(8);
    String text = indent + name + ":\n" + indent + "  targets: " + flow(targets) + "\n";
    if (group.weights() != null) {
      text += indent + "  weights: " + group.weights().flow() + "\n";
    }
    if (group.inputs() != null) {
      text += indent + "  input_activations: " + group.inputs().flow() + "\n";
    }
    return text;
  }

  private static String flow(List<String> entries) {
    List<String> quoted = entries.stream().map(e -> "'" + e.replace("'", "''") + "'").toList();
    return "[" + String.join(", ", quoted) + "]";
  }

  /** One pattern for every last name that only faulty layers have, the others by name. */
  private static List<String> targets(Set<String> all, Set<String> faulty) {
    Set<String> targets = new LinkedHashSet<>();
    for (String name : faulty) {
      String last = name.substring(name.lastIndexOf('.') + 1);
      boolean alike = all.stream().filter(n -> n.endsWith("." + last)).allMatch(faulty::contains);
      targets.add(alike ? "re:.*\\." + last.replace(".", "\\.") + "$" : name);
    }
    return List.copyOf(targets);
  }
}
