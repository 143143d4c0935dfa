// SPDX-License-Identifier: Apache-2.0
package espalier.kernel;

import static espalier.kernel.Checks.matrix;
import static espalier.kernel.Checks.optional;
import static espalier.kernel.Checks.require;
import static espalier.kernel.Checks.shaped;

import espalier.internal.Abi;
import espalier.internal.Native;
import espalier.tensor.Context;
import espalier.tensor.DType;
import espalier.tensor.Tensor;

/** Products of activations with dense or packed weights; fp32 activations and sums. */
public final class MatMul {
  private MatMul() {}

  /**
   * Writes y[m, n] = x[m, k] · w[n, k]ᵀ + bias[n].
   *
   * @param x F32 [m, k]
   * @param weight F32, F16 or BF16 [n, k]
   * @param bias F32 [n] or null
   * @param y F32 [m, n], overwritten
   */
  public static void dense(Context context, Tensor x, Tensor weight, Tensor bias, Tensor y) {
    long n = outputs(x, weight, false, bias);
    long k = x.dimension(1);
    long m = x.dimension(0);
    shaped("y", y, DType.F32, m, n);
    Native.check(
        Abi.esp_matmul_dense(
            context.handle(),
            m,
            n,
            k,
            x.address(),
            k,
            weight.dtype().code(),
            weight.address(),
            k,
            optional(bias),
            y.address(),
            n));
  }

  /**
   * Writes y[m, n] = x[m, k] · w[k, n] + bias[n]: GPT-2's Conv1D stores its weights [in, out].
   *
   * @param weight F32, F16 or BF16 [k, n]
   */
  public static void denseInOut(Context context, Tensor x, Tensor weight, Tensor bias, Tensor y) {
    long n = outputs(x, weight, true, bias);
    long k = x.dimension(1);
    long m = x.dimension(0);
    shaped("y", y, DType.F32, m, n);
    Native.check(
        Abi.esp_matmul_dense_in_out(
            context.handle(),
            m,
            n,
            k,
            x.address(),
            k,
            weight.dtype().code(),
            weight.address(),
            n,
            optional(bias),
            y.address(),
            n));
  }

  /**
   * Writes y[m, n] = x[m, k] · Wᵀ + bias with W[r, c] = scale[r, g] · (q[r, c] − zero[r, g]) taken
   * from packed codes; never inflated to a dense matrix.
   *
   * @param bits width of a code, 2..8
   * @param x F32 [m, k]
   * @param codes I32 [n, ⌈k·bits/32⌉]: little-endian bit streams of q + 2^(bits−1)
   * @param scales F32 [n, groups]
   * @param zeros I8 [n, groups], or null for symmetric
   * @param group columns per group
   * @param groupIndex I32 [k], or null when column c belongs to group c / group
   * @param bias F32 [n] or null
   * @param y F32 [m, n], overwritten
   */
  public static void packed(
      Context context,
      int bits,
      Tensor x,
      Tensor codes,
      Tensor scales,
      Tensor zeros,
      long group,
      Tensor groupIndex,
      Tensor bias,
      Tensor y) {
    long m = matrix("x", x, DType.F32).dimension(0);
    long k = x.dimension(1);
    long n = matrix("codes", codes, DType.I32).dimension(0);
    checkPacked(bits, codes, scales, zeros, group, n, k);
    shaped("y", y, DType.F32, m, n);
    checkBias(bias, n);
    long words = codes.dimension(1);
    int status;
    if (bits == 4 && groupIndex == null) {
      status =
          Abi.esp_matmul_w4a16(
              context.handle(),
              m,
              n,
              k,
              x.address(),
              k,
              codes.address(),
              words,
              scales.address(),
              optional(zeros),
              group,
              optional(bias),
              y.address(),
              n);
    } else if (bits == 8 && groupIndex == null) {
      status =
          Abi.esp_matmul_w8a16(
              context.handle(),
              m,
              n,
              k,
              x.address(),
              k,
              codes.address(),
              words,
              scales.address(),
              optional(zeros),
              group,
              optional(bias),
              y.address(),
              n);
    } else {
      status =
          Abi.esp_matmul_wna16(
              context.handle(),
              bits,
              m,
              n,
              k,
              x.address(),
              k,
              codes.address(),
              words,
              scales.address(),
              optional(zeros),
              group,
              optional(groupIndex),
              optional(bias),
              y.address(),
              n);
    }
    Native.check(status);
  }

  /**
   * Writes the dense matrix F32 [n, k] that packed codes stand for; operands as in {@link #packed}.
   */
  public static void dequantize(
      Context context,
      int bits,
      Tensor codes,
      Tensor scales,
      Tensor zeros,
      long group,
      Tensor groupIndex,
      Tensor weight) {
    long n = matrix("weight", weight, DType.F32).dimension(0);
    long k = weight.dimension(1);
    checkPacked(bits, codes, scales, zeros, group, n, k);
    Native.check(
        Abi.esp_dequantize(
            context.handle(),
            bits,
            n,
            k,
            codes.address(),
            codes.dimension(1),
            scales.address(),
            optional(zeros),
            group,
            optional(groupIndex),
            weight.address(),
            k));
  }

  /** Checks the operands of a dense product and returns its output width. */
  static long outputs(Tensor x, Tensor weight, boolean inOut, Tensor bias) {
    long k = matrix("x", x, DType.F32).dimension(1);
    require(
        weight.shape().rank() == 2 && weight.dimension(inOut ? 0 : 1) == k,
        "weight",
        weight,
        inOut ? "[" + k + ", n]" : "[n, " + k + "]");
    long n = weight.dimension(inOut ? 1 : 0);
    checkBias(bias, n);
    return n;
  }

  static void checkPacked(
      int bits, Tensor codes, Tensor scales, Tensor zeros, long group, long n, long k) {
    require(bits >= 2 && bits <= 8, "bits", bits, "2..8");
    require(group > 0 && k % group == 0, "group", group, "a divisor of " + k);
    shaped("codes", codes, DType.I32, n, (k * bits + 31) / 32);
    shaped("scales", scales, DType.F32, n, k / group);
    if (zeros != null) {
      shaped("zeros", zeros, DType.I8, n, k / group);
    }
  }

  static void checkBias(Tensor bias, long n) {
    if (bias != null) {
      shaped("bias", bias, DType.F32, n);
    }
  }
}
