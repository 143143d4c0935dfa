// SPDX-License-Identifier: Apache-2.0
package espalier.compress;

/** A method that puts zeros into a matrix by a pattern. */
public interface PruningMethod extends LinearMethod {
  /** Returns how many zeros, and where. */
  Pattern pattern();

  /** Returns the same method with another pattern. */
  PruningMethod with(Pattern other);

  @Override
  default LinearMethod moved(double departure) {
    return pattern().isUnstructured()
        ? with(Pattern.of(Owl.moved(pattern().sparsity(), departure)))
        : this;
  }

  @Override
  default String detail() {
    return pattern().text();
  }

  /** Its result may be dense, and its scores read more than a factor. */
  @Override
  default boolean worksFromFactor() {
    return false;
  }

  @Override
  default boolean prunes() {
    return true;
  }
}
