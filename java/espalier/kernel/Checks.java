// SPDX-License-Identifier: Apache-2.0
package espalier.kernel;

import espalier.tensor.DType;
import espalier.tensor.Tensor;

/** Shape and type checks shared by the topics; every failure names the operand. */
final class Checks {
  private Checks() {}

  /** Requires a matrix (rank 2) of the given type and returns it. */
  static Tensor matrix(String name, Tensor tensor, DType dtype) {
    require(tensor.dtype() == dtype && tensor.shape().rank() == 2, name, tensor, dtype + " [., .]");
    return tensor;
  }

  /** Requires a tensor of exactly this type and shape and returns it. */
  static Tensor shaped(String name, Tensor tensor, DType dtype, long... dimensions) {
    require(
        tensor.dtype() == dtype && java.util.Arrays.equals(tensor.shape().toArray(), dimensions),
        name,
        tensor,
        dtype + java.util.Arrays.toString(dimensions));
    return tensor;
  }

  /** Returns the address, or 0 for null. */
  static long optional(Tensor tensor) {
    return tensor == null ? 0 : tensor.address();
  }

  static void require(boolean condition, String name, Object value, String expected) {
    if (!condition) {
      throw new IllegalArgumentException(name + " is " + value + ", expected " + expected);
    }
  }
}
