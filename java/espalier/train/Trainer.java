// SPDX-License-Identifier: Apache-2.0
package espalier.train;

import espalier.gradient.Clipping;
import espalier.gradient.ModelParameters;
import espalier.gradient.Optimizer;
import espalier.gradient.Parameter;
import espalier.gradient.Schedule;
import espalier.kernel.Convert;
import espalier.report.EspalierException;
import espalier.report.Listener;
import espalier.tensor.Context;
import espalier.tensor.Tensor;
import java.util.function.Consumer;

/**
 * Data, objective, optimiser and schedule as a run of steps. A step depends on the parameters, the
 * optimiser's state and its number alone, and is the same to the bit for any number of threads.
 *
 * @param accumulation batches whose gradients one update sums
 */
public record Trainer(
    Context context,
    ModelParameters parameters,
    Objective objective,
    Optimizer optimizer,
    Batches batches,
    Schedule schedule,
    Clipping clipping,
    int accumulation) {

  /**
   * Runs the steps [from, to) and tells each to {@code done}, after which a checkpoint may be
   * written.
   *
   * @throws EspalierException (FAILED) naming the step and the tensor when a loss or a gradient is
   *     not finite; the parameters are then those before that step. (INTERRUPTED) when the listener
   *     cancels
   */
  public void run(long from, long to, Consumer<StepResult> done, Listener listener) {
    Progress progress = new Progress(System::nanoTime);
    for (long step = from; step < to; step++) {
      listener.checkCancelled();
      StepResult result = step(step);
      listener.progress("train", step + 1, to, progress.after(result));
      done.accept(result);
    }
  }

  /**
   * Takes step {@code step}, counted from 0.
   *
   * @throws EspalierException as {@link #run}
   */
  public StepResult step(long step) {
    Batch[] parts = new Batch[accumulation];
    long predictions = 0;
    long tokens = 0;
    for (int i = 0; i < accumulation; i++) {
      parts[i] = batches.at(step * accumulation + i);
      predictions += parts[i].predictions();
      tokens += parts[i].ids().length;
    }
    if (predictions == 0) {
      throw EspalierException.input(
          "step " + (step + 1) + " of the training has nothing to predict",
          "Check the loss mask: it leaves out every token of a batch.");
    }
    parameters.clearGradients();
    double loss = 0;
    for (Batch part : parts) {
      loss += objective.step(part, (float) (1.0 / predictions));
    }
    loss /= predictions;
    double norm = Clipping.norm(context, parameters.list());
    if (!Double.isFinite(loss) || !Double.isFinite(norm)) {
      throw exploded(step, loss, norm);
    }
    double rate = schedule.rate(step);
    optimizer.step(context, step + 1, rate, clipping.factor(norm));
    return new StepResult(step, loss, norm, rate, tokens);
  }

  private EspalierException exploded(long step, double loss, double norm) {
    String where = "";
    for (Parameter parameter : parameters.list()) {
      if (nonFinite(parameter.value())) {
        where = "; " + parameter.name() + " itself is not finite";
        break;
      }
      if (where.isEmpty() && nonFinite(parameter.gradient())) {
        where = "; the gradient of " + parameter.name() + " is the first that is not finite";
      }
    }
    return EspalierException.failed(
        String.format(
            "step %d: the loss is %s, the gradient norm %s%s", step + 1, loss, norm, where),
        "Take a smaller learning rate or a longer warm-up; the last checkpoint is from before.");
  }

  private boolean nonFinite(Tensor tensor) {
    return Convert.firstNonFinite(context, tensor) >= 0;
  }
}
