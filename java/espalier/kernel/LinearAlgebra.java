// SPDX-License-Identifier: Apache-2.0
package espalier.kernel;

import static espalier.kernel.Checks.matrix;
import static espalier.kernel.Checks.optional;
import static espalier.kernel.Checks.shaped;

import espalier.internal.Abi;
import espalier.internal.Native;
import espalier.internal.Words;
import espalier.tensor.Context;
import espalier.tensor.DType;
import espalier.tensor.Tensor;

/** Gram matrices, the reversed Cholesky factor and the column solver that stands on it. */
public final class LinearAlgebra {
  private LinearAlgebra() {}

  /** Adds xᵀx of x F32 [tokens, k] to h F64 [k, k]; products and sums in fp64. */
  public static void gram(Context context, Tensor x, Tensor h) {
    long k = matrix("x", x, DType.F32).dimension(1);
    shaped("h", h, DType.F64, k, k);
    Native.check(Abi.esp_gram(context.handle(), x.dimension(0), k, x.address(), k, h.address()));
  }

  /** Returns tr(D H Dᵀ) of d F32 [rows, k] and h F64 [k, k]. */
  public static double quadraticForm(Context context, Tensor d, Tensor h) {
    long k = matrix("d", d, DType.F32).dimension(1);
    shaped("h", h, DType.F64, k, k);
    Words value = new Words(1);
    Native.check(
        Abi.esp_quadratic_form(
            context.handle(), d.dimension(0), k, d.address(), k, h.address(), value.address(0)));
    return value.getDouble(0);
  }

  /**
   * Turns the symmetric h F64 [n, n] in place into the upper triangular U with U·Uᵀ = h.
   *
   * @return −1 on success, else the index of the pivot that was not positive; h is then undefined
   */
  public static long choleskyReversed(Context context, Tensor h) {
    long n = matrix("h", h, DType.F64).dimension(0);
    shaped("h", h, DType.F64, n, n);
    Words pivot = new Words(1);
    int status = Abi.esp_cholesky_reversed(context.handle(), n, h.address(), pivot.address(0));
    if (status == Native.NUMERICAL) {
      return pivot.get(0);
    }
    Native.check(status);
    return -1;
  }

  /**
   * GPTQ column by column; see {@code esp_gptq_solve} in espalier.h.
   *
   * @param weight F32 [rows, columns] in processing order; becomes the dequantized result
   * @param factor U of {@link #choleskyReversed}, F64 [columns, columns]
   * @param group columns per group; columns for one group a row
   * @param fixedGroup I32 [columns], the group of each processed column when scales are given
   *     (static groups); null when the solver finds them as it reaches a group
   * @param scales F32 [rows, columns / group], in or out
   * @param zeros I8 of the same shape, in or out
   * @param codes I8 [rows, columns] out, in processing order
   */
  public static void gptq(
      Context context,
      Tensor weight,
      Tensor factor,
      int bits,
      boolean symmetric,
      long group,
      Tensor fixedGroup,
      ScaleType scaleType,
      Tensor scales,
      Tensor zeros,
      Tensor codes) {
    long rows = matrix("weight", weight, DType.F32).dimension(0);
    long columns = weight.dimension(1);
    shaped("factor", factor, DType.F64, columns, columns);
    shaped("scales", scales, DType.F32, rows, columns / group);
    shaped("zeros", zeros, DType.I8, rows, columns / group);
    shaped("codes", codes, DType.I8, rows, columns);
    Native.check(
        Abi.esp_gptq_solve(
            context.handle(),
            rows,
            columns,
            weight.address(),
            factor.address(),
            bits,
            symmetric ? 1 : 0,
            group,
            optional(fixedGroup),
            scaleType.code(),
            scales.address(),
            zeros.address(),
            codes.address()));
  }
}
