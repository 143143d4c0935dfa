// SPDX-License-Identifier: Apache-2.0
package espalier.recipe;

import java.util.List;

/**
 * A modifier that prunes by layer: a record with one component {@link #options} has all it needs.
 */
public interface Pruner extends Modifier {
  /** Returns the options as read. */
  PrunerOptions options();

  @Override
  default String type() {
    return options().type();
  }

  @Override
  default String group() {
    return options().group();
  }

  @Override
  default List<SchemeGroup> groups() {
    return List.of();
  }

  @Override
  default List<String> targets() {
    return options().targets();
  }

  @Override
  default List<String> ignore() {
    return options().ignore();
  }

  @Override
  default boolean needsCalibration() {
    return true;
  }
}
