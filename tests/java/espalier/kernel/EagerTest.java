// SPDX-License-Identifier: Apache-2.0
package espalier.kernel;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;

import espalier.tensor.Context;
import espalier.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;

/** What Eager adds to the topics: new tensors, operands left alone. */
class EagerTest {
  @Test
  void columnsAreCopied() {
    try (Context context = Context.cpu(1)) {
      Ops ops = new Eager(context);
      Tensor x = context.floats(new float[] {1, 2, 3, 4, 5, 6}, 2, 3);
      assertArrayEquals(new float[] {2, 3, 5, 6}, ops.columns(x, 1, 3).toFloats());
      assertEquals(0, ops.columns(x, 3, 3).elements());
      assertThrows(IllegalArgumentException.class, () -> ops.columns(x, 2, 4));
    }
  }

  @Test
  void noOperandIsChanged() {
    try (Context context = Context.cpu(1)) {
      Ops ops = new Eager(context);
      float[] values = {1, -2, 3, -4};
      Tensor x = context.floats(values, 2, 2);
      Tensor c = context.floats(new float[] {0, 0}, 2, 1);
      Tensor s = context.floats(new float[] {1, 1}, 2, 1);
      assertArrayEquals(new float[] {2, 1, 4, 3}, ops.rotate(x, 1, 0, c, s).toFloats());
      assertArrayEquals(new float[] {2, -4, 6, -8}, ops.add(x, x).toFloats());
      assertArrayEquals(new float[] {1, 4, 9, 16}, ops.multiply(x, x).toFloats());
      assertArrayEquals(
          new float[] {1, 0, 3, 0}, ops.activation(Elementwise.Function.RELU, x).toFloats());
      assertArrayEquals(values, x.toFloats());
    }
  }

  @Test
  void sequencesOneBelowTheOtherDoNotSeeEachOther() {
    try (Context context = Context.cpu(1)) {
      Eager alone = new Eager(context);
      Eager together = alone.over(List.of(3L, 1L, 5L));
      Random random = new Random(7);
      Tensor q = noise(context, random, 9, 8);
      Tensor k = noise(context, random, 9, 4);
      Tensor v = noise(context, random, 9, 4);
      Tensor cosines = noise(context, random, 9, 2);
      Tensor sines = noise(context, random, 9, 2);
      Tensor turned = together.rotate(q, 2, 0, cosines, sines);
      Tensor mixed = together.attention(q, k, v, 2, 1, 0, 0, 0.5f);
      long[] borders = {0, 3, 4, 9};
      for (int i = 0; i < 3; i++) {
        long from = borders[i];
        long to = borders[i + 1];
        Tensor x = q.rows(from, to);
        assertArrayEquals(
            alone.rotate(x, 2, 0, cosines, sines).toFloats(), turned.rows(from, to).toFloats());
        assertArrayEquals(
            alone.attention(x, k.rows(from, to), v.rows(from, to), 2, 1, 0, 0, 0.5f).toFloats(),
            mixed.rows(from, to).toFloats());
      }
      assertThrows(
          IllegalArgumentException.class,
          () -> together.rotate(q.rows(0, 8), 2, 0, cosines, sines));
      assertThrows(IllegalArgumentException.class, () -> together.rotate(q, 2, 1, cosines, sines));
    }
  }

  private static Tensor noise(Context context, Random random, long rows, long columns) {
    float[] values = new float[(int) (rows * columns)];
    for (int i = 0; i < values.length; i++) {
      values[i] = random.nextFloat() - 0.5f;
    }
    return context.floats(values, rows, columns);
  }

  @Test
  void denseReadsBothOrientations() {
    try (Context context = Context.cpu(1)) {
      Ops ops = new Eager(context);
      Tensor x = context.floats(new float[] {1, 2}, 1, 2);
      Tensor bias = context.floats(new float[] {10, 20, 30}, 3);
      Tensor outIn = context.floats(new float[] {1, 2, 3, 4, 5, 6}, 3, 2);
      Tensor inOut = context.floats(new float[] {1, 3, 5, 2, 4, 6}, 2, 3);
      float[] expected = {15, 31, 47};
      assertArrayEquals(expected, ops.dense(x, outIn, false, bias).toFloats());
      assertArrayEquals(expected, ops.dense(x, inOut, true, bias).toFloats());
    }
  }

  @Test
  void tappedForwardsWhatItIsTold() {
    try (Context context = Context.cpu(1)) {
      List<String> seen = new ArrayList<>();
      Tapped inner = new Tapped(new Eager(context), (name, x) -> seen.add("inner " + name));
      Tapped outer = new Tapped(inner, (name, x) -> seen.add("outer " + name));
      Tensor x = context.floats(new float[] {1}, 1, 1);
      outer.observe("a", x);
      assertEquals(List.of("outer a", "inner a"), seen);
      assertSame(context, outer.context());
      assertArrayEquals(new float[] {2}, outer.add(x, x).toFloats());
    }
  }
}
