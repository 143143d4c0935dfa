// SPDX-License-Identifier: Apache-2.0
package espalier.codec;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import espalier.checkpoint.Checkpoint;
import espalier.layer.Quantized;
import espalier.report.EspalierException;
import espalier.tensor.Context;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** int-quantized files made by hand: a matrix of two rows and four columns. */
class IntQuantizedTest {
  private static final byte[] CODES = {-8, -1, 0, 7, 1, 2, 3, -4};
  @TempDir Path folder;

  /** Writes I8 codes [2, 4], F32 scales and I8 zero points beside a config of one group. */
  private Checkpoint write(String weights, String group, byte[] codes, float[] scales, byte[] zeros)
      throws IOException {
    String header =
        entry("layer.weight", "I8", "2,4", 0, codes.length)
            + ","
            + entry(
                "layer.weight_scale",
                "F32",
                scales.length + ",1",
                codes.length,
                codes.length + 4 * scales.length)
            + (zeros == null
                ? ""
                : ","
                    + entry(
                        "layer.weight_zero_point",
                        "I8",
                        zeros.length + ",1",
                        codes.length + 4 * scales.length,
                        codes.length + 4 * scales.length + zeros.length));
    byte[] text = ("{" + header + "}").getBytes(StandardCharsets.UTF_8);
    ByteBuffer file = ByteBuffer.allocate(8 + text.length + 64).order(ByteOrder.LITTLE_ENDIAN);
    file.putLong(text.length).put(text).put(codes);
    for (float scale : scales) {
      file.putFloat(scale);
    }
    if (zeros != null) {
      file.put(zeros);
    }
    byte[] bytes = new byte[file.position()];
    file.flip().get(bytes);
    Files.write(folder.resolve("model.safetensors"), bytes);
    Files.writeString(
        folder.resolve("config.json"),
        "{\"quantization_config\": {\"quant_method\": \"compressed-tensors\", \"format\":"
            + " \"int-quantized\", \"config_groups\": {\"g\": {\"targets\": [\"Linear\"],"
            + (" \"weights\": {\"type\": \"int\", " + weights + "}" + group + "}}}}"));
    return Checkpoint.open(folder);
  }

  private static String entry(String name, String dtype, String shape, int begin, int end) {
    return String.format(
        "\"%s\":{\"dtype\":\"%s\",\"shape\":[%s],\"data_offsets\":[%d,%d]}",
        name, dtype, shape, begin, end);
  }

  private static Quantized read(Context context, Checkpoint checkpoint) {
    Codecs codecs = Codecs.of(checkpoint, checkpoint.json("config.json").orElseThrow());
    return (Quantized) codecs.read(context, "layer", false);
  }

  private static String refusal(Checkpoint checkpoint) {
    try (Context context = Context.cpu(1);
        checkpoint) {
      return assertThrows(EspalierException.class, () -> read(context, checkpoint)).getMessage();
    }
  }

  @Test
  void zeroPointsAreSignedBytes() throws IOException {
    try (Context context = Context.cpu(1);
        Checkpoint checkpoint =
            write(
                "\"num_bits\": 8, \"strategy\": \"channel\", \"symmetric\": false",
                "",
                CODES,
                new float[] {0.5f, 2},
                new byte[] {-8, 1})) {
      assertArrayEquals(
          new float[] {0, 3.5f, 4, 7.5f, 0, 2, 4, -10},
          read(context, checkpoint).weight(context).toFloats());
    }
  }

  @Test
  void narrowCodesAreOneByteEach() throws IOException {
    String four = "\"num_bits\": 4, \"strategy\": \"channel\"";
    try (Context context = Context.cpu(1);
        Checkpoint checkpoint = write(four, "", CODES, new float[] {1, 1}, null)) {
      Quantized linear = read(context, checkpoint);
      assertEquals(4, linear.scheme().bits());
      assertArrayEquals(new float[] {-8, -1, 0, 7, 1, 2, 3, -4}, linear.weight(context).toFloats());
    }
    byte[] wide = CODES.clone();
    wide[6] = 8;
    String message = refusal(write(four, "", wide, new float[] {1, 1}, null));
    assertTrue(message.contains("layer.weight[1, 2] is 8"), message);
  }

  @Test
  void faultsAreNamed() throws IOException {
    String channel = "\"num_bits\": 8, \"strategy\": \"channel\"";
    assertTrue(
        refusal(write(channel, "", CODES, new float[] {1, 2, 3}, null))
            .contains("layer.weight_scale"));
    assertTrue(
        refusal(write(channel, "", CODES, new float[] {1, Float.NaN}, null)).contains("NaN"));
    assertTrue(
        refusal(
                write(
                    channel + ", \"symmetric\": false",
                    "",
                    CODES,
                    new float[] {1, 1},
                    new byte[] {1}))
            .contains("layer.weight_zero_point"));
    String fixed = ", \"input_activations\": {\"num_bits\": 8, \"strategy\": \"tensor\"}";
    assertTrue(
        refusal(write(channel, fixed, CODES, new float[] {1, 1}, null))
            .contains("config_groups.g.input_activations"));
    String outputs = ", \"output_activations\": {\"num_bits\": 8}";
    assertTrue(
        refusal(write(channel, outputs, CODES, new float[] {1, 1}, null))
            .contains("output_activations"));
    String five = "\"num_bits\": 5, \"strategy\": \"channel\"";
    String token =
        ", \"input_activations\": {\"num_bits\": 8, \"strategy\": \"token\", \"dynamic\": true}";
    assertTrue(refusal(write(five, token, CODES, new float[] {1, 1}, null)).contains("5 bits"));
  }
}
