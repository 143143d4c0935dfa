// SPDX-License-Identifier: Apache-2.0
package espalier.recipe;

import java.util.List;

/**
 * A set of targets and how their weights and activations are quantized.
 *
 * @param name the key in {@code config_groups}, or {@code group_0}, {@code group_1} … for presets
 * @param targets names, classes and {@code re:} patterns
 * @param weights null if weights stay as they are
 * @param inputs input activations, or null
 * @param outputs output activations, or null
 * @param format the compression format asked for, or null to let the writer choose
 */
public record SchemeGroup(
    String name,
    List<String> targets,
    QuantizationArgs weights,
    QuantizationArgs inputs,
    QuantizationArgs outputs,
    String format) {
  /** Copies the list. */
  public SchemeGroup {
    targets = List.copyOf(targets);
  }

  /**
   * Of the name alone, which is nearly enough: the one a record gets is made at run time, slowly.
   */
  @Override
  public int hashCode() {
    return name.hashCode();
  }

  /** Returns whether the group quantizes nothing at all. */
  public boolean isEmpty() {
    return weights == null && inputs == null && outputs == null;
  }

  /** Returns whether the other group quantizes alike, whatever its name and targets. */
  public boolean sameScheme(SchemeGroup other) {
    return withTargets("", List.of()).equals(other.withTargets("", List.of()));
  }

  /** Returns this scheme under another name for other targets. */
  public SchemeGroup withTargets(String newName, List<String> newTargets) {
    return new SchemeGroup(newName, newTargets, weights, inputs, outputs, format);
  }

  /** Returns this group with other weights. */
  public SchemeGroup withWeights(QuantizationArgs newWeights) {
    return new SchemeGroup(name, targets, newWeights, inputs, outputs, format);
  }
}
