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

  /**
   * Adds xᵀx of x F32 or BF16 [tokens, k] to h F64 [k, k], on and above the diagonal; what lies
   * below is not defined. Sums of 256 tokens in fp32, their sums in fp64.
   */
  public static void gram(Context context, Tensor x, Tensor h) {
    long k = matrix("x", x, x.dtype() == DType.BF16 ? DType.BF16 : DType.F32).dimension(1);
    shaped("h", h, DType.F64, k, k);
    Native.check(
        Abi.esp_gram(
            context.handle(), x.dimension(0), k, x.dtype().code(), x.address(), k, h.address()));
  }

  /**
   * Writes the upper triangle of h F64 [n, n]: scale · gram between channels in processing order,
   * with a diagonal of its own.
   *
   * @param gram F64 [n, n], of which the upper triangle is read
   * @param order I32 [n], the channel that is processed i-th, or null for left to right
   * @param diagonal F64 [n], by channel
   */
  public static void hessian(
      Context context, Tensor gram, double scale, Tensor order, Tensor diagonal, Tensor h) {
    long n = matrix("gram", gram, DType.F64).dimension(0);
    shaped("gram", gram, DType.F64, n, n);
    hessianBand(context, 0, gram, scale, order, diagonal, h);
  }

  /**
   * Writes those elements of {@link #hessian} that come from a band of channels and those after
   * them.
   *
   * @param first channel of the band
   * @param band F64 [rows, n − first]: these channels' rows of the gram matrix, from column {@code
   *     first} on, of which the upper triangle is read
   */
  public static void hessianBand(
      Context context,
      long first,
      Tensor band,
      double scale,
      Tensor order,
      Tensor diagonal,
      Tensor h) {
    long n = matrix("h", h, DType.F64).dimension(0);
    shaped("h", h, DType.F64, n, n);
    long rows = matrix("band", band, DType.F64).dimension(0);
    shaped("band", band, DType.F64, rows, n - first);
    Native.check(
        Abi.esp_hessian(
            context.handle(),
            n,
            first,
            rows,
            band.address(),
            n - first,
            scale,
            optional(order),
            diagonal.address(),
            h.address()));
  }

  /** Returns tr(A H Aᵀ) of a F32 [rows, k] and h F64 [k, k], whose upper triangle is read. */
  public static double quadraticForm(Context context, Tensor a, Tensor h) {
    return quadraticForm(context, a, null, h);
  }

  /**
   * Returns tr(D H Dᵀ), D = a − b, of F32 matrices [rows, k] and h F64 [k, k], whose upper triangle
   * is read.
   *
   * @param b null for zeros
   * @param h null for the identity
   */
  public static double quadraticForm(Context context, Tensor a, Tensor b, Tensor h) {
    long rows = matrix("a", a, DType.F32).dimension(0);
    long k = a.dimension(1);
    if (b != null) {
      shaped("b", b, DType.F32, rows, k);
    }
    if (h != null) {
      shaped("h", h, DType.F64, k, k);
    }
    Words value = new Words(1);
    Native.check(
        Abi.esp_quadratic_form(
            context.handle(), rows, k, a.address(), optional(b), k, optional(h), value.address(0)));
    return value.getDouble(0);
  }

  /**
   * Returns, in the current scope, a matrix of I8 or F32 with its columns in another order.
   *
   * @param order I32 [columns]: the old column of every new one, or with {@code back} the reverse
   */
  public static Tensor permuted(Context context, Tensor matrix, Tensor order, boolean back) {
    long rows = matrix("matrix", matrix, matrix.dtype()).dimension(0);
    long columns = matrix.dimension(1);
    shaped("order", order, DType.I32, columns);
    Tensor result = context.allocate(matrix.dtype(), rows, columns);
    Native.check(
        Abi.esp_permute_columns(
            context.handle(),
            rows,
            columns,
            (int) matrix.dtype().bytes(1),
            matrix.address(),
            order.address(),
            back ? 1 : 0,
            result.address()));
    return result;
  }

  /**
   * Turns the symmetric h F64 [n, n] (upper triangle) in place into the upper triangular U with
   * U·Uᵀ = h. What lies below the diagonal is not defined.
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
   * Adds Σ(r − x)xᵀ over the rows of x and r F32 [tokens, k] to c F64 [k, k].
   *
   * @param reference r, of the shape of x
   */
  public static void crossGram(Context context, Tensor x, Tensor reference, Tensor c) {
    long k = matrix("x", x, DType.F32).dimension(1);
    shaped("reference", reference, DType.F32, x.dimension(0), k);
    shaped("c", c, DType.F64, k, k);
    Native.check(
        Abi.esp_cross_gram(
            context.handle(), x.dimension(0), k, x.address(), reference.address(), k, c.address()));
  }

  /**
   * Returns scale · c · (U·Uᵀ)⁻¹ as F32 [n, n] in the current scope; its columns and those of c are
   * channels.
   *
   * @param factor U of {@link #choleskyReversed}, F64 [n, n] in processing order
   * @param order I32 [n], the channel that is processed i-th, or null for left to right
   * @param c F64 [n, n]
   */
  public static Tensor divide(
      Context context, Tensor factor, Tensor order, double scale, Tensor c) {
    long n = matrix("factor", factor, DType.F64).dimension(0);
    shaped("factor", factor, DType.F64, n, n);
    shaped("c", c, DType.F64, n, n);
    Tensor result = context.allocate(DType.F32, n, n);
    Native.check(
        Abi.esp_divide(
            context.handle(),
            n,
            factor.address(),
            optional(order),
            scale,
            c.address(),
            result.address()));
    return result;
  }

  /**
   * Returns w + w · m as F32 [rows, k] in the current scope; a row has the same bits whatever the
   * others are.
   *
   * @param w F32 [rows, k]
   * @param m F32 [k, k]
   */
  public static Tensor addProduct(Context context, Tensor w, Tensor m) {
    long k = matrix("w", w, DType.F32).dimension(1);
    shaped("m", m, DType.F32, k, k);
    Tensor result = context.allocate(DType.F32, w.dimension(0), k);
    Native.check(
        Abi.esp_add_product(
            context.handle(), w.dimension(0), k, w.address(), m.address(), result.address()));
    return result;
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
