// SPDX-License-Identifier: Apache-2.0
package espalier.codec;

import espalier.tensor.Context;
import espalier.tensor.Tensor;
import java.nio.ByteBuffer;
import java.nio.IntBuffer;

/** Transposed copies, tile by tile so that both sides stay in the cache. */
final class Turned {
  private static final int TILE = 32; // 32 x 32 words: 4 KiB read, 4 KiB written

  private Turned() {}

  /** Returns [columns, rows] of a [rows, columns] of 32-bit elements, in the current scope. */
  static Tensor words(Context context, Tensor matrix) {
    int rows = Math.toIntExact(matrix.dimension(0));
    int columns = Math.toIntExact(matrix.dimension(1));
    Tensor turned = context.allocate(matrix.dtype(), columns, rows);
    IntBuffer from = matrix.buffer().asIntBuffer();
    IntBuffer to = turned.buffer().asIntBuffer();
    for (int top = 0; top < rows; top += TILE) {
      int bottom = Math.min(rows, top + TILE);
      for (int left = 0; left < columns; left += TILE) {
        int right = Math.min(columns, left + TILE);
        for (int column = left; column < right; column++) {
          for (int row = top; row < bottom; row++) {
            to.put(column * rows + row, from.get(row * columns + column));
          }
        }
      }
    }
    return turned;
  }

  /** Returns [columns, rows] of a [rows, columns] of bytes, in the current scope. */
  static Tensor bytes(Context context, Tensor matrix) {
    int rows = Math.toIntExact(matrix.dimension(0));
    int columns = Math.toIntExact(matrix.dimension(1));
    Tensor turned = context.allocate(matrix.dtype(), columns, rows);
    ByteBuffer from = matrix.buffer();
    ByteBuffer to = turned.buffer();
    for (int row = 0; row < rows; row++) {
      for (int column = 0; column < columns; column++) {
        to.put(column * rows + row, from.get(row * columns + column));
      }
    }
    return turned;
  }
}
