// SPDX-License-Identifier: Apache-2.0
package espalier.compress;

import espalier.recipe.Options;
import espalier.recipe.PrunerOptions;
import espalier.recipe.QuantizationArgs;
import espalier.recipe.Quantizer;
import espalier.recipe.QuantizerOptions;

/**
 * {@code SparseGPTQuantizationModifier} of recipes, which is ours: {@link SparseGpt} that drops and
 * rounds in one pass. Takes the options of a quantizer, and {@code sparsity}, {@code
 * mask_structure}, {@code block_size}, {@code dampening_frac} and {@code preserve_sparsity_mask} of
 * SparseGPTModifier.
 */
record JointModifier(QuantizerOptions options, PrunerOptions pruning)
    implements Quantizer, WeightModifier {
  static JointModifier read(Options options) {
    PrunerOptions pruning = PrunerOptions.readBeside(options);
    return new JointModifier(QuantizerOptions.read(options, false), pruning);
  }

  @Override
  public LinearMethod method(QuantizationArgs weights) {
    return SparseGptModifier.method(pruning, pruning.sparsity().get(0));
  }

  @Override
  public boolean needsCalibration() {
    return true;
  }
}
