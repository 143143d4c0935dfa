// SPDX-License-Identifier: Apache-2.0
package espalier.recipe;

import java.util.List;

/** Registries for tests: the reading of recipes needs no algorithm. */
final class Registries {
  private Registries() {}

  /** A quantizer that does nothing. */
  record Rounding(QuantizerOptions options) implements Quantizer {}

  /** A pruner that does nothing. */
  record Pruning(PrunerOptions options) implements Pruner {}

  /** Every modifier that can be read, as if all were built. */
  static Registry all() {
    return new Registry(
        List.of(
            ModifierType.of(
                "QuantizationModifier", o -> new Rounding(QuantizerOptions.read(o, false))),
            ModifierType.of("GPTQModifier", o -> new Rounding(QuantizerOptions.read(o, true))),
            ModifierType.of("SparseGPTModifier", o -> new Pruning(PrunerOptions.read(o, true))),
            ModifierType.of("WandaPruningModifier", o -> new Pruning(PrunerOptions.read(o, false))),
            ModifierType.of("SmoothQuantModifier", Transforms::smoothQuant),
            ModifierType.of("LogarithmicEqualizationModifier", Transforms::logarithmicEqualization),
            ModifierType.of("AWQModifier", Transforms::awq),
            ModifierType.of("QuIPModifier", Transforms::quip),
            ModifierType.of("SpinQuantModifier", Transforms::spinQuant),
            ModifierType.of("AutoRoundModifier", AutoRound::read),
            ModifierType.of("MagnitudePruningModifier", Pruners::magnitude),
            ModifierType.of("ConstantPruningModifier", Pruners::constant),
            ModifierType.of("REAPPruningModifier", Pruners::experts)));
  }
}
