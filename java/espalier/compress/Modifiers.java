// SPDX-License-Identifier: Apache-2.0
package espalier.compress;

import espalier.recipe.AutoRound;
import espalier.recipe.Modifier;
import espalier.recipe.ModifierType;
import espalier.recipe.Options;
import espalier.recipe.Pruners;
import espalier.recipe.Registry;
import espalier.recipe.Transforms;
import java.util.List;
import java.util.function.Function;

/** Every modifier a recipe may name: one line each. */
public final class Modifiers {
  public static final Registry REGISTRY =
      new Registry(
          List.of(
              ModifierType.of("GPTQModifier", GptqModifier::read),
              ModifierType.of("QuantizationModifier", RoundingModifier::read),
              ModifierType.of("SparseGPTModifier", SparseGptModifier::read),
              ModifierType.of("SparseGPTQuantizationModifier", JointModifier::read),
              ModifierType.of("WandaPruningModifier", WandaModifier::read),
              ModifierType.of("MagnitudePruningModifier", MagnitudeModifier::read),
              ModifierType.of("ConstantPruningModifier", ConstantModifier::read),
              later("REAPPruningModifier", Pruners::experts),
              later("SmoothQuantModifier", Transforms::smoothQuant),
              later("LogarithmicEqualizationModifier", Transforms::logarithmicEqualization),
              later("AWQModifier", Transforms::awq),
              later("QuIPModifier", Transforms::quip),
              later("SpinQuantModifier", Transforms::spinQuant),
              later("AutoRoundModifier", AutoRound::read)));

  private Modifiers() {}

  /** A modifier whose options are checked and which is then refused by name. */
  private static ModifierType later(String name, Function<Options, Modifier> read) {
    return ModifierType.notBuilt(
        name, read, "its options are read and checked, but its algorithm comes later");
  }
}
