// SPDX-License-Identifier: Apache-2.0
package espalier.layer;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import espalier.kernel.Convert;
import espalier.kernel.Quantize;
import espalier.tensor.Context;
import espalier.tensor.DType;
import espalier.tensor.Tensor;
import java.util.Random;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Zeros are counted as they are, and patterns named only when they are there. */
class CensusTest {
  private final Context context = Context.cpu(1);
  private final Random random = new Random(17);

  @AfterEach
  void close() {
    context.close();
  }

  /** Zeroes so many of every so many columns, at random places. */
  private float[] pruned(int rows, int columns, int zeros, int of) {
    float[] values = new float[rows * columns];
    java.util.Arrays.fill(values, 0.5f);
    for (int from = 0; from < values.length; from += of) {
      for (int left = zeros; left > 0; ) {
        int at = from + random.nextInt(of);
        if (values[at] != 0) {
          values[at] = left % 2 == 0 ? 0f : -0f;
          left--;
        }
      }
    }
    return values;
  }

  private Census census(float[] values, int rows, int columns, DType type) {
    Tensor wide = context.floats(values, rows, columns);
    Tensor stored = type == DType.F32 ? wide : Convert.fromFloat(context, wide, type);
    return Census.of(context, new Dense(stored, null));
  }

  @ParameterizedTest
  @CsvSource({"2, 4, 2:4", "1, 4, 1:4", "4, 8, 4:8", "6, 8, 6:8", "8, 16, 8:16", "20, 32, 20:32"})
  void patternsAreToldApart(int zeros, int of, String pattern) {
    for (DType type : new DType[] {DType.F32, DType.F16, DType.BF16}) {
      Census census = census(pruned(64, 96, zeros, of), 64, 96, type);
      assertEquals(64 * 96 - 64 * 96 / of * zeros, census.nonZeros());
      assertEquals(pattern, census.pattern());
      assertEquals(1 - zeros / (double) of, census.density(), 1e-12);
      // Two weights of eight are at most two of any four.
      assertEquals(pattern.equals("2:4") || pattern.equals("6:8"), census.fitsTwoOfFour());
    }
  }

  @Test
  void manyZerosAnywhereAreNoPattern() {
    float[] values = new float[64 * 96];
    for (int i = 0; i < values.length; i++) {
      values[i] = random.nextInt(20) == 0 ? 1 : 0;
    }
    assertEquals("unstructured", census(values, 64, 96, DType.F32).pattern());
  }

  @Test
  void aZeroOrTwoDoNotMakeAPrunedMatrix() {
    float[] values = pruned(64, 96, 0, 4);
    values[100] = 0;
    Census census = census(values, 64, 96, DType.F32);
    assertEquals(64 * 96 - 1, census.nonZeros());
    assertEquals("dense", census.pattern());
    assertFalse(census.fitsTwoOfFour());
  }

  /** GPT-2 stores [in, out]: fours are of the inputs, wherever they lie. */
  @Test
  void columnsAreInputsHoweverAMatrixIsStored() {
    float[] values = pruned(8, 16, 2, 4);
    float[] turned = new float[values.length];
    for (int row = 0; row < 8; row++) {
      for (int column = 0; column < 16; column++) {
        turned[column * 8 + row] = values[row * 16 + column];
      }
    }
    Census census = Census.of(context, new Dense(context.floats(turned, 16, 8), true, null));
    assertEquals("2:4", census.pattern());
    assertTrue(census.fitsTwoOfFour());
  }

  @Test
  void codesOfZeroAreZeros() {
    byte[] codes = {0, 3, 0, -2, 1, 0, 0, -8};
    Tensor packed = Quantize.pack(context, context.allocate(DType.I8, 1, 8).fill(codes), 4);
    Scheme scheme = new Scheme(4, true, 0);
    Quantized linear =
        new Quantized(
            scheme,
            8,
            packed,
            context.floats(new float[] {0.5f}, 1, 1),
            null,
            null,
            DType.F32,
            null);
    assertEquals(4, Census.of(context, linear).nonZeros());
    assertEquals("2:4", Census.of(context, linear).pattern());
  }

  @Test
  void aRestOfColumnsIsCountedAndBelongsToNoPattern() {
    float[] values = pruned(3, 6, 0, 2);
    values[0] = 0;
    values[4] = 0;
    values[17] = 0;
    Census census = census(values, 3, 6, DType.F32);
    assertEquals(15, census.nonZeros());
    assertEquals("unstructured", census.pattern());
    assertFalse(census.fitsTwoOfFour());
  }
}
