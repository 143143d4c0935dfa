// SPDX-License-Identifier: Apache-2.0
package espalier.train;

import espalier.gradient.LanguageLoss;
import espalier.gradient.Tape;
import espalier.model.Model;
import espalier.tensor.Context;
import espalier.tensor.DType;
import java.util.List;

/** The loss of a model in training on texts it does not see; nothing is recorded for it. */
final class HeldOutLoss implements AutoCloseable {
  private static final int SEQUENCES = 8;

  private final Tape tape;
  private final LanguageLoss loss;
  private final List<Sequence> sequences;

  HeldOutLoss(Model model, Context context, List<Sequence> sequences) {
    this.tape = new Tape(context, List.of());
    this.loss = new LanguageLoss(model, tape, false);
    this.sequences = sequences;
  }

  boolean isEmpty() {
    return sequences.isEmpty();
  }

  /** Returns the mean over all predictions, in nats. */
  double mean() {
    double sum = 0;
    long predictions = 0;
    for (int from = 0; from < sequences.size(); from += SEQUENCES) {
      List<Sequence> some = sequences.subList(from, Math.min(sequences.size(), from + SEQUENCES));
      int tokens = some.stream().mapToInt(s -> s.ids().length).sum();
      Batch batch = ShuffledBatches.batch(some.toArray(Sequence[]::new), tokens);
      tape.begin(batch.lengths());
      sum +=
          loss.step(
              tape.take(DType.I32, tokens).fill(batch.ids()),
              tape.take(DType.I32, tokens).fill(batch.targets()),
              0);
      predictions += batch.predictions();
    }
    return sum / predictions;
  }

  @Override
  public void close() {
    tape.close();
  }
}
