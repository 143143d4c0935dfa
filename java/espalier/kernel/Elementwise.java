// SPDX-License-Identifier: Apache-2.0
package espalier.kernel;

import static espalier.kernel.Checks.require;
import static espalier.kernel.Checks.shaped;

import espalier.internal.Abi;
import espalier.internal.Native;
import espalier.tensor.Context;
import espalier.tensor.DType;
import espalier.tensor.Tensor;

/** Functions of single elements, and the embedding lookup. */
public final class Elementwise {
  /** Activation functions; the ordinal is the code of the C ABI. */
  public enum Function {
    SILU,
    GELU,
    GELU_TANH,
    RELU
  }

  private Elementwise() {}

  /** Writes y = a + b; y may be a or b. All F32 of one shape. */
  public static void add(Context context, Tensor a, Tensor b, Tensor y) {
    shaped("b", b, DType.F32, a.shape().toArray());
    shaped("y", y, DType.F32, a.shape().toArray());
    Native.check(
        Abi.esp_add(context.handle(), a.elements(), a.address(), b.address(), y.address()));
  }

  /** Writes y = a · b element by element; y may be a or b. All F32 of one shape. */
  public static void multiply(Context context, Tensor a, Tensor b, Tensor y) {
    shaped("b", b, DType.F32, a.shape().toArray());
    shaped("y", y, DType.F32, a.shape().toArray());
    Native.check(
        Abi.esp_multiply(context.handle(), a.elements(), a.address(), b.address(), y.address()));
  }

  /** Writes y = silu(gate) · up; y may be gate or up. All F32 of one shape. */
  public static void siluMultiply(Context context, Tensor gate, Tensor up, Tensor y) {
    shaped("up", up, DType.F32, gate.shape().toArray());
    shaped("y", y, DType.F32, gate.shape().toArray());
    Native.check(
        Abi.esp_silu_mul(
            context.handle(), gate.elements(), gate.address(), up.address(), y.address()));
  }

  /** Writes y = f(x); y may be x. */
  public static void apply(Context context, Function function, Tensor x, Tensor y) {
    shaped("y", y, DType.F32, x.shape().toArray());
    Native.check(
        Abi.esp_activation(
            context.handle(), x.elements(), function.ordinal(), x.address(), y.address()));
  }

  /**
   * Writes y[t, :] = table[ids[t], :], widened.
   *
   * @param ids I32 [tokens]
   * @param table F32, F16 or BF16 [vocabulary, width]
   * @param y F32 [tokens, width]
   * @throws IllegalArgumentException when an id has no row
   */
  public static void embed(Context context, Tensor ids, Tensor table, Tensor y) {
    require(ids.dtype() == DType.I32, "ids", ids, "I32");
    shaped("y", y, DType.F32, ids.elements(), table.dimension(1));
    Native.check(
        Abi.esp_embedding(
            context.handle(),
            ids.elements(),
            table.dimension(0),
            table.dimension(1),
            ids.address(),
            table.dtype().code(),
            table.address(),
            y.address()));
  }
}
