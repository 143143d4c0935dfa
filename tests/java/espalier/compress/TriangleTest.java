// SPDX-License-Identifier: Apache-2.0
package espalier.compress;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import espalier.tensor.Context;
import espalier.tensor.DType;
import espalier.tensor.Tensor;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Random;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Sums that wait in a file lose nothing, and a triangle takes the room of a triangle. */
class TriangleTest {
  /** Two whole bands and a part of one. */
  private static final int WIDTH = 2 * Triangle.BAND + 77;

  private final Context context = Context.cpu(2);

  @TempDir Path folder;

  @AfterEach
  void close() {
    context.close();
  }

  private Statistics statistics(int width, int tokens) {
    float[] x = new float[tokens * width];
    Random random = new Random(7);
    for (int i = 0; i < x.length; i++) {
      x[i] = (float) random.nextGaussian();
    }
    Statistics statistics = new Statistics(context, width);
    statistics.add(context.floats(x, tokens, width));
    return statistics;
  }

  private static double[] upper(Tensor square) {
    double[] values = square.toDoubles();
    for (int i = 0; i < WIDTH; i++) {
      Arrays.fill(values, i * WIDTH, i * WIDTH + i, 0);
    }
    return values;
  }

  @Test
  void theFactorIsTheSameFromSumsInAFile() {
    for (boolean ordered : new boolean[] {false, true}) {
      Statistics here = statistics(WIDTH, 900);
      Statistics aside = statistics(WIDTH, 900);
      double[] before = upper(aside.gram());
      aside.layAside(folder);
      HessianFactor expected = here.factor(0.01, ordered);
      HessianFactor found = aside.factor(0.01, ordered);
      assertArrayEquals(expected.order(), found.order());
      assertArrayEquals(upper(expected.upper()), upper(found.upper()));
      assertEquals(here.deadChannels(), aside.deadChannels());
      aside.takeBack();
      assertArrayEquals(before, upper(aside.gram()));
    }
  }

  @Test
  void whatNeedsTheSumsWhileTheyAreAwayFails() {
    Statistics statistics = statistics(16, 20);
    statistics.layAside(folder);
    assertTrue(statistics.isAside());
    assertThrows(IllegalStateException.class, statistics::gram);
    assertThrows(
        IllegalStateException.class, () -> statistics.add(context.floats(new float[16], 1, 16)));
    Tensor weight = context.floats(new float[32], 2, 16);
    assertTrue(Double.isNaN(LayerError.energy(context, weight, statistics)));
  }

  @Test
  void aSquareOfWhichATriangleIsUsedTakesTheRoomOfOne() {
    int width = 4096;
    Tensor x = context.allocate(DType.F32, 1, width);
    new Statistics(context, 64).add(context.floats(new float[64], 1, 64)); // scratch and code
    long before = Resident.bytes();
    Statistics statistics = new Statistics(context, width);
    statistics.add(x);
    statistics.factor(0.01, false);
    long square = 8L * width * width; // 134 MB
    long grown = Resident.bytes() - before;
    // Two triangles and the pages that the diagonal cuts are 168 MB, two squares 268 MB.
    assertTrue(grown > square / 2 && grown < square + square / 2, grown + " bytes");
  }
}
