// SPDX-License-Identifier: Apache-2.0
package espalier.compress;

import espalier.layer.Linear;
import espalier.layer.Scheme;
import espalier.tensor.Context;
import java.util.Optional;

/** An algorithm that compresses one linear at a time: a pure function of weight and statistics. */
public interface LinearMethod {
  /** Returns the short name reports use. */
  String name();

  /** Returns the kernel operation most of its time goes to, for reports; empty for none. */
  default String operation() {
    return "";
  }

  /** Returns what the name leaves open, such as how much is pruned; empty for nothing. */
  default String detail() {
    return "";
  }

  /** Returns whether {@link LinearInput#statistics()} must be there. */
  boolean needsStatistics();

  /** Returns whether they must hold the whole of Σxxᵀ, and not only its diagonal. */
  default boolean needsHessian() {
    return needsStatistics();
  }

  /** Returns whether the rows of a linear may be given in panels, because none sees another. */
  default boolean rowsApart() {
    return true;
  }

  /** Returns whether the result is worth being counted for zeros. */
  default boolean prunes() {
    return false;
  }

  /** Returns the method with a sparsity that is moved by so much; this one if it has none. */
  default LinearMethod moved(double departure) {
    return this;
  }

  /** Returns the method that leaves weights alone which are 0; this one if it cannot do else. */
  default LinearMethod keepingZeros() {
    return this;
  }

  /** Returns the method for a linear as it is stored, such as one that is pruned already. */
  default LinearMethod onto(Linear linear, Context context) {
    return this;
  }

  /**
   * Returns whether {@link #apply} needs of the statistics no more than what {@link #prepare} made
   * of them, and the counts, so that the sums may be laid aside meanwhile; it prepares one factor
   * and returns a quantized form then, whose errors are measured later.
   */
  default boolean worksFromFactor() {
    return !needsStatistics();
  }

  /**
   * Does the work that all linears of one input share, such as factoring the Hessian; its tensors
   * lie in the context's current scope, which must outlive the calls of {@link #apply}.
   */
  default void prepare(Statistics statistics) {}

  /**
   * Returns what is sure of the zeros of a result of this shape before it is computed; empty when
   * the method does not prune.
   *
   * @param scheme of the result, null where weights are not rounded
   */
  default Optional<Zeros> zeros(long out, long in, Scheme scheme) {
    return Optional.empty();
  }

  /** Returns whether weights that are 0 are 0 in the result too, under a scheme. */
  default boolean keepsZeros(Scheme scheme) {
    return false;
  }

  /** Returns the compressed linear; new tensors lie in the context's current scope. */
  LinearResult apply(LinearInput input, Context context);
}
