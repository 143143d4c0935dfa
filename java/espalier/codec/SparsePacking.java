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
   * @throws IllegalArgumentException when it keeps more weights than the layout was made for, or
   *     three of four in 2:4
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
    long[] counts = new long[rows];
    ByteBuffer starts = offsets.buffer();
    for (int row = 0; row < rows; row++) {
      long end = row + 1 < rows ? starts.getLong((row + 1) * Long.BYTES) : kept;
      counts[row] = end - starts.getLong(row * Long.BYTES);
    }
    long units = unitsAfter(counts, 0);
    if (units > layout.units()) {
      throw new IllegalArgumentException(
          "a matrix that keeps " + kept + " weights in a layout for fewer: " + layout);
    }
    if (units < layout.units()) {
      long[] wanted = wanted(counts);
      long width = places.dimension(1);
      long before = 0;
      for (int row = 0; row < rows; row++) {
        keep(places.buffer(row * width, width), wanted[row] - counts[row]);
        starts.putLong(row * Long.BYTES, before);
        before += wanted[row];
      }
    }
  }

  /** Returns the elements of values after every row with room has kept so many zeros more. */
  private long unitsAfter(long[] counts, long turns) {
    long units = 0;
    for (long count : counts) {
      units += layout.kind().elements(Math.min(layout.in(), count + turns));
    }
    return units;
  }

  /** Returns how many weights every row keeps when the rows keep zeros in turn, one each. */
  private long[] wanted(long[] counts) {
    long low = 0; // turns that do not fill the tensor
    long high = layout.in();
    while (high - low > 1) {
      long middle = (low + high) / 2;
      if (unitsAfter(counts, middle) < layout.units()) {
        low = middle;
      } else {
        high = middle;
      }
    }
    long[] wanted = new long[counts.length];
    long units = unitsAfter(counts, low);
    for (int row = 0; row < counts.length; row++) {
      wanted[row] = Math.min(layout.in(), counts[row] + low);
      if (units < layout.units() && wanted[row] < layout.in()) {
        units += layout.kind().elements(wanted[row] + 1) - layout.kind().elements(wanted[row]);
        wanted[row]++;
      }
    }
    return wanted;
  }

  /** Sets the first {@code more} free bits of a row. */
  private static void keep(ByteBuffer mask, long more) {
    long left = more;
    for (int at = 0; left > 0; at++) {
      int bits = mask.get(at) & 0xFF;
      for (; left > 0 && bits != 0xFF; left--) {
        bits |= ~bits & - ~bits; // the lowest free bit
      }
      mask.put(at, (byte) bits);
    }
  }
}
