// SPDX-License-Identifier: Apache-2.0
package espalier.train;

import espalier.gradient.LanguageLoss;
import espalier.gradient.LinearLoss;
import espalier.gradient.Tape;
import espalier.kernel.LossGradient;
import espalier.tensor.DType;
import espalier.tensor.Tensor;
import java.util.List;

/**
 * A teacher's distribution: labels · (−log p(target)) + (1 − labels) · divergence(teacher,
 * student), and, to keep the inside alike too, hidden · the mean squared difference of the states
 * after every block, of every token.
 *
 * @param student on the tape that trains it
 * @param teacher of the same vocabulary, on a tape that trains nothing; of the same width and
 *     number of blocks when {@code hidden} is not 0
 * @param labels in [0, 1]: the share of the plain cross-entropy
 * @param hidden at least 0
 */
public record Distillation(
    LanguageLoss student,
    LanguageLoss teacher,
    LossGradient.Divergence divergence,
    double labels,
    double hidden)
    implements Objective {
  @Override
  public double step(Batch batch, float scale) {
    LanguageLoss.Pass taught = pass(teacher, batch);
    LanguageLoss.Pass learnt = pass(student, batch);
    Tape tape = student.tape();
    Tensor targets = tape.take(DType.I32, batch.targets().length).fill(batch.targets());
    LinearLoss head = student.head();
    double loss = 0;
    if (labels > 0) {
      float own = (float) (labels * scale);
      loss += labels * head.crossEntropy(learnt.headInput(), targets, own);
    }
    if (labels < 1) {
      loss +=
          (1 - labels)
              * head.divergence(
                  divergence,
                  learnt.headInput(),
                  taught.headInput(),
                  teacher.head().weight(),
                  targets,
                  (float) ((1 - labels) * scale));
    }
    if (hidden > 0) {
      loss += hidden * states(taught.blocks(), learnt.blocks(), scale);
    }
    tape.backward();
    return loss;
  }

  /** The sum over tokens of the mean over blocks and channels of the squared difference. */
  private double states(List<Tensor> taught, List<Tensor> learnt, float scale) {
    Tape tape = student.tape();
    double sum = 0;
    for (int block = 0; block < learnt.size(); block++) {
      Tensor x = learnt.get(block);
      double share = 1.0 / (learnt.size() * x.dimension(1));
      sum +=
          share
              * LossGradient.squaredError(
                  tape.context(),
                  x,
                  taught.get(block),
                  (float) (2 * hidden * share * scale),
                  tape.gradient(x));
    }
    return sum;
  }

  private static LanguageLoss.Pass pass(LanguageLoss model, Batch batch) {
    Tape tape = model.tape();
    tape.begin(batch.lengths());
    return model.forward(tape.take(DType.I32, batch.ids().length).fill(batch.ids()));
  }
}
