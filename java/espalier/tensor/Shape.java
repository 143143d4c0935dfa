// SPDX-License-Identifier: Apache-2.0
package espalier.tensor;

import java.util.Arrays;

/** An immutable list of dimensions, outermost first. Rank 0 is a scalar; a dimension may be 0. */
public final class Shape {
  private final long[] dimensions;
  private final long elements;

  private Shape(long[] dimensions) {
    long product = 1;
    for (long dimension : dimensions) {
      if (dimension < 0) {
        throw new IllegalArgumentException("negative dimension in " + Arrays.toString(dimensions));
      }
      product = Math.multiplyExact(product, dimension);
    }
    this.dimensions = dimensions;
    this.elements = product;
  }

  /**
   * Creates a shape.
   *
   * @throws IllegalArgumentException on a negative dimension
   * @throws ArithmeticException if the number of elements overflows
   */
  public static Shape of(long... dimensions) {
    return new Shape(dimensions.clone());
  }

  public int rank() {
    return dimensions.length;
  }

  /** Returns dimension {@code i}; negative indices count from the end. */
  public long dimension(int i) {
    return dimensions[i < 0 ? dimensions.length + i : i];
  }

  /** Returns the number of elements (1 for a scalar). */
  public long elements() {
    return elements;
  }

  public long[] toArray() {
    return dimensions.clone();
  }

  @Override
  public boolean equals(Object other) {
    return other instanceof Shape that && Arrays.equals(dimensions, that.dimensions);
  }

  @Override
  public int hashCode() {
    return Arrays.hashCode(dimensions);
  }

  @Override
  public String toString() {
    return Arrays.toString(dimensions);
  }
}
