// SPDX-License-Identifier: Apache-2.0
package espalier.train;

import espalier.gradient.LanguageLoss;
import espalier.gradient.Tape;
import espalier.tensor.DType;
import espalier.tensor.Tensor;

/**
 * The next token: −log p(target), in nats.
 *
 * @param model on the tape that trains it
 */
public record CrossEntropy(LanguageLoss model) implements Objective {
  @Override
  public double step(Batch batch, float scale) {
    Tape tape = model.tape();
    tape.begin(batch.lengths());
    Tensor ids = tape.take(DType.I32, batch.ids().length).fill(batch.ids());
    Tensor targets = tape.take(DType.I32, batch.targets().length).fill(batch.targets());
    return model.step(ids, targets, scale);
  }
}
