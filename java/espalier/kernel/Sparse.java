// SPDX-License-Identifier: Apache-2.0
package espalier.kernel;

import static espalier.kernel.Checks.matrix;
import static espalier.kernel.Checks.optional;
import static espalier.kernel.Checks.require;
import static espalier.kernel.Checks.shaped;

import espalier.internal.Abi;
import espalier.internal.Native;
import espalier.internal.Words;
import espalier.tensor.Context;
import espalier.tensor.DType;
import espalier.tensor.Tensor;

/** Sparse weights in the form in which they are stored: made, checked, multiplied and undone. */
public final class Sparse {
  /** Which weights of a row may be kept. */
  public enum Pattern {
    /** Any; a bit for every weight. */
    BITMASK,
    /** Two of every four; two bits for every kept weight. */
    TWO_OF_FOUR
  }

  /**
   * A sparse matrix [rows, columns]; it owns none of its tensors.
   *
   * @param places U8 [rows, ⌈columns/8⌉]. BITMASK: bit c&7 (0 = lowest) of byte c>>3 says that
   *     column c is kept. TWO_OF_FOUR: kept weight j of a row is column 4(j/2) + bits [2(j&3), +2)
   *     of byte j>>2. Pad bits are 0
   * @param rowOffsets I64 [rows]: how many weights the rows before keep; null for TWO_OF_FOUR
   * @param values the kept weights of row after row, of any shape with the right length: F32, F16,
   *     BF16; I8 signed codes; U8 two 4-bit codes + 8 a byte, low nibble first, every row beginning
   *     a byte
   * @param scales F32 [rows, columns/group] of I8 and U8 values; null for others
   * @param group columns of the dense matrix per scale; 0 for others
   */
  public record Matrix(
      Pattern pattern,
      long rows,
      long columns,
      Tensor places,
      Tensor rowOffsets,
      Tensor values,
      Tensor scales,
      long group) {
    /** Checks every shape that does not depend on the content. */
    public Matrix {
      require(rows >= 0, "rows", rows, "rows >= 0");
      require(
          columns >= 0 && (pattern == Pattern.BITMASK || columns % 4 == 0),
          "columns",
          columns,
          pattern == Pattern.BITMASK ? "columns >= 0" : "a multiple of 4");
      shaped("places", places, DType.U8, rows, placeBytes(columns));
      if (pattern == Pattern.BITMASK) {
        shaped("row offsets", rowOffsets, DType.I64, rows);
      } else {
        require(rowOffsets == null, "row offsets", rowOffsets, "none for 2:4");
        long width = valueBytes(columns / 2, values.dtype());
        require(
            values.sizeBytes() == rows * width, "values", values, rows + " x " + width + " bytes");
      }
      switch (values.dtype()) {
        case I8, U8 -> {
          require(group > 0 && columns % group == 0, "group", group, "a divisor of " + columns);
          shaped("scales", scales, DType.F32, rows, columns / group);
        }
        case F32, F16, BF16 -> {
          require(scales == null, "scales", scales, "none without codes");
          require(group == 0, "group", group, "0 without codes");
        }
        default -> require(false, "values", values, "F32, F16, BF16, I8 or U8");
      }
    }
  }

  /**
   * What {@link #check} found.
   *
   * @param row the first row whose places or offset are not of the form, −1 when all are right; the
   *     counts are then those of the rows before it
   * @param kept weights kept
   * @param valueBytes the length their values must have
   */
  public record Finding(long row, long kept, long valueBytes) {}

  private Sparse() {}

  /** Returns the bytes of places of one row. */
  public static long placeBytes(long columns) {
    return (columns + 7) / 8;
  }

  /** Returns the bytes of the values of one row that keeps `kept` weights. */
  public static long valueBytes(long kept, DType values) {
    return switch (values) {
      case F32 -> 4 * kept;
      case F16, BF16 -> 2 * kept;
      case I8 -> kept;
      case U8 -> (kept + 1) / 2;
      default -> throw new IllegalArgumentException("values of " + values);
    };
  }

  /**
   * Writes y[m, rows] = x · Wᵀ + bias.
   *
   * @param x F32 [m, columns]
   * @param bias F32 [rows] or null
   * @param y F32 [m, rows], overwritten
   */
  public static void multiply(Context context, Tensor x, Matrix weight, Tensor bias, Tensor y) {
    long m = matrix("x", x, DType.F32).dimension(0);
    shaped("x", x, DType.F32, m, weight.columns());
    shaped("y", y, DType.F32, m, weight.rows());
    MatMul.checkBias(bias, weight.rows());
    Native.check(
        Abi.esp_matmul_sparse(
            context.handle(),
            m,
            weight.rows(),
            weight.columns(),
            x.address(),
            weight.columns(),
            weight.pattern().ordinal(),
            weight.values().dtype().code(),
            weight.places().address(),
            optional(weight.rowOffsets()),
            weight.values().address(),
            optional(weight.scales()),
            weight.group(),
            optional(bias),
            y.address(),
            weight.rows()));
  }

  /**
   * Returns how {@link #multiply} goes about m rows of x and a matrix with `kept` weights in all:
   * "direct", "panels" or "expanded", where sparse loses to a dense tile.
   */
  public static String path(
      Context context, long m, long rows, long columns, Pattern pattern, DType values, long kept) {
    return Abi.esp_matmul_sparse_path(
        context.handle(), m, rows, columns, pattern.ordinal(), values.code(), kept);
  }

  /** Writes the dense matrix F32 [rows, columns]; scale · code rounded once. */
  public static void expand(Context context, Matrix weight, Tensor dense) {
    shaped("dense", dense, DType.F32, weight.rows(), weight.columns());
    Native.check(
        Abi.esp_sparse_expand(
            context.handle(),
            weight.rows(),
            weight.columns(),
            weight.pattern().ordinal(),
            weight.values().dtype().code(),
            weight.places().address(),
            optional(weight.rowOffsets()),
            weight.values().address(),
            optional(weight.scales()),
            weight.group(),
            dense.address(),
            weight.columns()));
  }

  /** Writes the codes I8 [rows, columns] of I8 or U8 values, 0 where nothing is kept. */
  public static void codes(Context context, Matrix weight, Tensor codes) {
    shaped("codes", codes, DType.I8, weight.rows(), weight.columns());
    Native.check(
        Abi.esp_sparse_codes(
            context.handle(),
            weight.rows(),
            weight.columns(),
            weight.pattern().ordinal(),
            weight.values().dtype().code(),
            weight.places().address(),
            optional(weight.rowOffsets()),
            weight.values().address(),
            codes.address()));
  }

  /**
   * Writes the places of what a dense matrix keeps and returns how many that are: where the mask is
   * not 0, or without a mask every element other than 0. For 2:4, fours with fewer are filled up
   * with their lowest free columns.
   *
   * @param dense F32 or I8 (codes) [rows, columns]
   * @param mask U8 [rows, columns] or null
   * @param places U8 [rows, ⌈columns/8⌉], overwritten
   * @param rowOffsets I64 [rows], overwritten; null for 2:4
   * @throws IllegalArgumentException when a four keeps more than two
   */
  public static long places(
      Context context,
      Pattern pattern,
      Tensor dense,
      Tensor mask,
      Tensor places,
      Tensor rowOffsets) {
    long rows = matrix("dense", dense, dense.dtype()).dimension(0);
    long columns = dense.dimension(1);
    require(
        dense.dtype() == DType.F32 || dense.dtype() == DType.I8,
        "dense",
        dense,
        "F32 or I8 [., .]");
    if (mask != null) {
      shaped("mask", mask, DType.U8, rows, columns);
    }
    shaped("places", places, DType.U8, rows, placeBytes(columns));
    if (pattern == Pattern.BITMASK) {
      shaped("row offsets", rowOffsets, DType.I64, rows);
    }
    Words kept = new Words(1);
    Native.check(
        Abi.esp_sparse_places(
            context.handle(),
            rows,
            columns,
            pattern.ordinal(),
            dense.dtype().code(),
            dense.address(),
            optional(mask),
            places.address(),
            optional(rowOffsets),
            kept.address(0)));
    return kept.get(0);
  }

  /**
   * Writes the values at the places of a matrix: its scales are not looked at, its values
   * overwritten.
   *
   * @param dense F32 [rows, columns] for values F32, F16, BF16 (rounded to nearest even); I8 codes
   *     for I8 and U8
   */
  public static void pack(Context context, Tensor dense, Matrix weight) {
    boolean codes = weight.values().dtype() == DType.I8 || weight.values().dtype() == DType.U8;
    shaped("dense", dense, codes ? DType.I8 : DType.F32, weight.rows(), weight.columns());
    Native.check(
        Abi.esp_sparse_pack(
            context.handle(),
            weight.rows(),
            weight.columns(),
            weight.pattern().ordinal(),
            weight.values().dtype().code(),
            dense.address(),
            weight.places().address(),
            optional(weight.rowOffsets()),
            weight.values().address()));
  }

  /**
   * Checks places and row offsets, which everything else here trusts: call it once for what comes
   * from a file, and compare the length of the values.
   *
   * @param rowOffsets I64 [rows] or null for 2:4
   * @param values the dtype whose length is told
   */
  public static Finding check(
      Context context,
      Pattern pattern,
      long columns,
      Tensor places,
      Tensor rowOffsets,
      DType values) {
    long rows = matrix("places", places, DType.U8).dimension(0);
    shaped("places", places, DType.U8, rows, placeBytes(columns));
    if (pattern == Pattern.BITMASK) {
      shaped("row offsets", rowOffsets, DType.I64, rows);
    }
    Words found = new Words(3);
    Native.check(
        Abi.esp_sparse_check(
            context.handle(),
            rows,
            columns,
            pattern.ordinal(),
            values.code(),
            places.address(),
            optional(rowOffsets),
            found.address(0),
            found.address(1),
            found.address(2)));
    return new Finding(found.get(0), found.get(1), found.get(2));
  }

  /**
   * Writes y[rows, n] = A · b of a bitmask matrix with F32 values.
   *
   * @param b F32 [columns, n]
   * @param y F32 [rows, n], overwritten
   */
  public static void multiplyPanel(Context context, Matrix a, Tensor b, Tensor y) {
    require(
        a.pattern() == Pattern.BITMASK && a.values().dtype() == DType.F32,
        "a",
        a,
        "a bitmask of F32 values");
    long n = matrix("b", b, DType.F32).dimension(1);
    shaped("b", b, DType.F32, a.columns(), n);
    shaped("y", y, DType.F32, a.rows(), n);
    Native.check(
        Abi.esp_spmm_f32(
            context.handle(),
            a.rows(),
            a.columns(),
            n,
            a.places().address(),
            a.rowOffsets().address(),
            a.values().address(),
            b.address(),
            n,
            y.address(),
            n));
  }
}
