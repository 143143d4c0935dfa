// SPDX-License-Identifier: Apache-2.0
package espalier.gradient;

import espalier.layer.Dense;
import espalier.model.Block;
import espalier.model.Model;
import espalier.model.Past;
import espalier.report.EspalierException;
import espalier.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;

/**
 * A model's pass over a batch on a tape, from ids to what the head reads, and its head as a loss.
 *
 * @param model whose head is dense
 * @param checkpoints whether only one block's intermediate results are kept; see {@link
 *     Tape#checkpoint}
 */
public record LanguageLoss(Model model, Tape tape, boolean checkpoints) {
  /** What a pass left behind. */
  public record Pass(Tensor embedded, List<Tensor> blocks, Tensor headInput) {}

  /**
   * Runs the sequences that the tape {@linkplain Tape#begin began} with.
   *
   * @param ids I32 [tokens]
   * @return hidden states before and after every block, and the head's input; F32 [tokens, hidden]
   */
  public Pass forward(Tensor ids) {
    Tensor embedded = model.embed(tape, ids, 0);
    Tensor hidden = embedded;
    List<Tensor> after = new ArrayList<>();
    for (Block block : model.blocks()) {
      hidden =
          checkpoints
              ? tape.checkpoint(hidden, x -> block.forward(tape, x, Past.NONE))
              : block.forward(tape, hidden, Past.NONE);
      after.add(hidden);
    }
    return new Pass(embedded, List.copyOf(after), model.headInput(tape, hidden));
  }

  /**
   * Returns the model's head as the last operation of a step.
   *
   * @throws EspalierException (UNSUPPORTED) when it is not dense
   */
  public LinearLoss head() {
    if (model.head() instanceof Dense head && !head.inOut()) {
      return new LinearLoss(tape, head.matrix(), head.bias());
    }
    throw EspalierException.unsupported(
        "the head is not stored dense and cannot be trained through",
        "Train a checkpoint whose head is dense.");
  }

  /**
   * Returns Σ −log p(target) over the rows with a target, adds scale · its gradient to every
   * parameter, and leaves the tape empty.
   *
   * @param targets I32 [tokens], negative for none
   */
  public double step(Tensor ids, Tensor targets, float scale) {
    Tensor input = forward(ids).headInput();
    double loss = head().crossEntropy(input, targets, scale);
    tape.backward();
    return loss;
  }
}
