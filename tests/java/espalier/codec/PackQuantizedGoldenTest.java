// SPDX-License-Identifier: Apache-2.0
package espalier.codec;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.DynamicTest.dynamicTest;

import espalier.Shared;
import espalier.checkpoint.Checkpoint;
import espalier.checkpoint.Safetensors;
import espalier.compress.LinearInput;
import espalier.compress.Rtn;
import espalier.kernel.Convert;
import espalier.kernel.Quantize;
import espalier.layer.Quantized;
import espalier.tensor.Context;
import espalier.tensor.DType;
import espalier.tensor.Tensor;
import java.nio.file.Path;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;

/**
 * pack-quantized files of compressed-tensors 0.20.0 and 0.14.0: decoded exactly, fp32 ones
 * rewritten to the byte.
 */
class PackQuantizedGoldenTest {
  private static final String MATRICES = "golden/formats/compressed-tensors/matrices";
  private static final String LEGACY = "golden/formats/compressed-tensors/legacy-0.14";

  @TestFactory
  Stream<DynamicTest> everyFileDecodesExactly() {
    if (!Shared.present()) {
      return Stream.of(dynamicTest("matrices", () -> Shared.path(MATRICES)));
    }
    return Stream.concat(integerFolders(MATRICES), integerFolders(LEGACY))
        .map(folder -> dynamicTest(folder.getFileName().toString(), () -> decodes(folder)));
  }

  @TestFactory
  Stream<DynamicTest> floatMatricesAreWrittenToTheByte() {
    if (!Shared.present()) {
      return Stream.of(dynamicTest("matrices", () -> Shared.path(MATRICES)));
    }
    return integerFolders(MATRICES)
        .filter(folder -> folder.getFileName().toString().endsWith("f32"))
        .map(folder -> dynamicTest(folder.getFileName().toString(), () -> rewrites(folder)));
  }

  private static Stream<Path> integerFolders(String relative) {
    return Shared.folders(relative)
        .filter(folder -> folder.getFileName().toString().matches("w[2-8]a16-.*"));
  }

  private static void decodes(Path folder) {
    try (Context context = Context.cpu(1);
        Checkpoint checkpoint = Checkpoint.open(folder);
        Safetensors golden = Safetensors.open(folder.resolve("expected.safetensors"))) {
      Tensor expected = golden.find("layer.weight").orElseThrow();
      Quantized linear = read(context, checkpoint);
      Tensor weight = linear.weight(context);
      Tensor found =
          expected.dtype() == DType.F32
              ? weight
              : Convert.fromFloat(context, weight, expected.dtype());
      assertEquals(expected.shape(), found.shape());
      assertArrayEquals(expected.toBytes(), found.toBytes());
    }
  }

  private static Quantized read(Context context, Checkpoint checkpoint) {
    Codecs codecs = Codecs.of(checkpoint, checkpoint.json("config.json").orElseThrow());
    assertTrue(codecs.quantized());
    return (Quantized) codecs.read(context, "layer", false);
  }

  private static void rewrites(Path folder) {
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
      Map<String, Tensor> tensors = new PackQuantized().encode(context, "layer", made);
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
}
