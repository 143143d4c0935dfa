// SPDX-License-Identifier: Apache-2.0
package espalier.codec;

import espalier.kernel.Sparse;
import espalier.kernel.Sparse.Matrix;
import espalier.kernel.Sparse.Pattern;
import espalier.tensor.Context;
import espalier.tensor.DType;
import espalier.tensor.Tensor;
import java.nio.ByteBuffer;

/**
 * Takes the weights that are not 0 (−0 counts as 0) out of a matrix. How many places the result has
 * is decided before, see {@link SparseLayout}, so that the size of a file is known before its
 * content: where a matrix has more zeros than were promised, some of them are kept. They are chosen
 * a row at a time in turn, the lowest free column of each.
 */
final class SparsePacking {
  private final Context context;
  private final SparseLayout layout;

  SparsePacking(Context context, SparseLayout layout) {
    this.context = context;
    this.layout = layout;
  }

  /**
   * Returns the matrix in the context's current scope.
   *
   * @param dense F32 [out, in], exact in the layout's kind, or I8 codes
   * @param scales F32 [out, in/group] of codes, else null
   * @throws IllegalArgumentException when it keeps more weights than the layout was made for
   * @throws espalier.report.EspalierException when the layout is 2:4 and it keeps three of four
   */
  Matrix pack(Tensor dense, Tensor scales) {
    long out = layout.out();
    Tensor places = context.allocate(DType.U8, out, Sparse.placeBytes(layout.in()));
    boolean bitmask = layout.pattern() == Pattern.BITMASK;
    Tensor offsets = bitmask ? context.allocate(DType.I64, out) : null;
    long kept = Sparse.places(context, layout.pattern(), dense, null, places, offsets);
    if (bitmask) {
      fill(places, offsets, kept);
    }
    Tensor values = context.allocate(layout.kind().dtype(), layout.valueShape());
    Matrix matrix =
        new Matrix(
            layout.pattern(), out, layout.in(), places, offsets, values, scales, layout.group());
    Sparse.pack(context, dense, matrix);
    return matrix;
  }

  /** Keeps zeros until the values fill their tensor. */
  private void fill(Tensor places, Tensor offsets, long kept) {
    int rows = Math.toIntExact(layout.out());
    long width = places.dimension(1);
    long[] counts = new long[rows];
    ByteBuffer starts = offsets.buffer();
    long units = 0;
    for (int row = 0; row < rows; row++) {
      long end = row + 1 < rows ? starts.getLong((row + 1) * Long.BYTES) : kept;
      counts[row] = end - starts.getLong(row * Long.BYTES);
      units += layout.kind().elements(counts[row]);
    }
    if (units > layout.units()) {
      throw new IllegalArgumentException(
          "a matrix that keeps " + kept + " weights in a layout for fewer: " + layout);
    }
    if (units == layout.units()) {
      return;
    }
    int[] next = new int[rows];
    for (int row = 0; units < layout.units(); row = row + 1 == rows ? 0 : row + 1) {
      if (counts[row] < layout.in()) {
        next[row] = keep(places.buffer(row * width, width), next[row]);
        units += layout.kind().elements(counts[row] + 1) - layout.kind().elements(counts[row]);
        counts[row]++;
      }
    }
    long before = 0;
    for (int row = 0; row < rows; row++) {
      starts.putLong(row * Long.BYTES, before);
      before += counts[row];
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
}
