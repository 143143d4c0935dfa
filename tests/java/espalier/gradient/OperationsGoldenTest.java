// SPDX-License-Identifier: Apache-2.0
package espalier.gradient;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import espalier.Shared;
import espalier.checkpoint.Safetensors;
import espalier.kernel.Backward;
import espalier.kernel.Elementwise.Function;
import espalier.kernel.LossGradient;
import espalier.kernel.Ops;
import espalier.tensor.Context;
import espalier.tensor.DType;
import espalier.tensor.Tensor;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/**
 * Gradients of single operations by torch autograd in float64: golden/gradients/operations. The
 * operations of families that the engine does not run are left out: interleaved rotation, soft
 * caps.
 */
class OperationsGoldenTest {
  private static final double TOLERANCE = 1e-5; // of the tensor's largest entry

  private final Context context = Context.cpu(2);
  private Safetensors golden;
  private JsonNode losses;
  private final List<Parameter> operands = new ArrayList<>();
  private final List<String> names = new ArrayList<>();

  @BeforeEach
  void open() {
    Path folder = Shared.path("golden/gradients/operations");
    golden = Safetensors.open(folder.resolve("tensors.safetensors"));
    losses = Shared.json(folder.resolve("expected.json")).get("losses");
  }

  @AfterEach
  void close() {
    if (golden != null) {
      golden.close();
    }
    context.close();
  }

  private Tensor read(String name) {
    return golden.find(name).orElseThrow();
  }

  /** An operand whose gradient will be compared, seen as a matrix of rows. */
  private Tensor operand(String operation, String name) {
    Tensor stored = read(operation + "." + name);
    Tensor value =
        stored.shape().rank() == 1
            ? stored
            : stored.reshape(stored.dimension(0), stored.elements() / stored.dimension(0));
    Tensor gradient = context.allocate(DType.F32, value.shape().toArray());
    operands.add(new Parameter(name, value, gradient, false));
    names.add(operation + ".grad." + name);
    return value;
  }

  /** What an operation computes from its operands. */
  private interface Run {
    Tensor apply(Ops ops);
  }

  private void check(String operation, Run run) {
    try (Tape tape = new Tape(context, operands)) {
      tape.begin();
      Tensor y = run.apply(tape);
      Tensor upstream = read(operation + ".upstream").reshape(y.shape().toArray());
      Backward.accumulate(context, upstream, tape.gradient(y));
      double loss = 0;
      float[] values = y.toFloats();
      float[] weights = upstream.toFloats();
      for (int i = 0; i < values.length; i++) {
        loss += (double) values[i] * weights[i];
      }
      if (losses.has(operation)) {
        double expected = losses.get(operation).asDouble();
        assertEquals(expected, loss, 1e-5 * Math.max(1, Math.abs(expected)), operation);
      }
      tape.backward();
    }
    compare();
  }

  private void compare() {
    for (int i = 0; i < names.size(); i++) {
      assertClose(
          names.get(i), read(names.get(i)).toFloats(), operands.get(i).gradient().toFloats());
    }
    names.clear();
    operands.clear();
  }

  static void assertClose(String name, float[] expected, float[] actual) {
    double largest = 0;
    double apart = 0;
    for (int i = 0; i < expected.length; i++) {
      largest = Math.max(largest, Math.abs(expected[i]));
      apart = Math.max(apart, Math.abs(expected[i] - actual[i]));
    }
    double share = apart / largest;
    assertTrue(share <= TOLERANCE, () -> name + " differs by " + share + " of its largest entry");
  }

  @Test
  void norms() {
    Tensor x = operand("rmsnorm", "x");
    Tensor weight = operand("rmsnorm", "weight");
    check("rmsnorm", ops -> ops.rmsNorm(x, weight, 1e-5f));
    Tensor small = operand("rmsnorm_small", "x");
    Tensor smallWeight = operand("rmsnorm_small", "weight");
    check("rmsnorm_small", ops -> ops.rmsNorm(small, smallWeight, 1e-5f));
    Tensor in = operand("layernorm", "x");
    Tensor scale = operand("layernorm", "weight");
    Tensor bias = operand("layernorm", "bias");
    check("layernorm", ops -> ops.layerNorm(in, scale, bias, 1e-5f));
  }

  @Test
  void rotations() {
    Tensor x = operand("rope_half", "x");
    Tensor[] half = tables(16);
    check("rope_half", ops -> ops.rotate(x, 3, 0, half[0], half[1]));
    Tensor other = operand("rope_partial", "x");
    Tensor[] partial = tables(12);
    check("rope_partial", ops -> ops.rotate(other, 3, 0, partial[0], partial[1]));
  }

  /** Cosines and sines of nine positions. */
  private Tensor[] tables(int rotary) {
    float[] cosines = new float[9 * rotary / 2];
    float[] sines = new float[9 * rotary / 2];
    for (int t = 0; t < 9; t++) {
      for (int i = 0; i < rotary / 2; i++) {
        double angle = t * Math.pow(10000, -2.0 * i / rotary);
        cosines[t * rotary / 2 + i] = (float) Math.cos(angle);
        sines[t * rotary / 2 + i] = (float) Math.sin(angle);
      }
    }
    return new Tensor[] {
      context.floats(cosines, 9, rotary / 2), context.floats(sines, 9, rotary / 2)
    };
  }

  @Test
  void elementwiseFunctions() {
    Tensor gate = operand("swiglu", "gate");
    Tensor up = operand("swiglu", "up");
    check("swiglu", ops -> ops.siluMultiply(gate, up));
    Tensor tanh = operand("gelu_tanh", "x");
    check("gelu_tanh", ops -> ops.activation(Function.GELU_TANH, tanh));
    Tensor exact = operand("gelu_exact", "x");
    check("gelu_exact", ops -> ops.activation(Function.GELU, exact));
    Tensor first = operand("geglu_tanh", "gate");
    Tensor second = operand("geglu_tanh", "up");
    check("geglu_tanh", ops -> ops.multiply(ops.activation(Function.GELU_TANH, first), second));
  }

  @Test
  void attention() {
    attend("attention_gqa", 6, 2, 0, 0);
    attend("attention_mqa_past", 4, 1, 4, 0);
    attend("attention_window", 6, 2, 0, 4);
  }

  private void attend(String operation, int heads, int keyHeads, long start, long window) {
    Tensor q = operand(operation, "q");
    Tensor k = operand(operation, "k");
    Tensor v = operand(operation, "v");
    float scale = (float) (1 / Math.sqrt(8));
    check(operation, ops -> ops.attention(q, k, v, heads, keyHeads, start, window, scale));
  }

  @Test
  void linearAndEmbedding() {
    Tensor x = operand("linear_bias", "x");
    Tensor weight = operand("linear_bias", "weight");
    Tensor bias = operand("linear_bias", "bias");
    check("linear_bias", ops -> ops.dense(x, weight, false, bias));
    Tensor table = operand("embedding", "weight");
    Tensor ids = read("embedding.ids");
    check("embedding", ops -> ops.embed(ids, table));
  }

  @Test
  void crossEntropy() {
    Tensor logits = read("cross_entropy.logits");
    Tensor labels = read("cross_entropy.labels");
    int targets = 0;
    for (int label : labels.toInts()) {
      targets += label >= 0 ? 1 : 0;
    }
    Tensor gradient = context.allocate(DType.F32, logits.shape().toArray());
    Tensor loss = context.allocate(DType.F64, labels.elements());
    LossGradient.crossEntropy(context, logits, labels, 1f / targets, gradient, loss);
    double mean = 0;
    for (double row : loss.toDoubles()) {
      mean += row / targets;
    }
    assertEquals(losses.get("cross_entropy").asDouble(), mean, 1e-5);
    assertClose(
        "cross_entropy.grad.logits",
        read("cross_entropy.grad.logits").toFloats(),
        gradient.toFloats());
  }
}
