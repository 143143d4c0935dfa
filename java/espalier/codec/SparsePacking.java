// SPDX-License-Identifier: Apache-2.0
package espalier.codec;

import espalier.kernel.SparseMatrix;
import espalier.kernel.SparseMatrix.Kind;
import espalier.kernel.SparseMatrix.Pattern;
import espalier.tensor.Context;
import espalier.tensor.DType;
import espalier.tensor.Tensor;
import java.nio.ByteBuffer;

/**
 * Takes the weights that are not 0 out of a matrix. How many places the result has is decided
 * before (see {@link SparseLayout}), so that the size of a file is known before its content: where a
 * matrix has more zeros than planned, some of them are kept. They are chosen a row at a time in
 * turn, the lowest free column of each.
 *
 * <p>Elements are copied bit by bit; −0 counts as 0.
 */
final class SparsePacking {
  private final Context context;
  private final SparseLayout layout;
  private final Tensor dense;
  private final int rows;
  private final int columns;

  /**
   * Prepares to pack a matrix.
   *
   * @param dense [out, in] of the layout: BF16, F16, F32, or I8 for codes of any width
   */
  SparsePacking(Context context, SparseLayout layout, Tensor dense) {
    DType wanted = layout.kind().isCode() ? DType.I8 : layout.kind().dtype();
    if (dense.dtype() != wanted
        || dense.dimension(0) != layout.out()
        || dense.dimension(1) != layout.in()) {
      throw new IllegalArgumentException(dense + " packed as " + layout);
    }
    this.context = context;
    this.layout = layout;
    this.dense = dense;
    this.rows = Math.toIntExact(layout.out());
    this.columns = Math.toIntExact(layout.in());
  }

  /**
   * Returns the matrix in the context's current scope.
   *
   * @param scales F32 [out, in/group] of codes, else null
   * @throws IllegalArgumentException when the matrix has fewer zeros than the layout was made for
   */
  SparseMatrix pack(Tensor scales) {
    return layout.pattern() == Pattern.BITMASK ? bitmask(scales) : twoOfFour(scales);
  }

  private SparseMatrix bitmask(Tensor scales) {
    int width = (columns + 7) / 8;
    Tensor mask = context.allocate(DType.U8, rows, width);
    int[] counts = new int[rows];
    for (int row = 0; row < rows; row++) {
      counts[row] = mark(row(row), mask.buffer((long) row * width, width));
    }
    fill(mask, counts);
    Tensor offsets = context.allocate(DType.I64, rows);
    ByteBuffer prefix = offsets.buffer();
    Tensor values = context.allocate(layout.kind().dtype(), layout.units());
    long kept = 0;
    long units = 0;
    for (int row = 0; row < rows; row++) {
      prefix.putLong(kept);
      long count = layout.kind() == Kind.INT4 ? (counts[row] + 1) / 2 : counts[row];
      ByteBuffer to =
          values.buffer(layout.kind().dtype().bytes(units), layout.kind().dtype().bytes(count));
      gather(row(row), mask.buffer((long) row * width, width), to);
      kept += counts[row];
      units += count;
    }
    return new SparseMatrix(
        Pattern.BITMASK, rows, columns, mask, offsets, values, scales, layout.group());
  }

  private ByteBuffer row(int row) {
    long bytes = dense.dtype().bytes(columns);
    return dense.buffer(row * bytes, bytes);
  }

  /** Sets the bits of a row's weights that are not 0; returns how many they are. */
  private int mark(ByteBuffer row, ByteBuffer mask) {
    int kept = 0;
    for (int column = 0; column < columns; column++) {
      if (isKept(row, column)) {
        mask.put(column >> 3, (byte) (mask.get(column >> 3) | 1 << (column & 7)));
        kept++;
      }
    }
    return kept;
  }

  private boolean isKept(ByteBuffer row, int column) {
    return switch (layout.kind()) {
      case F32 -> row.getInt(4 * column) << 1 != 0;
      case F16, BF16 -> (row.getShort(2 * column) & 0x7FFF) != 0;
      case INT8, INT4 -> row.get(column) != 0;
    };
  }

  /** Keeps zeros until the values fill their tensor. */
  private void fill(Tensor mask, int[] counts) {
    boolean halves = layout.kind() == Kind.INT4;
    long units = 0;
    for (int count : counts) {
      units += halves ? (count + 1) / 2 : count;
    }
    if (units > layout.units()) {
      throw new IllegalArgumentException(
          "a matrix that keeps " + units + " packed as " + layout + ", which holds fewer");
    }
    int width = (columns + 7) / 8;
    int[] next = new int[rows];
    for (int row = 0; units < layout.units(); row = row + 1 == rows ? 0 : row + 1) {
      if (counts[row] == columns) {
        continue;
      }
      // The second half of a byte is free of cost: a row that ends in half a byte takes two.
      boolean free = halves && counts[row] % 2 == 1;
      next[row] = keep(mask.buffer((long) row * width, width), next[row]);
      counts[row]++;
      if (free && counts[row] < columns) {
        next[row] = keep(mask.buffer((long) row * width, width), next[row]);
        counts[row]++;
        free = false;
      }
      units += free ? 0 : 1;
    }
  }

  /** Sets the first free bit from {@code column} on; returns the column after it. */
  private static int keep(ByteBuffer mask, int from) {
    int column = from;
    while ((mask.get(column >> 3) >> (column & 7) & 1) != 0) {
      column++;
    }
    mask.put(column >> 3, (byte) (mask.get(column >> 3) | 1 << (column & 7)));
    return column + 1;
  }

  private void gather(ByteBuffer row, ByteBuffer mask, ByteBuffer to) {
    int at = 0;
    for (int column = 0; column < columns; column++) {
      if ((mask.get(column >> 3) >> (column & 7) & 1) != 0) {
        put(row, column, to, at++);
      }
    }
    if (layout.kind() == Kind.INT4 && at % 2 == 1) {
      to.put(at / 2, (byte) (to.get(at / 2) | 0x80)); // pad: code 0
    }
  }

  private void put(ByteBuffer row, int column, ByteBuffer to, int at) {
    switch (layout.kind()) {
      case F32 -> to.putInt(4 * at, row.getInt(4 * column));
      case F16, BF16 -> to.putShort(2 * at, row.getShort(2 * column));
      case INT8 -> to.put(at, row.get(column));
      case INT4 -> {
        int code = row.get(column) + 8 << 4 * (at & 1);
        to.put(at / 2, (byte) (to.get(at / 2) | code));
      }
    }
  }

  private SparseMatrix twoOfFour(Tensor scales) {
    int width = (columns + 7) / 8;
    Tensor places = context.allocate(DType.U8, rows, width);
    boolean halves = layout.kind() == Kind.INT4;
    long valueWidth = halves ? (columns + 3) / 4 : columns / 2;
    Tensor values = context.allocate(layout.kind().dtype(), rows, valueWidth);
    long valueBytes = layout.kind().dtype().bytes(valueWidth);
    for (int row = 0; row < rows; row++) {
      ByteBuffer from = row(row);
      ByteBuffer to = values.buffer(row * valueBytes, valueBytes);
      ByteBuffer pairs = places.buffer((long) row * width, width);
      for (int quad = 0; quad < columns / 4; quad++) {
        int pair = pair(from, row, quad);
        pairs.put(quad >> 1, (byte) (pairs.get(quad >> 1) | pair << 4 * (quad & 1)));
        put(from, 4 * quad + (pair & 3), to, 2 * quad);
        put(from, 4 * quad + (pair >> 2), to, 2 * quad + 1);
      }
    }
    return new SparseMatrix(
        Pattern.TWO_OF_FOUR, rows, columns, places, null, values, scales, layout.group());
  }

  /** Returns the two places kept of four columns, the lower in bits 0 and 1. */
  private int pair(ByteBuffer row, int rowIndex, int quad) {
    int nonZero = 0;
    for (int i = 0; i < 4; i++) {
      nonZero |= isKept(row, 4 * quad + i) ? 1 << i : 0;
    }
    if (Integer.bitCount(nonZero) > 2) {
      throw new IllegalArgumentException(
          "row " + rowIndex + " keeps more than two of columns " + 4 * quad + ".. as " + layout);
    }
    for (int free = 0; Integer.bitCount(nonZero) < 2; free++) {
      nonZero |= 1 << free;
    }
    int low = Integer.numberOfTrailingZeros(nonZero);
    int high = 31 - Integer.numberOfLeadingZeros(nonZero);
    return low | high << 2;
  }
}
