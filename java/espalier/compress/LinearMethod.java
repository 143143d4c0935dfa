// SPDX-License-Identifier: Apache-2.0
package espalier.compress;

import espalier.tensor.Context;

/** An algorithm that compresses one linear at a time: a pure function of weight and statistics. */
public interface LinearMethod {
  /** Returns the short name reports use. */
  String name();

  /** Returns the kernel operation most of its time goes to, for reports; empty for none. */
  default String operation() {
    return "";
  }

  /** Returns whether {@link LinearInput#statistics()} must be there. */
  boolean needsStatistics();

  /**
   * Returns whether {@link #apply} needs of the statistics no more than what {@link #prepare} made
   * of them, and the counts, so that the sums may be laid aside meanwhile; it returns a quantized
   * form then, whose errors are measured later.
   */
  default boolean worksFromFactor() {
    return !needsStatistics();
  }

  /**
   * Does the work that all linears of one input share, such as factoring the Hessian; its tensors
   * lie in the context's current scope, which must outlive the calls of {@link #apply}.
   */
  default void prepare(Statistics statistics) {}

  /** Returns the compressed linear; new tensors lie in the context's current scope. */
  LinearResult apply(LinearInput input, Context context);
}
