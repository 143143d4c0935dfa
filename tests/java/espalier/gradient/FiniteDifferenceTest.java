// SPDX-License-Identifier: Apache-2.0
package espalier.gradient;

import static org.junit.jupiter.api.Assertions.assertEquals;

import espalier.kernel.Backward;
import espalier.kernel.Elementwise.Function;
import espalier.kernel.LossGradient.Divergence;
import espalier.kernel.Ops;
import espalier.tensor.Context;
import espalier.tensor.DType;
import espalier.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.function.DoubleSupplier;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** Every rule of reverse mode against central differences of the forward pass. */
class FiniteDifferenceTest {
  /**
   * Of fp32 sums of about 100 terms of size 1: rounding 1e-6 / STEP = 5e-4, and the third
   * derivative times STEP² / 6, below 1e-5.
   */
  private static final float STEP = 2e-3f;

  private static final double TOLERANCE = 4e-3; // of the largest entry of the gradient

  private final Context context = Context.cpu(2);
  private final Random random = new Random(20260101);
  private final List<Parameter> operands = new ArrayList<>();

  @AfterEach
  void close() {
    context.close();
  }

  private Tensor operand(long... shape) {
    Tensor value = noise(shape);
    Tensor gradient = context.allocate(DType.F32, shape);
    operands.add(new Parameter("operand " + operands.size(), value, gradient, false));
    return value;
  }

  private Tensor noise(long... shape) {
    Tensor value = context.allocate(DType.F32, shape);
    float[] values = new float[(int) value.elements()];
    for (int i = 0; i < values.length; i++) {
      values[i] = (float) random.nextGaussian();
    }
    return value.fill(values);
  }

  private interface Run {
    Tensor apply(Ops ops);
  }

  /** Checks the gradient of Σ y · upstream by every operand so far, for a batch of sequences. */
  private void check(Run run, int... lengths) {
    try (Tape tape = new Tape(context, operands)) {
      tape.begin(lengths);
      Tensor upstream = noise(run.apply(tape).shape().toArray());
      tape.begin(lengths);
      Tensor y = run.apply(tape);
      Backward.accumulate(context, upstream, tape.gradient(y));
      tape.backward();
      float[] weights = upstream.toFloats();
      compare(
          () -> {
            tape.begin(lengths);
            float[] values = run.apply(tape).toFloats();
            double sum = 0;
            for (int i = 0; i < values.length; i++) {
              sum += (double) values[i] * weights[i];
            }
            return sum;
          });
    }
  }

  /** The loss may add to the gradients whenever it is computed. */
  private void compare(DoubleSupplier loss) {
    List<float[]> gradients = new ArrayList<>();
    operands.forEach(p -> gradients.add(p.gradient().toFloats()));
    for (int at = 0; at < gradients.size(); at++) {
      Parameter operand = operands.get(at);
      float[] gradient = gradients.get(at);
      float[] values = operand.value().toFloats();
      double largest = 1e-2;
      for (float entry : gradient) {
        largest = Math.max(largest, Math.abs(entry));
      }
      for (int i = 0; i < values.length; i += 1 + values.length / 40) {
        float middle = values[i];
        values[i] = middle + STEP;
        operand.value().fill(values);
        double high = loss.getAsDouble();
        values[i] = middle - STEP;
        operand.value().fill(values);
        double low = loss.getAsDouble();
        values[i] = middle;
        operand.value().fill(values);
        double slope = (high - low) / ((double) (middle + STEP) - (middle - STEP));
        assertEquals(slope, gradient[i], TOLERANCE * largest, operand.name() + " at " + i);
      }
    }
    operands.clear();
  }

  @Test
  void linearMaps() {
    Tensor x = operand(5, 7);
    Tensor weight = operand(9, 7);
    Tensor bias = operand(9);
    check(ops -> ops.dense(x, weight, false, bias));
    Tensor other = operand(6, 4);
    Tensor inOut = operand(4, 5);
    check(ops -> ops.dense(other, inOut, true, null));
  }

  @Test
  void packedWeightsThatStayAsTheyAre() {
    Tensor x = operand(5, 16);
    Tensor bias = operand(6);
    Tensor codes = context.ints(random.ints(12).toArray(), 6, 2); // any word is eight codes
    float[] steps = new float[12];
    for (int i = 0; i < steps.length; i++) {
      steps[i] = 0.05f + 0.02f * i;
    }
    Tensor scales = context.floats(steps, 6, 2);
    check(ops -> ops.packed(x, 4, codes, scales, null, 8, null, bias));
  }

  @Test
  void tables() {
    Tensor table = operand(6, 5);
    Tensor ids = context.ints(new int[] {3, 1, 3, 0}, 4);
    check(ops -> ops.embed(ids, table));
    Tensor places = operand(6, 5);
    check(ops -> ops.embedPositions(0, 7, places), 4, 3);
  }

  @Test
  void norms() {
    Tensor x = operand(4, 10);
    Tensor weight = operand(10);
    check(ops -> ops.rmsNorm(x, weight, 1e-2f));
    Tensor in = operand(4, 10);
    Tensor scale = operand(10);
    Tensor bias = operand(10);
    check(ops -> ops.layerNorm(in, scale, bias, 1e-2f));
    // Of every head: rows of width 5.
    Tensor heads = operand(4, 10);
    Tensor shared = operand(5);
    check(ops -> ops.rmsNorm(heads, shared, 1e-2f));
  }

  @Test
  void rotation() {
    Tensor x = operand(7, 12);
    Tensor cosines = context.floats(angles(9, true), 9, 2);
    Tensor sines = context.floats(angles(9, false), 9, 2);
    check(ops -> ops.rotate(x, 2, 2, cosines, sines));
    Tensor batch = operand(7, 12);
    check(ops -> ops.rotate(batch, 2, 0, cosines, sines), 3, 4);
  }

  private static float[] angles(int positions, boolean cosine) {
    float[] table = new float[2 * positions];
    for (int i = 0; i < table.length; i++) {
      double angle = 0.7 * (i / 2) / (1 + i % 2);
      table[i] = (float) (cosine ? Math.cos(angle) : Math.sin(angle));
    }
    return table;
  }

  @Test
  void attention() {
    attend(9, 9, 0, 0);
    attend(4, 9, 5, 0);
    attend(9, 9, 0, 3);
    attend(9, 9, 0, 0, 2, 4, 3);
  }

  private void attend(int queries, int keys, long start, long window, int... lengths) {
    Tensor q = operand(queries, 4 * 6);
    Tensor k = operand(keys, 2 * 6);
    Tensor v = operand(keys, 2 * 6);
    check(ops -> ops.attention(q, k, v, 4, 2, start, window, 0.4f), lengths);
  }

  @Test
  void elementwiseFunctions() {
    for (Function function : Function.values()) {
      Tensor x = operand(3, 11);
      // The corner of relu has no slope.
      float[] values = x.toFloats();
      for (int i = 0; i < values.length; i++) {
        values[i] += values[i] > 0 ? 0.01f : -0.01f;
      }
      x.fill(values);
      check(ops -> ops.activation(function, x));
    }
    Tensor gate = operand(3, 11);
    Tensor up = operand(3, 11);
    check(ops -> ops.siluMultiply(gate, up));
    Tensor a = operand(3, 11);
    Tensor b = operand(3, 11);
    check(ops -> ops.multiply(ops.add(a, b), ops.add(a, a)));
    Tensor wide = operand(3, 11);
    check(ops -> ops.multiply(ops.columns(wide, 1, 5), ops.columns(wide, 3, 7)));
    Tensor square = operand(3, 3);
    check(ops -> ops.multiply(square, square));
  }

  @Test
  void headsAndTheirLosses() {
    int rows = 70; // two chunks, of 64 rows and the rest
    int[] targets = new int[rows];
    for (int i = 0; i < rows; i++) {
      targets[i] = i % 5 == 0 ? -1 : i % 13;
    }
    Tensor labels = context.ints(targets, rows);
    for (Divergence kind : new Divergence[] {null, Divergence.forward(2), Divergence.reverse(1)}) {
      Tensor x = operand(rows, 6);
      Tensor weight = operand(13, 6);
      Tensor bias = operand(13);
      Tensor teacherX = noise(rows, 4);
      Tensor teacher = noise(13, 4);
      try (Tape tape = new Tape(context, operands)) {
        LinearLoss head = new LinearLoss(tape, weight, bias, 1);
        tape.begin();
        step(head, kind, x, teacherX, teacher, labels);
        compare(() -> step(head, kind, x, teacherX, teacher, labels));
      }
    }
  }

  private static double step(
      LinearLoss head, Divergence kind, Tensor x, Tensor teacherX, Tensor teacher, Tensor labels) {
    return kind == null
        ? head.crossEntropy(x, labels, 1)
        : head.divergence(kind, x, teacherX, teacher, labels, 1);
  }
}
