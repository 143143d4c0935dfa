// SPDX-License-Identifier: Apache-2.0
package espalier.compress;

import espalier.recipe.ModifierType;
import espalier.recipe.Registry;
import java.util.List;

/** Every modifier a recipe may name: one line each. */
public final class Modifiers {
  private static final String LATER = "it is read and checked, but not built yet";

  public static final Registry REGISTRY =
      new Registry(
          List.of(
              ModifierType.of("GPTQModifier", GptqModifier::read),
              ModifierType.of("QuantizationModifier", RoundingModifier::read)));

  private Modifiers() {}
}
