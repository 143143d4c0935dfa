// SPDX-License-Identifier: Apache-2.0
package espalier.recipe;

import java.util.List;

/**
 * A labelled run of modifiers. Stages only label: all modifiers of a recipe run as one list.
 *
 * @param name the key without {@code _stage}
 * @param modifiers in order of execution
 */
public record Stage(String name, List<Modifier> modifiers) {
  /** Copies the list. */
  public Stage {
    modifiers = List.copyOf(modifiers);
  }
}
