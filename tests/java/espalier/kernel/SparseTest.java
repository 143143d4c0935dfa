// SPDX-License-Identifier: Apache-2.0
package espalier.kernel;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import espalier.kernel.Sparse.Matrix;
import espalier.kernel.Sparse.Pattern;
import espalier.tensor.Context;
import espalier.tensor.DType;
import espalier.tensor.Tensor;
import java.util.Arrays;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;

class SparseTest {
  private static final int ROWS = 5;
  private static final int COLUMNS = 36;

  /** Integers of a small range, which every kind of values holds exactly; about half are 0. */
  private static float[] weights(Pattern pattern) {
    Random random = new Random(11);
    float[] w = new float[ROWS * COLUMNS];
    for (int i = 0; i < w.length; i++) {
      boolean kept = pattern == Pattern.BITMASK ? random.nextBoolean() : i % 4 == (i / 4) % 4;
      w[i] = kept ? random.nextInt(7) + 1 - 8 : 0;
    }
    return w;
  }

  private static Matrix pack(Context context, Pattern pattern, DType values, float[] w) {
    boolean codes = values == DType.I8 || values == DType.U8;
    Tensor dense = context.allocate(codes ? DType.I8 : DType.F32, ROWS, COLUMNS);
    if (codes) {
      byte[] bytes = new byte[w.length];
      for (int i = 0; i < w.length; i++) {
        bytes[i] = (byte) w[i];
      }
      dense.fill(bytes);
    } else {
      dense.fill(w);
    }
    boolean bitmask = pattern == Pattern.BITMASK;
    Tensor places = context.allocate(DType.U8, ROWS, Sparse.placeBytes(COLUMNS));
    Tensor offsets = bitmask ? context.allocate(DType.I64, ROWS) : null;
    long kept = Sparse.places(context, pattern, dense, null, places, offsets);
    Sparse.Finding found = Sparse.check(context, pattern, COLUMNS, places, offsets, values);
    assertEquals(-1, found.row());
    assertEquals(kept, found.kept());
    Tensor stored = context.allocate(values, found.valueBytes() * 8 / values.bits());
    Tensor scales = null;
    if (codes) {
      scales = context.allocate(DType.F32, ROWS, COLUMNS / 12);
      float[] each = new float[ROWS * COLUMNS / 12];
      Arrays.fill(each, 0.5f);
      scales.fill(each);
    }
    Matrix matrix =
        new Matrix(pattern, ROWS, COLUMNS, places, offsets, stored, scales, codes ? 12 : 0);
    Sparse.pack(context, dense, matrix);
    return matrix;
  }

  @Test
  void packedWeightsExpandToThemselvesAndMultiplyAsTheDenseMatrix() {
    try (Context context = Context.cpu(2)) {
      for (Pattern pattern : Pattern.values()) {
        float[] w = weights(pattern);
        for (DType values : new DType[] {DType.F32, DType.F16, DType.BF16, DType.I8, DType.U8}) {
          Matrix matrix = pack(context, pattern, values, w);
          float unit = matrix.scales() == null ? 1f : 0.5f;
          float[] expected = new float[w.length];
          for (int i = 0; i < w.length; i++) {
            expected[i] = unit * w[i];
          }
          Tensor dense = context.allocate(DType.F32, ROWS, COLUMNS);
          Sparse.expand(context, matrix, dense);
          assertArrayEquals(expected, dense.toFloats(), pattern + " " + values);
          for (int m : new int[] {1, 9, 100}) {
            Tensor x = context.allocate(DType.F32, m, COLUMNS);
            float[] ones = new float[m * COLUMNS];
            for (int i = 0; i < ones.length; i++) {
              ones[i] = i % 3 - 1; // sums of integers and halves: exact in any order
            }
            x.fill(ones);
            Tensor y = context.allocate(DType.F32, m, ROWS);
            Tensor y2 = context.allocate(DType.F32, m, ROWS);
            Sparse.multiply(context, x, matrix, null, y);
            MatMul.dense(context, x, dense, null, y2);
            assertArrayEquals(y2.toFloats(), y.toFloats(), pattern + " " + values + " " + m);
          }
        }
      }
    }
  }

  @Test
  void codesComeBack() {
    try (Context context = Context.cpu(1)) {
      for (Pattern pattern : Pattern.values()) {
        float[] w = weights(pattern);
        for (DType values : new DType[] {DType.I8, DType.U8}) {
          Tensor codes = context.allocate(DType.I8, ROWS, COLUMNS);
          Sparse.codes(context, pack(context, pattern, values, w), codes);
          byte[] bytes = codes.toBytes();
          for (int i = 0; i < w.length; i++) {
            assertEquals(w[i], (float) bytes[i]);
          }
        }
      }
    }
  }

  @Test
  void threeOfFourAreRefused() {
    try (Context context = Context.cpu(1)) {
      Tensor dense = context.floats(new float[] {1, 2, 0, 3}, 1, 4);
      Tensor places = context.allocate(DType.U8, 1, 1);
      IllegalArgumentException refused =
          assertThrows(
              IllegalArgumentException.class,
              () -> Sparse.places(context, Pattern.TWO_OF_FOUR, dense, null, places, null));
      assertTrue(refused.getMessage().contains("two of four"), refused.getMessage());
    }
  }

  @Test
  void shapesAreChecked() {
    try (Context context = Context.cpu(1)) {
      Tensor places = context.allocate(DType.U8, 2, 1);
      Tensor offsets = context.allocate(DType.I64, 2);
      Tensor values = context.allocate(DType.I8, 3);
      refuses("places", () -> new Matrix(Pattern.BITMASK, 2, 9, places, offsets, values, null, 3));
      refuses(
          "multiple of 4",
          () -> new Matrix(Pattern.TWO_OF_FOUR, 2, 6, places, null, values, null, 3));
      refuses("group", () -> new Matrix(Pattern.BITMASK, 2, 8, places, offsets, values, null, 3));
    }
  }

  private static void refuses(String word, Executable call) {
    String message = assertThrows(IllegalArgumentException.class, call).getMessage();
    assertTrue(message.contains(word), message);
  }
}
