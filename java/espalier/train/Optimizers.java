// SPDX-License-Identifier: Apache-2.0
package espalier.train;

import espalier.gradient.AdamW;
import espalier.gradient.Optimizer;
import espalier.gradient.Parameter;
import espalier.gradient.Sgd;
import espalier.gradient.SignSgd;
import espalier.recipe.TrainingRecipe;
import java.util.List;

/** From the name of an optimiser in a recipe to the optimiser. */
final class Optimizers {
  private Optimizers() {}

  /** Returns the optimiser a recipe asks for; the caller closes it. */
  static Optimizer make(TrainingRecipe.Update update, List<Parameter> parameters) {
    return switch (update.optimizer()) {
      case "sgd" -> new Sgd(parameters, update.momentum(), update.decay());
      case "sign-sgd" -> new SignSgd(parameters, update.decay());
      default ->
          new AdamW(
              parameters,
              new AdamW.Settings(update.beta1(), update.beta2(), update.eps(), update.decay()));
    };
  }
}
