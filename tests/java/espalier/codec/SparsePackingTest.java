// SPDX-License-Identifier: Apache-2.0
package espalier.codec;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import espalier.checkpoint.TensorSpec;
import espalier.kernel.Quantize;
import espalier.kernel.Sparse.Matrix;
import espalier.kernel.Sparse.Pattern;
import espalier.layer.Dense;
import espalier.layer.Linear;
import espalier.layer.Quantized;
import espalier.layer.Scheme;
import espalier.layer.Sparse;
import espalier.layer.SparseKind;
import espalier.layer.SparseQuantized;
import espalier.tensor.Context;
import espalier.tensor.DType;
import espalier.tensor.Tensor;
import java.nio.ByteBuffer;
import java.util.Map;
import java.util.Random;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Packing loses nothing but zeros, and what it makes has the size that was planned. */
class SparsePackingTest {
  private static final int ROWS = 5;
  private static final int MOST_COLUMNS = 70;

  private final Context context = Context.cpu(2);
  private final Random random = new Random(20311);

  @AfterEach
  void close() {
    context.close();
  }

  /** Values that every floating-point kind holds: multiples of 1/64 below 2. */
  private float[] values(int rows, int columns, double density) {
    float[] values = new float[rows * columns];
    for (int i = 0; i < values.length; i++) {
      values[i] = random.nextDouble() < density ? (1 + random.nextInt(127)) / 64f : 0;
      values[i] *= random.nextBoolean() ? 1 : -1; // so that some zeros are −0
    }
    return values;
  }

  private static long nonZeros(float[] values) {
    long count = 0;
    for (float value : values) {
      count += value != 0 ? 1 : 0;
    }
    return count;
  }

  private Dense dense(float[] values, int rows, int columns, DType type) {
    Tensor wide = context.floats(values, rows, columns);
    return new Dense(
        type == DType.F32 ? wide : espalier.kernel.Convert.fromFloat(context, wide, type), null);
  }

  /** Reads a stored bitmask the slow way, from what the class comment of the codec says. */
  private static boolean isKept(Matrix matrix, int row, int column) {
    ByteBuffer mask = matrix.places().buffer();
    int width = (int) matrix.places().dimension(1);
    return (mask.get(row * width + column / 8) >> (column % 8) & 1) == 1;
  }

  private static void assertSameValues(float[] expected, Tensor found) {
    float[] values = found.toFloats();
    for (int i = 0; i < values.length; i++) {
      values[i] += 0f; // −0 + 0 = 0
      assertEquals(expected[i] + 0f, values[i], "element " + i);
    }
  }

  @ParameterizedTest
  @EnumSource(
      value = DType.class,
      names = {"F32", "F16", "BF16"})
  void aBitmaskOfAnyWidthComesBack(DType type) {
    for (int columns = 1; columns <= MOST_COLUMNS; columns++) {
      for (double density : new double[] {0, 0.3, 1}) {
        float[] values = values(ROWS, columns, density);
        SparseLayout layout =
            new SparseLayout(
                Pattern.BITMASK, SparseKind.of(type), ROWS, columns, nonZeros(values), 0, null);
        Sparse packed =
            (Sparse) SparseCodec.compacted(context, layout, dense(values, ROWS, columns, type));
        assertSameValues(values, packed.weight(context));
        assertSizes(layout, SparseCodec.encode(context, "m", packed));
        long before = 0;
        for (int row = 0; row < ROWS; row++) {
          assertEquals(before, packed.matrix().rowOffsets().buffer().getLong(8 * row));
          for (int column = 0; column < columns; column++) {
            boolean kept = values[row * columns + column] != 0;
            assertEquals(kept, isKept(packed.matrix(), row, column));
            before += kept ? 1 : 0;
          }
        }
      }
    }
  }

  private static void assertSizes(SparseLayout layout, Map<String, Tensor> tensors) {
    long bytes = 0;
    for (TensorSpec spec : layout.specs("m")) {
      Tensor tensor = tensors.get(spec.name());
      assertEquals(spec.dtype(), tensor.dtype(), spec.name());
      assertEquals(spec.shape(), tensor.shape(), spec.name());
      bytes += tensor.sizeBytes();
    }
    assertEquals(layout.specs("m").size(), tensors.size());
    assertEquals(layout.bytes(), bytes);
  }

  /** Every mask with at most two of four, and every value kind: what lies where. */
  @Test
  void everyTwoOfFourPatternComesBackAscending() {
    int columns = 16 * 4;
    float[] values = new float[columns];
    for (int quad = 0; quad < 16; quad++) {
      for (int i = 0; i < 4; i++) {
        if (Integer.bitCount(quad) <= 2 && (quad >> i & 1) == 1) {
          values[4 * quad + i] = (4 * quad + i + 1) / 64f;
        }
      }
    }
    for (DType type : new DType[] {DType.F32, DType.F16, DType.BF16}) {
      SparseLayout layout =
          SparseLayout.smallest(type, 1, columns, nonZeros(values), true).orElseThrow();
      // So few weights that a bitmask is smaller; 2:4 is what is tried here.
      layout =
          new SparseLayout(Pattern.TWO_OF_FOUR, layout.kind(), 1, columns, columns / 2, 0, null);
      Sparse packed =
          (Sparse) SparseCodec.compacted(context, layout, dense(values, 1, columns, type));
      assertSameValues(values, packed.weight(context));
      assertSizes(layout, SparseCodec.encode(context, "m", packed));
      ByteBuffer places = packed.matrix().places().buffer();
      for (int quad = 0; quad < 16; quad++) {
        int pair = places.get(quad / 2) >> 4 * (quad % 2) & 15;
        assertTrue((pair & 3) < pair >> 2, "quad " + quad + ": " + pair);
        int kept = 1 << (pair & 3) | 1 << (pair >> 2);
        if (Integer.bitCount(quad) <= 2) {
          assertEquals(quad, quad & kept, "a weight of quad " + quad + " is lost");
        }
      }
    }
  }

  @ParameterizedTest
  @ValueSource(ints = {4, 12, 20, 28, 36})
  void twoOfFourEndsInTheMiddleOfAByte(int columns) {
    float[] values = new float[ROWS * columns];
    for (int quad = 0; quad < values.length / 4; quad++) {
      int first = random.nextInt(4);
      values[4 * quad + first] = 0.5f;
      values[4 * quad + (first + 1 + random.nextInt(3)) % 4] = -0.25f;
    }
    SparseLayout layout =
        SparseLayout.smallest(DType.BF16, ROWS, columns, nonZeros(values), true).orElseThrow();
    assertEquals(Pattern.TWO_OF_FOUR, layout.pattern());
    Sparse packed =
        (Sparse) SparseCodec.compacted(context, layout, dense(values, ROWS, columns, DType.BF16));
    assertSameValues(values, packed.weight(context));
    assertSizes(layout, SparseCodec.encode(context, "m", packed));
    if (columns % 8 == 4) {
      ByteBuffer places = packed.matrix().places().buffer();
      int width = (columns + 7) / 8;
      for (int row = 0; row < ROWS; row++) {
        assertEquals(0, places.get(row * width + width - 1) >> 4 & 15, "pad of row " + row);
      }
    }
  }

  @ParameterizedTest
  @ValueSource(ints = {3, 4, 7, 8})
  void codesOfAnyWidthComeBack(int bits) {
    for (int columns = 2; columns <= 40; columns += 2) {
      for (boolean pairs : new boolean[] {false, true}) {
        if (pairs && columns % 4 != 0) {
          continue;
        }
        Quantized dense = codes(bits, columns, pairs);
        byte[] expected = Quantize.unpack(context, dense.codes(), bits, columns).toBytes();
        long kept = 0;
        for (byte code : expected) {
          kept += code != 0 ? 1 : 0;
        }
        SparseLayout layout =
            pairs
                ? new SparseLayout(
                    Pattern.TWO_OF_FOUR,
                    SparseKind.of(dense.scheme()),
                    ROWS,
                    columns,
                    ROWS * SparseKind.of(dense.scheme()).elements(columns / 2),
                    2,
                    DType.F16)
                : SparseLayout.smallest(
                        dense.scheme(), DType.F16, ROWS, columns, kept, false, Long.MAX_VALUE)
                    .orElseThrow();
        Linear packed = SparseCodec.compacted(context, layout, dense);
        assertSizes(layout, SparseCodec.encode(context, "m", packed));
        assertArrayEquals(
            dense.weight(context).toFloats(), normal(packed.weight(context).toFloats()));
        Quantized back = (Quantized) SparseCodec.expanded(context, packed);
        assertArrayEquals(
            expected, Quantize.unpack(context, back.codes(), bits, columns).toBytes());
        assertEquals(dense.scheme(), ((SparseQuantized) packed).scheme());
      }
    }
  }

  private static float[] normal(float[] values) {
    for (int i = 0; i < values.length; i++) {
      values[i] += 0f;
    }
    return values;
  }

  private Quantized codes(int bits, int columns, boolean pairs) {
    int half = 1 << (bits - 1);
    byte[] codes = new byte[ROWS * columns];
    for (int i = 0; i < codes.length; i++) {
      boolean kept = pairs ? i % 4 == 1 || i % 4 == 2 : random.nextInt(3) == 0;
      codes[i] = kept ? (byte) (random.nextInt(2 * half) - half) : 0;
    }
    Tensor packed =
        Quantize.pack(context, context.allocate(DType.I8, ROWS, columns).fill(codes), bits);
    float[] scales = new float[ROWS * columns / 2];
    for (int i = 0; i < scales.length; i++) {
      scales[i] = (1 + random.nextInt(100)) / 128f;
    }
    return new Quantized(
        new Scheme(bits, true, 2),
        columns,
        packed,
        context.floats(scales, ROWS, columns / 2),
        null,
        null,
        DType.F16,
        null);
  }

  /** A plan may promise fewer zeros than there are: the file is no smaller, the values the same. */
  @Test
  void moreZerosThanPlannedAreKept() {
    int columns = 13;
    float[] values = values(ROWS, columns, 0.3);
    for (long units = nonZeros(values); units <= ROWS * columns; units++) {
      SparseLayout layout =
          new SparseLayout(Pattern.BITMASK, SparseKind.F32, ROWS, columns, units, 0, null);
      Sparse packed =
          (Sparse) SparseCodec.compacted(context, layout, dense(values, ROWS, columns, DType.F32));
      assertSizes(layout, SparseCodec.encode(context, "m", packed));
      assertSameValues(values, packed.weight(context));
      assertEquals(
          units * 4,
          espalier.kernel.Sparse.check(
                  context,
                  Pattern.BITMASK,
                  columns,
                  packed.matrix().places(),
                  packed.matrix().rowOffsets(),
                  DType.F32)
              .valueBytes());
    }
  }

  @Test
  void moreWeightsThanPlannedAreRefused() {
    Dense dense = dense(new float[] {1, 2, 3, 0, 5, 0, 0, 0}, 2, 4, DType.F32);
    SparseLayout few = new SparseLayout(Pattern.BITMASK, SparseKind.F32, 2, 4, 3, 0, null);
    assertThrows(IllegalArgumentException.class, () -> SparseCodec.compacted(context, few, dense));
    SparseLayout pairs = new SparseLayout(Pattern.TWO_OF_FOUR, SparseKind.F32, 2, 4, 4, 0, null);
    assertThrows(RuntimeException.class, () -> SparseCodec.compacted(context, pairs, dense));
  }

  /** By hand: 64 columns, 8 rows. */
  @Test
  void theSmallestLayoutIsChosen() {
    int dense = 8 * 64;
    // bf16, half kept: 2:4 64 + 512 = 576 bytes; bitmask 64 + 64 + 512 = 640; dense 1024.
    SparseLayout half = SparseLayout.smallest(DType.BF16, 8, 64, dense / 2, true).orElseThrow();
    assertEquals(Pattern.TWO_OF_FOUR, half.pattern());
    assertEquals(576, half.bytes());
    assertEquals(9.0, half.bitsPerWeight());
    SparseLayout unstructured =
        SparseLayout.smallest(DType.BF16, 8, 64, dense / 2, false).orElseThrow();
    assertEquals(640, unstructured.bytes());
    // A quarter kept fits 2:4 too, but the mask is smaller: 64 + 64 + 256.
    SparseLayout quarter = SparseLayout.smallest(DType.BF16, 8, 64, dense / 4, true).orElseThrow();
    assertEquals(Pattern.BITMASK, quarter.pattern());
    assertEquals(384, quarter.bytes());
    // 448 kept: 64 + 64 + 896 = 1024, no smaller than dense.
    assertTrue(SparseLayout.smallest(DType.BF16, 8, 64, 448, false).isEmpty());
    assertTrue(SparseLayout.smallest(DType.BF16, 8, 64, 447, false).isPresent());
    // 4 bit, group 64, F16 scales: dense 256 + 16; 2:4 64 + 128 + 16 = 208.
    Scheme scheme = new Scheme(4, true, 64);
    SparseLayout four =
        SparseLayout.smallest(scheme, DType.F16, 8, 64, dense / 2, true, 272).orElseThrow();
    assertEquals(208, four.bytes());
    assertEquals(3.25, four.bitsPerWeight());
    assertTrue(
        SparseLayout.smallest(
                new Scheme(4, false, 64), DType.F16, 8, 64, dense / 2, true, Long.MAX_VALUE)
            .isEmpty(),
        "an asymmetric zero is no 0");
  }
}
