// SPDX-License-Identifier: Apache-2.0
package espalier.kernel;

import static espalier.kernel.Checks.matrix;
import static espalier.kernel.Checks.optional;
import static espalier.kernel.Checks.shaped;

import espalier.internal.Abi;
import espalier.internal.Native;
import espalier.tensor.Context;
import espalier.tensor.DType;
import espalier.tensor.Tensor;

/**
 * Integer quantization in the convention of compressed-tensors: signed codes, scale = 2·max|w| /
 * (2^b − 1) when symmetric, clamp first, then round half to even.
 */
public final class Quantize {
  /**
   * How a group's range is found.
   *
   * @param grid candidates on the way from the full range to nothing; 0 takes min and max as they
   *     are
   * @param shrink largest part of the range given up, 0..1
   * @param norm exponent of the error that is minimised
   * @param patience worse candidates in a row that end a group's search; 0 tries all
   */
  public record Range(int grid, double shrink, double norm, int patience) {
    /** Plain minimum and maximum. */
    public static final Range MIN_MAX = new Range(0, 0, 2, 0);

    /** The MSE search with llm-compressor's defaults. */
    public static final Range MSE = new Range(100, 0.2, 2.4, 5);
  }

  /** What becomes of a weight that lies between two codes. */
  public enum Ties {
    /** As the fp32 quotient falls, which may be a hair beside the tie: compressed-tensors' way. */
    AS_THEY_FALL,
    /** To the even code, also where fp32 missed the tie by a hair. */
    TO_EVEN
  }

  private Quantize() {}

  /**
   * Writes the scales and zero points of every group.
   *
   * @param weight F32 [rows, columns]
   * @param group columns per group, a divisor of columns
   * @param scaleType what the scales are rounded to
   * @param ties TO_EVEN for asymmetric scales and zeros as exact arithmetic has them
   * @param scales F32 [rows, columns / group]
   * @param zeros I8 of the same shape; all 0 when symmetric
   */
  public static void range(
      Context context,
      Tensor weight,
      int bits,
      boolean symmetric,
      long group,
      ScaleType scaleType,
      Range range,
      Ties ties,
      Tensor scales,
      Tensor zeros) {
    long rows = matrix("weight", weight, DType.F32).dimension(0);
    long columns = weight.dimension(1);
    shaped("scales", scales, DType.F32, rows, columns / group);
    shaped("zeros", zeros, DType.I8, rows, columns / group);
    Native.check(
        Abi.esp_quantize_range(
            context.handle(),
            rows,
            columns,
            weight.address(),
            columns,
            bits,
            symmetric ? 1 : 0,
            group,
            scaleType.code(),
            range.grid(),
            range.shrink(),
            range.norm(),
            range.patience(),
            ties == Ties.TO_EVEN ? 1 : 0,
            scales.address(),
            zeros.address()));
  }

  /** Writes codes I8 [rows, columns]: round to nearest under the given scales and zeros. */
  public static void nearest(
      Context context,
      Tensor weight,
      int bits,
      long group,
      Tensor scales,
      Tensor zeros,
      Ties ties,
      Tensor codes) {
    long rows = matrix("weight", weight, DType.F32).dimension(0);
    long columns = weight.dimension(1);
    shaped("codes", codes, DType.I8, rows, columns);
    Native.check(
        Abi.esp_quantize_nearest(
            context.handle(),
            rows,
            columns,
            weight.address(),
            columns,
            bits,
            group,
            scales.address(),
            optional(zeros),
            ties.ordinal(),
            codes.address()));
  }

  /**
   * Returns I32 [rows, ⌈columns·bits/32⌉] in the current scope: the bit streams of codes +
   * 2^(bits−1).
   */
  public static Tensor pack(Context context, Tensor codes, int bits) {
    long rows = matrix("codes", codes, DType.I8).dimension(0);
    long columns = codes.dimension(1);
    Tensor words = context.allocate(DType.I32, rows, (columns * bits + 31) / 32);
    Native.check(
        Abi.esp_pack(
            context.handle(),
            rows,
            columns,
            bits,
            codes.address(),
            words.address(),
            words.dimension(1)));
    return words;
  }

  /** Returns I8 [rows, columns] in the current scope: the inverse of {@link #pack}. */
  public static Tensor unpack(Context context, Tensor words, int bits, long columns) {
    long rows = matrix("words", words, DType.I32).dimension(0);
    shaped("words", words, DType.I32, rows, (columns * bits + 31) / 32);
    Tensor codes = context.allocate(DType.I8, rows, columns);
    Native.check(
        Abi.esp_unpack(
            context.handle(),
            rows,
            columns,
            bits,
            words.address(),
            words.dimension(1),
            codes.address()));
    return codes;
  }
}
