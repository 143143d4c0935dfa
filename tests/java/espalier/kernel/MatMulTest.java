// SPDX-License-Identifier: Apache-2.0
package espalier.kernel;

import static org.junit.jupiter.api.Assertions.assertEquals;

import espalier.tensor.Context;
import espalier.tensor.Precision;
import espalier.tensor.Tensor;
import java.util.Arrays;
import org.junit.jupiter.api.Test;

/** What a context's precision means for products of packed weights. */
class MatMulTest {
  /** The sum of x, as a product with 128 codes of 4 bits that all stand for 1. */
  private static float sum(Context context, float... values) {
    float[] row = new float[128];
    System.arraycopy(values, 0, row, 0, values.length);
    int[] ones = new int[16];
    Arrays.fill(ones, 0x99999999); // 1 + 8 in every nibble
    Tensor y = context.floats(new float[1], 1, 1);
    MatMul.packed(
        context,
        4,
        context.floats(row, 1, 128),
        context.ints(ones, 1, 16),
        context.floats(new float[] {1}, 1, 1),
        null,
        128,
        null,
        null,
        y);
    return y.toFloats()[0];
  }

  @Test
  void fp32ContextsKeepAnElementAMillionTimesSmaller() {
    try (Context context = Context.cpu(1)) {
      assertEquals(Precision.FP32, context.precision());
      assertEquals(0x1p-10f, sum(context, 1000, -1000, 0x1p-10f));
    }
  }

  @Test
  void bf16ContextsRoundActivationsByLessThanBf16Does() {
    try (Context context = Context.cpu(1)) {
      context.setPrecision(Precision.BF16);
      assertEquals(Precision.BF16, context.precision());
      // Half a step of 1000 / 32512 is lost; bf16 would keep 1001 only as 1000 or 1004.
      assertEquals(0, sum(context, 1000, -1000, 0x1p-10f));
      assertEquals(1, sum(context, 1001, -1000), 2 * 1001.0 / 65024);
      context.setPrecision(Precision.FP32);
      assertEquals(0x1p-10f, sum(context, 1000, -1000, 0x1p-10f));
    }
  }
}
