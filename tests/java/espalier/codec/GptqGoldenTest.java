// SPDX-License-Identifier: Apache-2.0
package espalier.codec;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.DynamicTest.dynamicTest;

import com.fasterxml.jackson.databind.node.ObjectNode;
import espalier.Shared;
import espalier.checkpoint.Checkpoint;
import espalier.checkpoint.Safetensors;
import espalier.internal.Json;
import espalier.kernel.Convert;
import espalier.kernel.Quantize;
import espalier.layer.Quantized;
import espalier.layer.Scheme;
import espalier.tensor.Context;
import espalier.tensor.DType;
import espalier.tensor.Tensor;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;

/**
 * GPTQ files of GPTQModel 7.7.0 and AWQ files of AutoAWQ 0.2.9: decoded exactly, to codes, zero
 * points and F16 weights; GPTQ written again to the byte.
 */
class GptqGoldenTest {
  private static final String GOLDEN = "golden/formats/gptq-awq";

  @TestFactory
  Stream<DynamicTest> everyFileDecodesExactly() {
    return cases("", GptqGoldenTest::decodes);
  }

  @TestFactory
  Stream<DynamicTest> gptqFilesAreWrittenToTheByte() {
    return cases("w", GptqGoldenTest::rewrites);
  }

  private interface Check {
    void run(Path folder);
  }

  private static Stream<DynamicTest> cases(String prefix, Check check) {
    if (!Shared.present()) {
      return Stream.of(dynamicTest("gptq-awq", () -> Shared.path(GOLDEN)));
    }
    return Shared.folders(GOLDEN)
        .filter(folder -> folder.getFileName().toString().startsWith(prefix))
        .map(folder -> dynamicTest(folder.getFileName().toString(), () -> check.run(folder)));
  }

  /** One file of expectations serves v1 and v2; it lies beside v1. */
  private static Safetensors expected(Path folder) {
    String name = folder.getFileName().toString().replaceFirst("-v2$", "-v1");
    return Safetensors.open(folder.resolveSibling(name).resolve("expected.safetensors"));
  }

  private static Quantized read(Context context, Checkpoint checkpoint) {
    ObjectNode config =
        checkpoint.json("config.json").orElseGet(() -> Json.STRICT.createObjectNode());
    Codecs codecs = Codecs.of(checkpoint, config);
    assertTrue(codecs.quantized());
    return (Quantized) codecs.read(context, "layer", false);
  }

  private static void decodes(Path folder) {
    try (Context context = Context.cpu(1);
        Checkpoint checkpoint = Checkpoint.open(folder);
        Safetensors golden = expected(folder)) {
      Quantized linear = read(context, checkpoint);
      Tensor weight = golden.find("layer.weight").orElseThrow();
      Tensor found = Convert.fromFloat(context, linear.weight(context), DType.F16);
      assertEquals(weight.shape(), found.shape());
      assertArrayEquals(weight.toBytes(), found.toBytes());
      int half = 1 << (linear.scheme().bits() - 1);
      Tensor codes =
          Quantize.unpack(context, linear.codes(), linear.scheme().bits(), linear.inFeatures());
      assertArrayEquals(
          golden.find("layer.codes").orElseThrow().toBytes(), raised(codes.toBytes(), half));
      assertArrayEquals(
          golden.find("layer.zeros").orElseThrow().toBytes(),
          raised(zeros(context, linear).toBytes(), half));
    }
  }

  /** Returns I8 [groups, out], as the expectations have them. */
  private static Tensor zeros(Context context, Quantized linear) {
    return linear.zeros() == null
        ? context.allocate(DType.I8, linear.scales().dimension(1), linear.outFeatures())
        : Turned.bytes(context, linear.zeros());
  }

  private static byte[] raised(byte[] signed, int half) {
    byte[] result = new byte[signed.length];
    for (int i = 0; i < signed.length; i++) {
      result[i] = (byte) (signed[i] + half);
    }
    return result;
  }

  /** Writes from the expected codes and zero points, not from what our reader made of the file. */
  private static void rewrites(Path folder) {
    try (Context context = Context.cpu(1);
        Checkpoint checkpoint = Checkpoint.open(folder);
        Safetensors golden = expected(folder)) {
      Quantized read = read(context, checkpoint);
      Scheme scheme = read.scheme();
      int half = 1 << (scheme.bits() - 1);
      Tensor codes = signed(context, golden.find("layer.codes").orElseThrow(), half);
      Tensor zeros = signed(context, golden.find("layer.zeros").orElseThrow(), half);
      Tensor index = checkpoint.get("layer.g_idx");
      Tensor scales = Convert.toFloat(context, checkpoint.get("layer.scales"));
      Quantized made =
          new Quantized(
              scheme,
              codes.dimension(1),
              Quantize.pack(context, codes, scheme.bits()),
              Turned.words(context, scales),
              scheme.symmetric() ? null : Turned.bytes(context, zeros),
              folder.getFileName().toString().contains("-act") ? index : null,
              DType.F16,
              null);
      GptqCodec codec = folder.toString().endsWith("v2") ? GptqCodec.V2 : GptqCodec.V1;
      Map<String, Tensor> tensors = codec.encode(context, "layer", made);
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
      long out = codes.dimension(0);
      codec
          .declare("layer", scheme, out, codes.dimension(1), DType.F16)
          .forEach(spec -> assertEquals(tensors.get(spec.name()).shape(), spec.shape()));
    }
  }

  private static Tensor signed(Context context, Tensor unsigned, int half) {
    Tensor result = context.allocate(DType.I8, unsigned.shape().toArray());
    ByteBuffer from = unsigned.buffer();
    ByteBuffer to = result.buffer();
    while (from.hasRemaining()) {
      to.put((byte) (from.get() - half));
    }
    return result;
  }
}
