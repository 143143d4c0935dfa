// SPDX-License-Identifier: Apache-2.0
package espalier.gradient;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import espalier.tensor.Context;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** Several steps of every optimiser against its definition in fp64; schedules; clipping. */
class OptimizerTest {
  private static final int N = 37;
  private static final double RATE = 0.05;
  private static final double DECAY = 0.1;

  private final Context context = Context.cpu(2);
  private final Random random = new Random(5);

  @AfterEach
  void close() {
    context.close();
  }

  private Parameter parameter(boolean decays) {
    return new Parameter(
        decays ? "matrix" : "norm", context.floats(noise(), N), context.floats(noise(), N), decays);
  }

  private float[] noise() {
    float[] values = new float[N];
    for (int i = 0; i < N; i++) {
      values[i] = (float) random.nextGaussian();
    }
    return values;
  }

  /** One coordinate's next value from its value, its gradient and the step. */
  private interface Definition {
    double next(int i, double value, double gradient, int step);
  }

  /** Runs five steps with fresh gradients and compares every coordinate after each. */
  private void follow(Optimizer optimizer, Parameter parameter, Definition definition) {
    double[] expected = new double[N];
    float[] values = parameter.value().toFloats();
    for (int i = 0; i < N; i++) {
      expected[i] = values[i];
    }
    for (int step = 1; step <= 5; step++) {
      float[] gradient = noise();
      parameter.gradient().fill(gradient);
      optimizer.step(context, step, RATE, 0.5);
      values = parameter.value().toFloats();
      for (int i = 0; i < N; i++) {
        expected[i] = definition.next(i, expected[i], 0.5 * gradient[i], step);
        assertEquals(expected[i], values[i], 2e-6, "coordinate " + i + " after step " + step);
      }
    }
  }

  @Test
  void adamWDecaysMatricesAndFollowsItsDefinition() {
    for (boolean decays : new boolean[] {true, false}) {
      Parameter parameter = parameter(decays);
      double[] m = new double[N];
      double[] v = new double[N];
      AdamW.Settings settings = new AdamW.Settings(0.9, 0.99, 1e-8, DECAY);
      try (AdamW optimizer = new AdamW(List.of(parameter), settings)) {
        follow(
            optimizer,
            parameter,
            (i, p, g, k) -> {
              m[i] = 0.9 * m[i] + 0.1 * g;
              v[i] = 0.99 * v[i] + 0.01 * g * g;
              double root = Math.sqrt(v[i] / (1 - Math.pow(0.99, k))) + 1e-8;
              double kept = decays ? p - RATE * DECAY * p : p;
              return kept - RATE * m[i] / (1 - Math.pow(0.9, k)) / root;
            });
        assertEquals(2, optimizer.state().size());
      }
    }
  }

  @Test
  void sgdFollowsItsDefinitionWithAndWithoutMomentum() {
    for (double momentum : new double[] {0, 0.8}) {
      Parameter parameter = parameter(true);
      double[] velocity = new double[N];
      try (Sgd optimizer = new Sgd(List.of(parameter), momentum, DECAY)) {
        follow(
            optimizer,
            parameter,
            (i, p, g, k) -> {
              velocity[i] = momentum * velocity[i] + g;
              return p - RATE * DECAY * p - RATE * velocity[i];
            });
        assertEquals(momentum == 0 ? 0 : 1, optimizer.state().size());
      }
    }
  }

  @Test
  void signSgdMovesByTheRate() {
    Parameter parameter = parameter(true);
    try (SignSgd optimizer = new SignSgd(List.of(parameter), 0)) {
      follow(optimizer, parameter, (i, p, g, k) -> p - RATE * Math.signum(g));
      float[] before = parameter.value().toFloats();
      parameter.gradient().fill(new float[N]);
      optimizer.step(context, 6, RATE, 1);
      assertEquals(before[3], parameter.value().toFloats()[3]);
    }
  }

  @Test
  void theNormIsOfAllGradientsTogether() {
    List<Parameter> both = List.of(parameter(true), parameter(false));
    double squares = 0;
    for (Parameter parameter : both) {
      for (float value : parameter.gradient().toFloats()) {
        squares += (double) value * value;
      }
    }
    assertEquals(Math.sqrt(squares), Clipping.norm(context, both), 1e-9);
    assertEquals(0.25, new Clipping(1).factor(4 - 1e-6), 1e-12);
    assertEquals(1, new Clipping(1).factor(0.5));
    assertEquals(1, new Clipping(Double.POSITIVE_INFINITY).factor(1e9));
  }

  @Test
  void schedulesWarmUpAndFall() {
    Schedule cosine = new Schedule(Schedule.Curve.COSINE, 1, 0.2, 4, 14);
    assertEquals(0.25, cosine.rate(0));
    assertEquals(1, cosine.rate(3));
    assertEquals(1, cosine.rate(4));
    assertEquals(0.6, cosine.rate(9), 1e-12);
    assertEquals(0.2, cosine.rate(14), 1e-12);
    assertEquals(0.2, cosine.rate(100), 1e-12);
    Schedule linear = new Schedule(Schedule.Curve.LINEAR, 1, 0, 0, 10);
    assertEquals(0.7, linear.rate(3), 1e-12);
    Schedule constant = new Schedule(Schedule.Curve.CONSTANT, 0.5, 0, 2, 10);
    assertEquals(0.25, constant.rate(0));
    assertEquals(0.5, constant.rate(9));
    assertTrue(new Schedule(Schedule.Curve.LINEAR, 1, 0, 5, 5).rate(5) == 0);
    assertThrows(
        IllegalArgumentException.class,
        () -> new Schedule(Schedule.Curve.LINEAR, Double.NaN, 0, 0, 5));
    assertThrows(
        IllegalArgumentException.class, () -> new Schedule(Schedule.Curve.LINEAR, 1, 0, 6, 5));
  }
}
