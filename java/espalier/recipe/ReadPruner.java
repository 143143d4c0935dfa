// SPDX-License-Identifier: Apache-2.0
package espalier.recipe;

import java.util.List;

/**
 * A modifier that prunes without data: a record with one component {@link #reading} has all it
 * needs.
 */
public interface ReadPruner extends Modifier {
  /** Returns the modifier as read. */
  Reading reading();

  @Override
  default String type() {
    return reading().type();
  }

  @Override
  default String group() {
    return reading().group();
  }

  @Override
  default List<SchemeGroup> groups() {
    return List.of();
  }

  @Override
  default List<String> targets() {
    return reading().targets();
  }

  @Override
  default List<String> ignore() {
    return reading().ignore();
  }

  @Override
  default boolean needsCalibration() {
    return false;
  }
}
