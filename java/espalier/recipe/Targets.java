// SPDX-License-Identifier: Apache-2.0
package espalier.recipe;

import espalier.report.EspalierException;
import espalier.report.Event;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;

/**
 * Which modifier quantizes which module. Within a modifier ignore wins over targets; an exact name
 * over a pattern over a class; among equals the text that sorts first. A later modifier resets what
 * it targets and does not ignore.
 */
public final class Targets {
  /** Modules a modifier may prune. */
  static final Set<String> PRUNABLE = Set.of("Linear", "Conv1d", "Conv2d", "Conv3d");

  /** Modules whose weights may receive a scheme. */
  static final Set<String> QUANTIZABLE = Set.of("Linear", "Embedding");

  private Targets() {}

  /**
   * One named part of a model.
   *
   * @param name dotted path from the root
   * @param className class as upstream names it: {@code Linear}, {@code LlamaMLP}
   * @param bases names of the classes it derives from
   * @param columns input features of a weight matrix, or 0 where there is none or it is unknown
   */
  public record Module(String name, String className, List<String> bases, long columns) {
    /** Copies the list. */
    public Module {
      bases = List.copyOf(bases);
    }

    /** A module of unknown width. */
    public Module(String name, String className, List<String> bases) {
      this(name, className, bases, 0);
    }

    boolean isOne(Set<String> classes) {
      return classes.contains(className) || bases.stream().anyMatch(classes::contains);
    }

    boolean isAttention() {
      return className.toLowerCase(Locale.ROOT).contains("attention");
    }
  }

  /**
   * What happens to a module.
   *
   * @param modifier the modifier that does it
   * @param group the scheme; it is the earlier modifier's if {@code modifier} follows one
   * @param target the entry that claimed the module
   */
  public record Assignment(Modifier modifier, SchemeGroup group, String target) {}

  /**
   * The outcome for a model.
   *
   * @param assigned quantizable module to what happens to it, in model order
   * @param ignored quantizable modules that a target claims and an ignore entry spares
   * @param untargeted all other quantizable modules
   * @param attention attention module to the scheme of its queries, keys and values or of its cache
   * @param unmatchedTargets target entries that name nothing in the model
   * @param unmatchedIgnores ignore entries that name nothing in the model
   * @param errors what a plan must refuse, unmatched targets first
   * @param notes what a plan should say: unmatched ignore entries, overlaps, entries without effect
   */
  public record Resolution(
      Map<String, Assignment> assigned,
      List<String> ignored,
      List<String> untargeted,
      Map<String, QuantizationArgs> attention,
      List<String> unmatchedTargets,
      List<String> unmatchedIgnores,
      List<EspalierException> errors,
      List<Event> notes) {
    /** Throws the first error, if any. */
    public void check() {
      if (!errors.isEmpty()) {
        throw errors.get(0);
      }
    }
  }

  /** Resolves every modifier of a recipe over the modules of a model, parents before children. */
  public static Resolution resolve(Recipe recipe, List<Module> modules) {
    return new TargetResolver(recipe, modules).resolve();
  }

  /**
   * Returns the sparsity of every module that {@code pruner} prunes, in model order. A target that
   * is a container prunes the linears and convolutions inside; a list of sparsities has one entry
   * per matched target in model order, else a usage error is thrown.
   */
  public static Map<String, Double> sparsities(Recipe recipe, Pruner pruner, List<Module> modules) {
    Map<String, List<String>> matched = pruned(pruner, modules);
    List<Double> values = pruner.options().sparsity();
    if (pruner.options().perTarget() && values.size() != matched.size()) {
      throw recipe.error(
          pruner, "sparsity", values.size() + " values for " + matched.size() + " matched targets");
    }
    Map<String, Double> sparsities = new LinkedHashMap<>();
    int target = 0;
    for (List<String> inside : matched.values()) {
      double value = values.get(pruner.options().perTarget() ? target : 0);
      inside.forEach(name -> sparsities.putIfAbsent(name, value));
      target++;
    }
    return sparsities;
  }

  /**
   * Returns, for every module a target of {@code modifier} matches, the prunable modules inside it
   * (itself included) that no ignore entry matches by its own name.
   */
  public static Map<String, List<String>> pruned(Modifier modifier, List<Module> modules) {
    List<Selector> targets = Selector.all(modifier.targets());
    List<Selector> ignores = Selector.all(modifier.ignore());
    Map<String, List<String>> matched = new LinkedHashMap<>();
    for (Module module : modules) {
      if (!Selector.any(targets, module)) {
        continue;
      }
      List<String> inside = new ArrayList<>();
      for (Module candidate : modules) {
        boolean within =
            candidate.name().equals(module.name())
                || candidate.name().startsWith(module.name() + ".");
        if (within && candidate.isOne(PRUNABLE) && !Selector.any(ignores, candidate)) {
          inside.add(candidate.name());
        }
      }
      matched.put(module.name(), inside);
    }
    return matched;
  }
}
