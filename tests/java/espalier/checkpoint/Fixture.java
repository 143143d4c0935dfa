// SPDX-License-Identifier: Apache-2.0
package espalier.checkpoint;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;

/** Safetensors files made by hand, sound or not. */
final class Fixture {
  private Fixture() {}

  /** Returns length field, header as given and {@code dataBytes} bytes 0, 1, 2 … of data. */
  static byte[] bytes(String header, int dataBytes) {
    return bytes(header.getBytes(StandardCharsets.UTF_8), dataBytes);
  }

  static byte[] bytes(byte[] header, int dataBytes) {
    ByteBuffer file =
        ByteBuffer.allocate(8 + header.length + dataBytes).order(ByteOrder.LITTLE_ENDIAN);
    file.putLong(header.length).put(header);
    for (int i = 0; i < dataBytes; i++) {
      file.put((byte) i);
    }
    return file.array();
  }

  static Path write(Path file, String header, int dataBytes) throws IOException {
    return Files.write(file, bytes(header, dataBytes));
  }

  /** Returns the header entry of a one-dimensional U8 tensor. */
  static String u8(String name, long begin, long end) {
    return String.format(
        "\"%s\":{\"dtype\":\"U8\",\"shape\":[%d],\"data_offsets\":[%d,%d]}",
        name, end - begin, begin, end);
  }
}
