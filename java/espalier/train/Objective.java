// SPDX-License-Identifier: Apache-2.0
package espalier.train;

/** What a run makes small. */
public interface Objective {
  /**
   * Returns the sum of the loss over the predictions of a batch, and adds scale times its gradient
   * to the parameters.
   */
  double step(Batch batch, float scale);
}
