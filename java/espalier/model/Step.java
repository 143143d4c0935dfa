// SPDX-License-Identifier: Apache-2.0
package espalier.model;

import espalier.kernel.Ops;
import java.util.List;

/**
 * A piece of a block: applies the linears that read one input and moves on to the next input. The
 * compressor solves a step's linears before it lets the state pass through them.
 */
public interface Step {
  /**
   * Returns the names of the linears that read {@link State#input()} of the state given to {@link
   * #apply}; they share one Hessian.
   */
  List<String> linears();

  /** Returns the state at the next step's input, or at the end of the block. */
  State apply(Ops ops, State state, Past past);
}
