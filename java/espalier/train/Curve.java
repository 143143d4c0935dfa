// SPDX-License-Identifier: Apache-2.0
package espalier.train;

import java.util.ArrayList;
import java.util.List;

/** What a run has been so far: its steps, and the loss on held-out text in between. */
final class Curve {
  /**
   * A measurement on held-out text.
   *
   * @param step how many steps came before
   * @param loss the mean over its predictions, in nats
   */
  record HeldOut(long step, double loss) {}

  private final List<StepResult> steps = new ArrayList<>();
  private final List<HeldOut> heldOut = new ArrayList<>();

  void add(StepResult step) {
    steps.add(step);
  }

  void add(HeldOut measured) {
    heldOut.add(measured);
  }

  List<StepResult> steps() {
    return List.copyOf(steps);
  }

  List<HeldOut> heldOut() {
    return List.copyOf(heldOut);
  }

  /** Returns the next step. */
  long next() {
    return steps.size();
  }
}
