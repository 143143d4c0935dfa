// SPDX-License-Identifier: Apache-2.0
package espalier.compress;

import espalier.kernel.Prune;
import espalier.layer.Linear;
import espalier.model.Model;
import espalier.recipe.Modifier;
import espalier.recipe.Pruner;
import espalier.recipe.PrunerOptions;
import espalier.recipe.Recipe;
import espalier.recipe.Targets;
import espalier.report.EspalierException;
import espalier.report.Event;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/** Which methods of a recipe prune which linears of a model, in the order they stand in. */
final class PruningPlan {
  private final Map<String, List<LinearMethod>> methods = new HashMap<>();
  private final Map<String, Owl> owls = new HashMap<>();
  private final Recipe recipe;
  private final Model model;
  private final List<Event> events;

  /**
   * Resolves the pruning modifiers of a recipe.
   *
   * @param quantizers what quantizes which linear
   * @param events hears what a user should know
   * @throws EspalierException (USAGE) for a pattern that a linear cannot have, a pruner behind the
   *     quantizer of a linear, or lists that do not fit the model
   */
  PruningPlan(
      Recipe recipe,
      Model model,
      List<Targets.Module> modules,
      Map<String, Targets.Assignment> quantizers,
      List<Event> events) {
    this.recipe = recipe;
    this.model = model;
    this.events = events;
    List<Modifier> order = recipe.modifiers();
    for (int i = 0; i < order.size(); i++) {
      if (order.get(i) instanceof PruningModifier modifier) {
        List<Modifier> earlier = order.subList(0, i);
        options(modifier);
        modifier
            .sparsities(recipe, modules)
            .forEach(
                (name, sparsity) -> {
                  refuseBehind(name, modifier, quantizers.get(name), earlier);
                  add(name, modifier, sparsity);
                });
      }
    }
  }

  /** Checks what does not depend on a linear. */
  private void options(PruningModifier modifier) {
    if (!(modifier instanceof Pruner pruner)) {
      return;
    }
    PrunerOptions options = pruner.options();
    if (options.blockSize() > Prune.MOST_COLUMNS) {
      events.add(
          Event.warning(
              "block-size-limited",
              modifier.type(),
              "block_size "
                  + options.blockSize()
                  + ": weights compete within "
                  + Prune.MOST_COLUMNS
                  + " columns at most here"));
    }
    if (options.maskM() == 0) {
      return;
    }
    double share = (double) options.maskN() / options.maskM();
    if (options.sparsity().stream().anyMatch(s -> Math.abs(s - share) > 1e-9)) {
      events.add(
          Event.warning(
              "pattern-decides",
              modifier.type(),
              "the pattern "
                  + options.maskN()
                  + ":"
                  + options.maskM()
                  + " decides how much is pruned, not sparsity"));
    }
    if (options.profile() != null) {
      events.add(
          Event.warning(
              "owl-without-effect",
              modifier.type(),
              "a pattern leaves nothing for owl to spread: all blocks are pruned alike"));
    }
  }

  private void refuseBehind(
      String name, PruningModifier modifier, Targets.Assignment quantizer, List<Modifier> earlier) {
    if (quantizer != null && earlier.contains(quantizer.modifier())) {
      throw recipe.error(
          modifier,
          "",
          modifier.type()
              + " stands behind "
              + quantizer.modifier().type()
              + ", which quantizes "
              + name
              + ": prune first, then quantize");
    }
  }

  private void add(String name, PruningModifier modifier, double sparsity) {
    Linear linear = model.linears().get(name);
    if (linear == null) {
      events.add(
          Event.warning(
              "not-pruned",
              name,
              "is no linear of its own (it shares its weights) and is left alone by "
                  + modifier.type()));
      return;
    }
    LinearMethod method = modifier.method(sparsity);
    if (method instanceof PruningMethod pruning) {
      check(name, linear, pruning.pattern());
      boolean spread = modifier.owl().isPresent() && pruning.pattern().isUnstructured();
      if (pruning.pattern().sparsity() == 0 && !spread) {
        return;
      }
      if (spread) {
        owls.put(name, modifier.owl().get());
      }
    }
    methods.computeIfAbsent(name, n -> new ArrayList<>()).add(method);
  }

  private void check(String name, Linear linear, Pattern pattern) {
    check(name, linear, pattern, events);
  }

  /** Refuses a pattern that a linear cannot have; tells of a rest of its columns. */
  static void check(String name, Linear linear, Pattern pattern, List<Event> events) {
    if (pattern.m() > Prune.MOST_COLUMNS) {
      throw EspalierException.unsupported(
          name
              + ": pattern "
              + pattern.text()
              + " is wider than "
              + Prune.MOST_COLUMNS
              + " columns",
          "Choose a smaller m with the same share.");
    }
    pattern.check(name, linear.inFeatures()).ifPresent(events::add);
  }

  /** Returns the pruning methods of a linear in order, empty for none. */
  List<LinearMethod> of(String name) {
    return methods.getOrDefault(name, List.of());
  }

  /** Returns how the sparsity of a linear is spread over the blocks, or null. */
  Owl owl(String name) {
    return owls.get(name);
  }
}
