// SPDX-License-Identifier: Apache-2.0
package espalier.kernel;

import espalier.tensor.Context;
import espalier.tensor.DType;
import espalier.tensor.Tensor;
import java.nio.ByteBuffer;

/** Stands in for the native operations until they are there: expands, then multiplies. */
public final class Sparse {
  private Sparse() {}

  /** Writes y F32 [tokens, rows] = x F32 [tokens, columns] · Wᵀ + bias. */
  public static void multiply(
      Context context, Tensor x, SparseMatrix weight, Tensor bias, Tensor y) {
    try (Context.Scope scope = context.scope()) {
      MatMul.dense(context, x, expand(context, weight), bias, y);
    }
  }

  /** Returns the codes, I8 [rows, columns], 0 where nothing is kept. */
  public static Tensor codes(Context context, SparseMatrix weight) {
    Tensor ones = context.allocate(DType.F32, weight.rows(), weight.columns() / weight.group());
    java.util.stream.LongStream.range(0, ones.elements())
        .forEach(i -> ones.buffer().putFloat((int) (4 * i), 1f));
    SparseMatrix unscaled =
        new SparseMatrix(
            weight.pattern(),
            weight.rows(),
            weight.columns(),
            weight.places(),
            weight.rowOffsets(),
            weight.values(),
            ones,
            weight.group());
    float[] values = expand(context, unscaled).toFloats();
    Tensor codes = context.allocate(DType.I8, weight.rows(), weight.columns());
    ByteBuffer bytes = codes.buffer();
    for (float value : values) {
      bytes.put((byte) value);
    }
    return codes;
  }

  /** Returns the matrix, F32 [rows, columns], in the context's current scope. */
  public static Tensor expand(Context context, SparseMatrix weight) {
    Tensor dense = context.allocate(DType.F32, weight.rows(), weight.columns());
    int rows = Math.toIntExact(weight.rows());
    int columns = Math.toIntExact(weight.columns());
    ByteBuffer places = weight.places().buffer();
    int width = (columns + 7) / 8;
    boolean coded = weight.kind().isCode();
    Tensor wide = coded ? null : Convert.toFloat(context, weight.values());
    var floats = coded ? null : wide.buffer().asFloatBuffer();
    ByteBuffer codes = coded ? weight.values().buffer() : null;
    var to = dense.buffer().asFloatBuffer();
    long nibble = 0;
    int at = 0;
    for (int row = 0; row < rows; row++) {
      nibble += nibble & 1;
      for (int column = 0, j = 2 * (row * columns / 4); column < columns; column++) {
        int local = column / 4 * 2;
        boolean kept;
        if (weight.pattern() == SparseMatrix.Pattern.BITMASK) {
          kept = (places.get(row * width + column / 8) >> (column & 7) & 1) != 0;
        } else {
          int pair = places.get(row * width + local / 4) >> 2 * (local & 3);
          kept = (pair & 3) == column % 4 || (pair >> 2 & 3) == column % 4;
        }
        if (!kept) {
          continue;
        }
        float value;
        if (!coded) {
          value = floats.get(at++);
        } else {
          int code;
          if (weight.kind() == SparseMatrix.Kind.INT8) {
            code = codes.get(at++);
          } else {
            code = (codes.get((int) (nibble / 2)) >> 4 * (int) (nibble & 1) & 15) - 8;
            nibble++;
          }
          int group = (int) weight.group();
          value =
              code
                  * weight
                      .scales()
                      .buffer()
                      .getFloat(4 * (row * (columns / group) + column / group));
        }
        to.put(row * columns + column, value);
      }
    }
    return dense;
  }
}
