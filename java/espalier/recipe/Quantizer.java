// SPDX-License-Identifier: Apache-2.0
package espalier.recipe;

import java.util.List;
import java.util.Optional;

/** A modifier that quantizes: a record with one component {@link #options} has all it needs. */
public interface Quantizer extends Modifier {
  /** Returns the options as read. */
  QuantizerOptions options();

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
    return options().groups();
  }

  @Override
  default List<String> ignore() {
    return options().ignore();
  }

  @Override
  default boolean needsCalibration() {
    return options().needsCalibration();
  }

  @Override
  default Optional<QuantizationArgs> cache() {
    return Optional.ofNullable(options().kvCache());
  }

  @Override
  default boolean follows() {
    return options().follows();
  }

  @Override
  default boolean bypassesDivisibility() {
    return options().bypassesDivisibility();
  }
}
