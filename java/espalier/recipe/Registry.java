// SPDX-License-Identifier: Apache-2.0
package espalier.recipe;

import java.util.HashSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;

/** The modifiers a recipe may name: an immutable ordered list. */
public final class Registry {
  private final List<ModifierType> types;

  /** Creates a registry; throws IllegalArgumentException if a name is given twice. */
  public Registry(List<ModifierType> types) {
    this.types = List.copyOf(types);
    Set<String> names = new HashSet<>();
    for (ModifierType type : types) {
      if (!names.add(type.name())) {
        throw new IllegalArgumentException("modifier " + type.name() + " is listed twice");
      }
    }
  }

  /** Returns every type in listed order. */
  public List<ModifierType> types() {
    return types;
  }

  /** Returns the type of that exact name. */
  public Optional<ModifierType> find(String name) {
    return types.stream().filter(type -> type.name().equals(name)).findFirst();
  }

  /** Returns the known name that {@code name} was probably meant to be. */
  public Optional<String> nearest(String name) {
    return Nearest.of(name, types.stream().map(ModifierType::name).toList());
  }
}
