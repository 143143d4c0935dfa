// SPDX-License-Identifier: Apache-2.0
package espalier.checkpoint;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import espalier.report.EspalierException;
import espalier.tensor.DType;
import espalier.tensor.Tensor;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

class SafetensorsTest {
  @TempDir Path folder;

  private static final String X = "{\"x\":{\"dtype\":\"F32\",\"shape\":%s,\"data_offsets\":%s}}";

  private static Arguments fault(String words, String header, int dataBytes) {
    return Arguments.of(words, Fixture.bytes(header, dataBytes));
  }

  private static Arguments x(String words, String shape, String offsets) {
    return fault(words, String.format(X, shape, offsets), 32);
  }

  private static byte[] length(long value, int moreBytes) {
    return Arrays.copyOf(
        ByteBuffer.allocate(8).order(ByteOrder.LITTLE_ENDIAN).putLong(value).array(),
        8 + moreBytes);
  }

  static Stream<Arguments> faults() {
    String a = Fixture.u8("a", 0, 4);
    String quote = "\"x\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]";
    byte[] notUtf8 = ("{" + a + "}").getBytes(StandardCharsets.UTF_8);
    notUtf8[2] = (byte) 0xff;
    byte[] overlong = ("{" + Fixture.u8("ab", 0, 4) + "}").getBytes(StandardCharsets.UTF_8);
    overlong[2] = (byte) 0xc0;
    overlong[3] = (byte) 0xaf;
    String deep = "[".repeat(200_000);
    return Stream.of(
        Arguments.of("file of 0 bytes", new byte[0]),
        Arguments.of("file of 7 bytes, shorter than the 8-byte header length", new byte[7]),
        Arguments.of("header length 0 ", length(0, 0)),
        Arguments.of("header length 9 exceeds the file", length(9, 8)),
        Arguments.of("exceeds the limit of 100000000", length(100_000_001, 8)),
        Arguments.of("header length 9223372036854775807 exceeds", length(Long.MAX_VALUE, 8)),
        Arguments.of("header length 9223372036854775808 exceeds", length(Long.MIN_VALUE, 8)),
        Arguments.of("header length 18446744073709551615 exceeds", length(-1, 8)),
        fault("first byte is 0x20", " {" + a + "}", 4),
        fault("first byte is 0x5b", "[]", 0),
        fault("first byte is 0xef", "\ufeff{}", 0),
        fault("not valid JSON", "{x}", 0),
        fault("not valid JSON", "{\"x", 0),
        fault("not valid JSON", "{" + a + ",}", 4),
        fault("not valid JSON", "{" + a, 4),
        fault("not valid JSON", "{" + a + "}\0\0\0", 4),
        fault("goes on after its JSON object", "{" + a + "} {}", 4),
        fault("not valid JSON", String.format(X, "[08]", "[0,32]"), 32),
        fault("not valid JSON", String.format(X, "[NaN]", "[0,32]"), 32),
        Arguments.of("not valid UTF-8", Fixture.bytes(notUtf8, 4)),
        Arguments.of("not valid UTF-8", Fixture.bytes(overlong, 4)),
        fault("surrogate", "{" + Fixture.u8("\\ud800", 0, 4) + "}", 4),
        fault("surrogate", "{" + Fixture.u8("\\udc00", 0, 4) + "}", 4),
        fault("tensor 'a': duplicate name", "{" + a + "," + a + "}", 4),
        fault("duplicate name", "{" + a + "," + Fixture.u8("\\u0061", 0, 4) + "}", 4),
        fault("duplicate field dtype", "{" + quote + ",\"dtype\":\"U8\"}}", 4),
        fault("duplicate field shape", "{" + quote + ",\"shape\":[4]}}", 4),
        fault("duplicate field data_offsets", "{" + quote + ",\"data_offsets\":[0,4]}}", 4),
        fault("duplicate __metadata__", "{\"__metadata__\":{},\"__metadata__\":{}}", 0),
        fault("duplicate key 'k'", "{\"__metadata__\":{\"k\":\"\",\"k\":\"\"}}", 0),
        fault("not an object of strings", "{\"__metadata__\":{\"k\":3}}", 0),
        fault("not an object of strings", "{\"__metadata__\":\"k\"}", 0),
        fault("entry is not an object", "{\"x\":[\"F32\",[8],[0,32]]}", 32),
        fault("unknown dtype 'f32'", X.formatted("[8]", "[0,32]").replace("F32", "f32"), 32),
        fault("tensor 'x': unknown dtype 'F31'", X.formatted("[8]", "[0,32]").replace("2", "1"), 0),
        fault("dtype is not a string", "{\"x\":{\"dtype\":17}}", 0),
        fault("no dtype", "{\"x\":{\"shape\":[1],\"data_offsets\":[0,4]}}", 4),
        fault("no shape", "{\"x\":{\"dtype\":\"U8\",\"data_offsets\":[0,4]}}", 4),
        fault("no data_offsets", "{\"x\":{\"dtype\":\"U8\",\"shape\":[4]}}", 4),
        fault("nesting depth", "{\"x\":{\"more\":" + deep + "}}", 0),
        x("shape is not a list", "8", "[0,32]"),
        x("not a whole number", "[8.0]", "[0,32]"),
        x("not a whole number", "[8e0]", "[0,32]"),
        x("not a whole number", "[\"8\"]", "[0,32]"),
        x("not a whole number", "[8]", "[0,32.0]"),
        x("negative number: -8", "[-8]", "[0,32]"),
        x("negative number: -2", "[-2,-4]", "[0,32]"),
        x("negative number: -0", "[8]", "[-0,32]"),
        x("negative number: -4", "[8]", "[-4,28]"),
        x("overflows 63 bits", "[8]", "[0,9223372036854775808]"),
        x("overflows 64 bits", "[4294967296,4294967296]", "[0,0]"),
        x("overflows 64 bits", "[1152921504606846976]", "[0,0]"),
        x("overflow 63 bits", "[0]", "[9223372036854775807,9223372036854775807]"),
        x("more than 64 numbers", "[" + "1,".repeat(64) + "8]", "[0,32]"),
        x("not a pair", "[8]", "[0]"),
        x("more than 2 numbers", "[8]", "[0,32,64]"),
        x("end before they begin", "[8]", "[32,0]"),
        x("takes 32 bytes, data_offsets cover 28 (too few)", "[8]", "[0,28]"),
        x("takes 16 bytes, data_offsets cover 32 (too many)", "[4]", "[0,32]"),
        x("file ends before the tensor", "[9]", "[0,36]"),
        x("4 trailing bytes: data goes on after the last tensor 'x'", "[7]", "[0,28]"),
        x("first tensor begins at 4, not at 0", "[7]", "[4,32]"),
        fault("4 trailing bytes", "{}", 4),
        fault(
            "hole of 4 bytes between tensors 'a' and 'b'",
            "{" + a + "," + Fixture.u8("b", 8, 12) + "}",
            12),
        fault(
            "tensors 'a' and 'b' overlap: two tensors",
            "{" + a + "," + Fixture.u8("b", 2, 6) + "}",
            6),
        fault("overlap", "{" + a + "," + Fixture.u8("inside", 2, 2) + "}", 4),
        fault("not a whole number of bytes", X.formatted("[3]", "[0,2]").replace("F32", "F4"), 2));
  }

  @ParameterizedTest
  @MethodSource("faults")
  void faultIsNamed(String words, byte[] content) throws IOException {
    Path file = Files.write(folder.resolve("f.safetensors"), content);
    EspalierException e =
        assertThrows(EspalierException.class, () -> Safetensors.open(file).close());
    assertEquals(EspalierException.Kind.INPUT, e.kind());
    assertTrue(e.getMessage().startsWith(file.toString()), e.getMessage());
    assertTrue(e.getMessage().contains(words), e.getMessage());
  }

  @Test
  void everyTruncationIsRefused() throws IOException {
    byte[] whole = Fixture.bytes("{" + Fixture.u8("a", 0, 4) + "}", 4);
    for (int size = 0; size < whole.length; size++) {
      Path file = Files.write(folder.resolve("cut"), Arrays.copyOf(whole, size));
      assertThrows(EspalierException.class, () -> Safetensors.open(file).close());
    }
  }

  @Test
  void missingFileIsNamed() {
    Path file = folder.resolve("none.safetensors");
    EspalierException e = assertThrows(EspalierException.class, () -> Safetensors.open(file));
    assertEquals(EspalierException.Kind.INPUT, e.kind());
    assertTrue(e.getMessage().contains("none.safetensors"));
  }

  @Test
  void namesInMessagesHaveNoControlCharactersAndAreCut() throws IOException {
    String name = "\\u001b[31m" + "n".repeat(5000);
    Path file = Fixture.write(folder.resolve("f"), "{\"" + name + "\":3}", 0);
    EspalierException e = assertThrows(EspalierException.class, () -> Safetensors.open(file));
    assertEquals(-1, e.getMessage().indexOf('\u001b'));
    assertTrue(e.getMessage().length() < 600, e.getMessage());
  }

  @Test
  void tensorsComeInDataOrderAndUnknownFieldsAreSkipped() throws IOException {
    String header =
        "{"
            + Fixture.u8("late", 4, 6)
            + ",\"early\":{\"new\":{\"k\":[1]},\"dtype\":\"I32\",\"shape\":[],"
            + "\"data_offsets\":[0,4]},"
            + Fixture.u8("none", 4, 4)
            + ",\"__metadata__\":{\"format\":\"pt\"}} \t\r\n";
    header += " ".repeat((8 - header.length() % 8) % 8);
    Path file = Fixture.write(folder.resolve("f"), header, 6);
    try (Safetensors tensors = Safetensors.open(file)) {
      assertEquals(List.of("early", "none", "late"), tensors.names());
      assertEquals(Map.of("format", "pt"), tensors.metadata());
      assertArrayEquals(new int[] {0x03020100}, tensors.find("early").orElseThrow().toInts());
      assertArrayEquals(new byte[] {4, 5}, tensors.find("late").orElseThrow().toBytes());
      assertTrue(tensors.find("other").isEmpty());
      assertTrue(tensors.events().isEmpty());
    }
  }

  @Test
  void digitsInTextAreNotANumber() throws IOException {
    String digits = "\\\"" + "1".repeat(5000);
    String header = "{\"__metadata__\":{\"k\":\"" + digits + "\"}}";
    try (Safetensors tensors = Safetensors.open(Fixture.write(folder.resolve("f"), header, 0))) {
      assertEquals(5001, tensors.metadata().get("k").length());
    }
  }

  @Test
  void misalignedTensorIsCopiedOnceAndReported() throws IOException {
    String header = "{\"x\":{\"dtype\":\"I32\",\"shape\":[2],\"data_offsets\":[0,8]}}";
    header += " ".repeat((8 - header.length() % 8) % 8 + 1);
    Path file = Fixture.write(folder.resolve("f"), header, 8);
    Safetensors tensors = Safetensors.open(file);
    assertEquals("misaligned-tensors", tensors.events().get(0).kind());
    Tensor x = tensors.find("x").orElseThrow();
    assertEquals(0, x.address() % 4);
    assertArrayEquals(new int[] {0x03020100, 0x07060504}, x.toInts());
    assertEquals(x.address(), tensors.find("x").orElseThrow().address());
    tensors.close();
    assertThrows(IllegalStateException.class, x::address);
    assertThrows(IllegalStateException.class, () -> tensors.find("x"));
  }

  @Test
  void closedFileFailsInJava() throws IOException {
    Path file = Fixture.write(folder.resolve("f"), "{" + Fixture.u8("a", 0, 4) + "}", 4);
    Safetensors tensors = Safetensors.open(file);
    Tensor a = tensors.find("a").orElseThrow();
    assertEquals(DType.U8, a.dtype());
    tensors.close();
    tensors.close();
    assertThrows(IllegalStateException.class, a::toBytes);
  }
}
