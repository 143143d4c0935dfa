// SPDX-License-Identifier: Apache-2.0
package espalier.compress;

import espalier.recipe.Options;
import espalier.recipe.QuantizationArgs;
import espalier.recipe.Quantizer;
import espalier.recipe.QuantizerOptions;

/** {@code GPTQModifier} of recipes: {@link Gptq} with the damping and order asked for. */
public record GptqModifier(QuantizerOptions options) implements Quantizer, WeightModifier {
  static GptqModifier read(Options options) {
    return new GptqModifier(QuantizerOptions.read(options, true));
  }

  @Override
  public LinearMethod method(QuantizationArgs weights) {
    Double damping = options.solver().dampeningFrac();
    return new Gptq(
        damping == null ? 0 : damping, weights.actorder() == QuantizationArgs.Actorder.WEIGHT);
  }
}
