// SPDX-License-Identifier: Apache-2.0
package espalier.recipe;

import java.util.List;
import java.util.Optional;

/**
 * One step of a recipe: a record whose components are its options. Modifiers are data; what they do
 * to a model is written elsewhere.
 */
public interface Modifier {
  /** Returns the name under which recipes know this modifier, such as {@code GPTQModifier}. */
  String type();

  /** Returns the key of the enclosing group without {@code _modifiers}. */
  String group();

  /**
   * Returns the quantization schemes this modifier sets, in written order; empty if it sets none.
   */
  List<SchemeGroup> groups();

  /** Returns the names, classes and {@code re:} patterns that are spared. */
  List<String> ignore();

  /** Returns whether the modifier must see calibration data. */
  boolean needsCalibration();

  /** Returns what the modifier works on: the targets of its groups unless it has its own. */
  default List<String> targets() {
    return groups().stream().flatMap(group -> group.targets().stream()).distinct().toList();
  }

  /** Returns the scheme of the key/value cache; it applies to every attention module. */
  default Optional<QuantizationArgs> cache() {
    return Optional.empty();
  }

  /** Returns whether this quantizer has no scheme of its own and works with the earlier ones. */
  default boolean follows() {
    return false;
  }

  /** Returns whether group sizes that do not divide the columns are let through. */
  default boolean bypassesDivisibility() {
    return false;
  }

  /** Returns whether the modifier is pointless unless a later one quantizes. */
  default boolean needsLaterQuantizer() {
    return false;
  }
}
