// SPDX-License-Identifier: Apache-2.0
package espalier.recipe;

import java.util.Objects;
import java.util.function.Function;

/**
 * A modifier that recipes may name.
 *
 * @param name as in recipes: {@code GPTQModifier}
 * @param factory reads the options; null only for a type whose options are not read either
 * @param notBuilt null if the modifier works; else one sentence that says why it does not, after
 *     which the options, once validated, are refused
 */
public record ModifierType(String name, Function<Options, Modifier> factory, String notBuilt) {
  /** Checks that a working type has a factory. */
  public ModifierType {
    Objects.requireNonNull(name);
    if (notBuilt == null) {
      Objects.requireNonNull(factory);
    }
  }

  /** A type that works. */
  public static ModifierType of(String name, Function<Options, Modifier> factory) {
    return new ModifierType(name, factory, null);
  }

  /** A type whose options are validated before it is refused. */
  public static ModifierType notBuilt(
      String name, Function<Options, Modifier> factory, String reason) {
    return new ModifierType(name, factory, Objects.requireNonNull(reason));
  }

  /** A type that is known by name only, and refused. */
  public static ModifierType notBuilt(String name, String reason) {
    return new ModifierType(name, null, Objects.requireNonNull(reason));
  }
}
