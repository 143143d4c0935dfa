// SPDX-License-Identifier: Apache-2.0
package espalier.compress;

import espalier.recipe.Options;
import espalier.recipe.QuantizationArgs;
import espalier.recipe.Quantizer;
import espalier.recipe.QuantizerOptions;

/** {@code QuantizationModifier} of recipes: {@link Rtn}. */
public record RoundingModifier(QuantizerOptions options) implements Quantizer, WeightModifier {
  static RoundingModifier read(Options options) {
    return new RoundingModifier(QuantizerOptions.read(options, false));
  }

  @Override
  public LinearMethod method(QuantizationArgs weights) {
    return new Rtn();
  }
}
