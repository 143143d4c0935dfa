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

/** Activations rounded to int8 token by token, and their exact products with packed weights. */
public final class QuantizedActivations {
  /** Columns of a matrix at most: the sums of a group are 32-bit integers. */
  public static final long MAX_COLUMNS = 65536;

  private QuantizedActivations() {}

  /** Returns whether {@link #multiply} takes weights of this width. */
  public static boolean multiplies(int bits) {
    return bits == 4 || bits == 8;
  }

  /**
   * Writes codes[r, c] = round(x[r, c] / scales[r]) in −128..127, half to even, with scales[r] =
   * max|x[r, :]| / 127.5. A row that is not finite gets the scale NaN.
   *
   * @param x F32 [m, k]
   * @param codes I8 [m, k], overwritten
   * @param scales F32 [m], overwritten
   */
  public static void tokens(Context context, Tensor x, Tensor codes, Tensor scales) {
    long m = matrix("x", x, DType.F32).dimension(0);
    long k = x.dimension(1);
    shaped("codes", codes, DType.I8, m, k);
    shaped("scales", scales, DType.F32, m);
    Native.check(
        Abi.esp_quantize_tokens(
            context.handle(), m, k, x.address(), k, codes.address(), k, scales.address()));
  }

  /**
   * Writes y[m, n] = xScales[m] · Σ scale[r, g] · Σ (q[r, c] − zero[r, g]) · x[m, c] + bias. Groups
   * are consecutive.
   *
   * @param bits width of a weight's code, 4 or 8
   * @param x I8 [m, k]
   * @param xScales F32 [m]
   * @param codes I32 [n, ⌈k·bits/32⌉]: little-endian bit streams of q + 2^(bits−1)
   * @param scales F32 [n, groups]
   * @param zeros I8 [n, groups], or null for symmetric
   * @param group columns per group
   * @param bias F32 [n] or null
   * @param y F32 [m, n], overwritten
   */
  public static void multiply(
      Context context,
      int bits,
      Tensor x,
      Tensor xScales,
      Tensor codes,
      Tensor scales,
      Tensor zeros,
      long group,
      Tensor bias,
      Tensor y) {
    require(multiplies(bits), "bits", bits, "4 or 8");
    long m = matrix("x", x, DType.I8).dimension(0);
    long k = x.dimension(1);
    require(k <= MAX_COLUMNS, "columns", k, "at most " + MAX_COLUMNS);
    shaped("xScales", xScales, DType.F32, m);
    long n = matrix("codes", codes, DType.I32).dimension(0);
    require(group > 0 && k % group == 0, "group", group, "a divisor of " + k);
    shaped("codes", codes, DType.I32, n, (k * bits + 31) / 32);
    shaped("scales", scales, DType.F32, n, k / group);
    if (zeros != null) {
      shaped("zeros", zeros, DType.I8, n, k / group);
    }
    if (bias != null) {
      shaped("bias", bias, DType.F32, n);
    }
    shaped("y", y, DType.F32, m, n);
    long words = codes.dimension(1);
    int status =
        bits == 8
            ? Abi.esp_matmul_w8a8(
                context.handle(),
                m,
                n,
                k,
                x.address(),
                k,
                xScales.address(),
                codes.address(),
                words,
                scales.address(),
                optional(zeros),
                group,
                optional(bias),
                y.address(),
                n)
            : Abi.esp_matmul_w4a8(
                context.handle(),
                m,
                n,
                k,
                x.address(),
                k,
                xScales.address(),
                codes.address(),
                words,
                scales.address(),
                optional(zeros),
                group,
                optional(bias),
                y.address(),
                n);
    Native.check(status);
  }
}
