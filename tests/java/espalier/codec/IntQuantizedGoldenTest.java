// SPDX-License-Identifier: Apache-2.0
package espalier.codec;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import espalier.Shared;
import espalier.checkpoint.Checkpoint;
import espalier.checkpoint.Safetensors;
import espalier.compress.LinearInput;
import espalier.compress.Rtn;
import espalier.kernel.Convert;
import espalier.kernel.Eager;
import espalier.kernel.Quantize;
import espalier.layer.Activations;
import espalier.layer.Quantized;
import espalier.layer.Scheme;
import espalier.model.Model;
import espalier.model.Past;
import espalier.report.EspalierException;
import espalier.tensor.Context;
import espalier.tensor.DType;
import espalier.tensor.Tensor;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Map;
import java.util.stream.LongStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** int-quantized files and whole W8A8 checkpoints of compressed-tensors 0.20.0. */
class IntQuantizedGoldenTest {
  private static final String FILES = "golden/formats/compressed-tensors/";

  @ParameterizedTest
  @ValueSource(strings = {"w8a8-int-channel-f32", "w8a8-int-channel-bf16"})
  void matricesDecodeExactly(String name) {
    Path folder = Shared.path(FILES + "matrices/" + name);
    try (Context context = Context.cpu(1);
        Checkpoint checkpoint = Checkpoint.open(folder);
        Safetensors golden = Safetensors.open(folder.resolve("expected.safetensors"))) {
      Quantized linear = read(context, checkpoint);
      assertEquals(Activations.INT8_PER_TOKEN, linear.scheme().activations());
      assertSameWeight(context, golden, linear);
    }
  }

  @Test
  void oneScaleForAMatrixDecodesExactly() {
    Path folder = Shared.path(FILES + "matrices/w8a8-int-tensor-static-f32");
    try (Context context = Context.cpu(1);
        Checkpoint checkpoint = Checkpoint.open(folder);
        Safetensors golden = Safetensors.open(folder.resolve("expected.safetensors"))) {
      Scheme scheme = new Scheme(8, true, 0);
      assertSameWeight(
          context,
          golden,
          (Quantized) new IntQuantized().decode(context, checkpoint, "layer", scheme, null));
      // Its activations have a scale fixed beforehand, which nothing here computes with.
      EspalierException refused =
          assertThrows(EspalierException.class, () -> read(context, checkpoint));
      assertTrue(refused.getMessage().contains("input_activations"), refused.getMessage());
    }
  }

  private static void assertSameWeight(Context context, Safetensors golden, Quantized linear) {
    Tensor expected = golden.find("layer.weight").orElseThrow();
    Tensor weight = linear.weight(context);
    Tensor found =
        expected.dtype() == DType.F32
            ? weight
            : Convert.fromFloat(context, weight, expected.dtype());
    assertEquals(expected.shape(), found.shape());
    assertArrayEquals(expected.toBytes(), found.toBytes());
  }

  private static Quantized read(Context context, Checkpoint checkpoint) {
    Codecs codecs = Codecs.of(checkpoint, checkpoint.json("config.json").orElseThrow());
    return (Quantized) codecs.read(context, "layer", false);
  }

  @Test
  void theFloatMatrixIsWrittenToTheByte() {
    Path folder = Shared.path(FILES + "matrices/w8a8-int-channel-f32");
    try (Context context = Context.cpu(1);
        Checkpoint checkpoint = Checkpoint.open(folder);
        Safetensors inputs = Safetensors.open(folder.resolveSibling("inputs.safetensors"))) {
      Quantized stored = read(context, checkpoint);
      Tensor weight =
          inputs.find("f32." + stored.outFeatures() + "x" + stored.inFeatures()).orElseThrow();
      LinearInput input =
          new LinearInput(
              "layer", weight, null, stored.scheme(), Quantize.Range.MIN_MAX, DType.F32, null);
      Quantized made = new Rtn(Quantize.Ties.AS_THEY_FALL).apply(input, context).quantized();
      Map<String, Tensor> tensors = new IntQuantized().encode(context, "layer", made);
      assertEquals(
          checkpoint.names().stream().sorted().toList(),
          tensors.keySet().stream().sorted().toList());
      tensors.forEach(
          (name, tensor) -> {
            Tensor expected = checkpoint.get(name);
            assertEquals(expected.dtype(), tensor.dtype(), name);
            assertEquals(expected.shape(), tensor.shape(), name);
            assertArrayEquals(expected.toBytes(), tensor.toBytes(), name);
          });
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"tiny-W8A8", "tiny-mixed"})
  void wholeCheckpointsHaveTheLibrarysLogitsWithRoundedInputs(String name) {
    Path folder = Shared.path(FILES + "checkpoints/" + name);
    try (Context context = Context.cpu(1);
        Model model = Model.open(folder, context);
        Safetensors golden = Safetensors.open(folder.resolve("expected.safetensors"))) {
      assertArrayEquals(
          golden.find("model.layers.0.self_attn.q_proj.weight").orElseThrow().toFloats(),
          model.linears().get("model.layers.0.self_attn.q_proj").weight(context).toFloats());
      Eager rounding = new Eager(context);
      Eager plain = new Eager(context, false);
      assertLogits(1e-4, golden, "logits_input_quantized", model, rounding);
      assertLogits(1e-4, golden, "logits", model, plain);
    }
  }

  private static void assertLogits(
      double tolerance, Safetensors golden, String name, Model model, Eager ops) {
    Tensor ids = golden.find("input_ids").orElseThrow();
    float[] expected = golden.find(name).orElseThrow().toFloats();
    int length = (int) ids.dimension(1);
    int[] all =
        LongStream.range(0, ids.elements())
            .mapToInt(i -> (int) ids.buffer().getLong((int) i * Long.BYTES))
            .toArray();
    int row = expected.length / (int) ids.dimension(0);
    for (int text = 0; text < ids.dimension(0); text++) {
      int[] tokens = Arrays.copyOfRange(all, text * length, (text + 1) * length);
      Tensor input = ops.context().ints(tokens, length);
      float[] found = model.forward(ops, input, Past.NONE).toFloats();
      for (int i = 0; i < row; i++) {
        assertEquals(expected[text * row + i], found[i], tolerance, name + " " + text + " " + i);
      }
    }
  }
}
