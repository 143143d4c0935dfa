// SPDX-License-Identifier: Apache-2.0
package espalier.codec;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertTrue;

import espalier.Shared;
import espalier.checkpoint.Checkpoint;
import espalier.checkpoint.Safetensors;
import espalier.kernel.Convert;
import espalier.layer.Sparse;
import espalier.tensor.Context;
import espalier.tensor.DType;
import espalier.tensor.Tensor;
import java.nio.file.Path;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Sparse files that compressed-tensors 0.14.0 wrote, the last release that could. */
class LegacySparseGoldenTest {
  @ParameterizedTest
  @ValueSource(
      strings = {
        "sparse-bitmask-f32",
        "sparse-bitmask-bf16",
        "sparse-bitmask-odd-f32",
        "sparse-bitmask-odd-bf16",
        "sparse-24-bitmask-f32",
        "sparse-24-bitmask-bf16"
      })
  void matricesDecodeExactly(String name) {
    Path folder = Shared.path("golden/formats/compressed-tensors/legacy-0.14/" + name);
    try (Context context = Context.cpu(1);
        Checkpoint checkpoint = Checkpoint.open(folder);
        Safetensors golden = Safetensors.open(folder.resolve("expected.safetensors"))) {
      Codecs codecs = Codecs.of(checkpoint, checkpoint.json("config.json").orElseThrow());
      assertTrue(codecs.quantized());
      Tensor expected = golden.find("layer.weight").orElseThrow();
      Sparse linear = assertInstanceOf(Sparse.class, codecs.read(context, "layer", false));
      assertEquals(expected.dtype(), linear.type());
      assertEquals(expected.elements(), codecs.parameters());
      Tensor weight = linear.weight(context);
      Tensor found =
          expected.dtype() == DType.F32
              ? weight
              : Convert.fromFloat(context, weight, expected.dtype());
      assertEquals(expected.shape(), found.shape());
      assertArrayEquals(expected.toBytes(), found.toBytes());
    }
  }
}
