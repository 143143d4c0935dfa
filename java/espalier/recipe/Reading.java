// SPDX-License-Identifier: Apache-2.0
package espalier.recipe;

import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * A modifier as read and validated, its options by name: the form of the modifiers that have no
 * record of their own.
 *
 * @param type the modifier's name in recipes
 * @param group the key of the enclosing group without {@code _modifiers}
 * @param options every option after defaults: text, Integer, Double, Boolean, List, Map or null
 * @param groups the schemes it sets, empty if it does not quantize
 * @param targets what it works on, empty if the model's family decides
 * @param ignore what it spares
 * @param needsCalibration whether it must see data
 * @param needsLaterQuantizer whether it is pointless unless a later modifier quantizes
 */
public record Reading(
    String type,
    String group,
    Map<String, Object> options,
    List<SchemeGroup> groups,
    List<String> targets,
    List<String> ignore,
    boolean needsCalibration,
    boolean needsLaterQuantizer)
    implements Modifier {

  /**
   * A pair of SmoothQuant or AWQ: scales move from the outputs of one layer into others.
   *
   * @param balance entries for the layers that take the scales in
   * @param smooth the entry for the layer that gives them
   * @param hook the entry for the module whose input is measured, or null for the balance layers
   */
  public record Coupling(List<String> balance, String smooth, String hook) {
    /** Copies the list. */
    public Coupling {
      balance = List.copyOf(balance);
    }
  }

  /** Copies the collections. */
  public Reading {
    options = Collections.unmodifiableMap(new LinkedHashMap<>(options));
    groups = List.copyOf(groups);
    targets = List.copyOf(targets);
    ignore = List.copyOf(ignore);
  }

  /** Returns a numeric option; throws ClassCastException if it is none. */
  public double number(String option) {
    return ((Number) options.get(option)).doubleValue();
  }

  /** Returns a text option or null; throws ClassCastException if it is none. */
  public String text(String option) {
    return (String) options.get(option);
  }

  /** Returns the pairs of SmoothQuantModifier or AWQModifier; null if the family decides. */
  public List<Coupling> couplings() {
    List<?> couplings = (List<?>) options.get("mappings");
    return couplings == null ? null : couplings.stream().map(Coupling.class::cast).toList();
  }
}
