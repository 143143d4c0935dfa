// SPDX-License-Identifier: Apache-2.0
package espalier.model;

import espalier.kernel.Ops;
import java.util.List;

/**
 * A step given by the linears it feeds and a function of its block.
 *
 * @param linears names of the linears that read the step's input
 * @param move from the state at this step's input to the next
 */
record Stage(List<String> linears, Move move) implements Step {
  /** The function. */
  interface Move {
    State apply(Ops ops, State state, Past past);
  }

  @Override
  public State apply(Ops ops, State state, Past past) {
    return move.apply(ops, state, past);
  }
}
