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

/** Which weights go, and the column solver that makes the others up for them. */
public final class Prune {
  /** Columns whose weights compete for a share at most, and the widest pattern. */
  public static final int MOST_COLUMNS = 128;

  /**
   * What goes: of every {@code of} columns {@code drop}, or a share.
   *
   * @param drop zeros in every {@code of} columns
   * @param of columns of a pattern, 0 for none
   * @param sparsity share of every {@code width} columns of all rows; 0 with a pattern
   * @param width columns whose weights compete for the share, at most {@link #MOST_COLUMNS}
   * @param preserve whether weights that are 0 stay 0, and count among those that go
   */
  public record Rule(int drop, int of, double sparsity, int width, boolean preserve) {
    /** Drops nothing but what is 0 already. */
    public static final Rule KEEP_ZEROS = new Rule(0, 0, 0, MOST_COLUMNS, true);
  }

  /**
   * How kept weights are rounded.
   *
   * @param group columns per group, columns for one group a row
   * @param fixedGroup I32 [columns], the group of each column when scales are given; null when the
   *     solver finds them
   * @param scales F32 [rows, columns / group], in or out
   * @param zeros I8 of the same shape, in or out
   * @param codes I8 [rows, columns] out
   */
  public record Codes(
      int bits,
      boolean symmetric,
      long group,
      Tensor fixedGroup,
      ScaleType scaleType,
      Tensor scales,
      Tensor zeros,
      Tensor codes) {}

  private Prune() {}

  /**
   * Returns a mask U8 [rows, columns] in the current scope: 0 for the {@code count} smallest |w| ·
   * factor of each row or of the whole matrix, 1 for the others.
   *
   * @param factor F32 [columns], or null for 1
   * @param allTies whether all that equal the last one go too; else of equals the first goes first
   */
  public static Tensor smallest(
      Context context, Tensor weight, Tensor factor, boolean perRow, long count, boolean allTies) {
    long rows = matrix("weight", weight, DType.F32).dimension(0);
    long columns = weight.dimension(1);
    if (factor != null) {
      shaped("factor", factor, DType.F32, columns);
    }
    Tensor kept = context.allocate(DType.U8, rows, columns);
    Native.check(
        Abi.esp_select_smallest(
            context.handle(),
            rows,
            columns,
            weight.address(),
            optional(factor),
            perRow ? 1 : 0,
            count,
            allTies ? 1 : 0,
            kept.address()));
    return kept;
  }

  /**
   * Returns a mask U8 [rows, columns] in the current scope: 0 for the n smallest |w| · factor of
   * every m columns; of equals the lowest column goes first. A rest of r columns loses r·n/m.
   *
   * @param factor F32 [columns], or null for 1
   */
  public static Tensor pattern(Context context, Tensor weight, Tensor factor, int n, int m) {
    long rows = matrix("weight", weight, DType.F32).dimension(0);
    long columns = weight.dimension(1);
    if (factor != null) {
      shaped("factor", factor, DType.F32, columns);
    }
    Tensor kept = context.allocate(DType.U8, rows, columns);
    Native.check(
        Abi.esp_select_nm(
            context.handle(),
            rows,
            columns,
            weight.address(),
            optional(factor),
            n,
            m,
            kept.address()));
    return kept;
  }

  /** Puts 0 where the mask U8 [rows, columns] is 0. */
  public static void apply(Context context, Tensor kept, Tensor weight) {
    long rows = matrix("weight", weight, DType.F32).dimension(0);
    shaped("kept", kept, DType.U8, rows, weight.dimension(1));
    Native.check(
        Abi.esp_apply_mask(
            context.handle(), rows, weight.dimension(1), kept.address(), weight.address()));
  }

  /** Adds Σx² over the rows of x F32 [tokens, columns] to sums F64 [columns]. */
  public static void columnSquares(Context context, Tensor x, Tensor sums) {
    long tokens = matrix("x", x, DType.F32).dimension(0);
    shaped("sums", sums, DType.F64, x.dimension(1));
    Native.check(
        Abi.esp_column_squares(
            context.handle(), tokens, x.dimension(1), x.address(), sums.address()));
  }

  /**
   * SparseGPT column by column, with rounding of what stays or without; see {@code
   * esp_sparsegpt_solve} in espalier.h.
   *
   * @param weight F32 [rows, columns] in processing order; becomes the result, 0 where dropped
   * @param factor U of {@link LinearAlgebra#choleskyReversed}, F64 [columns, columns]
   * @param importance F32 [columns]: a weight is compared as |w| · importance
   * @param codes null to leave what stays unrounded
   * @return the mask U8 [rows, columns] in the current scope, 0 where dropped
   */
  public static Tensor solve(
      Context context, Tensor weight, Tensor factor, Tensor importance, Rule rule, Codes codes) {
    long rows = matrix("weight", weight, DType.F32).dimension(0);
    long columns = weight.dimension(1);
    shaped("factor", factor, DType.F64, columns, columns);
    shaped("importance", importance, DType.F32, columns);
    if (codes != null) {
      shaped("scales", codes.scales(), DType.F32, rows, columns / codes.group());
      shaped("zeros", codes.zeros(), DType.I8, rows, columns / codes.group());
      shaped("codes", codes.codes(), DType.I8, rows, columns);
    }
    boolean fixed = codes != null && codes.fixedGroup() != null;
    long workBytes =
        rule.sparsity() > 0
            ? Abi.esp_sparsegpt_work_bytes(
                rows, columns, codes == null ? 0 : codes.group(), fixed ? 1 : 0)
            : 0;
    Tensor kept = context.allocate(DType.U8, rows, columns);
    try (Context.Scope scope = context.scope()) {
      Tensor work = workBytes == 0 ? null : context.allocate(DType.U8, workBytes);
      Native.check(
          Abi.esp_sparsegpt_solve(
              context.handle(),
              rows,
              columns,
              weight.address(),
              factor.address(),
              importance.address(),
              rule.drop(),
              rule.of(),
              rule.sparsity(),
              rule.width(),
              rule.preserve() ? 1 : 0,
              codes == null ? 0 : codes.bits(),
              codes != null && codes.symmetric() ? 1 : 0,
              codes == null ? 0 : codes.group(),
              fixed ? codes.fixedGroup().address() : 0,
              codes == null ? 0 : codes.scaleType().code(),
              codes == null ? 0 : codes.scales().address(),
              codes == null ? 0 : codes.zeros().address(),
              codes == null ? 0 : codes.codes().address(),
              kept.address(),
              optional(work),
              workBytes));
    }
    return kept;
  }
}
