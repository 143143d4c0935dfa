// SPDX-License-Identifier: Apache-2.0
package espalier.checkpoint;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.sun.management.ThreadMXBean;
import espalier.report.EspalierException;
import java.io.IOException;
import java.io.OutputStream;
import java.lang.management.ManagementFactory;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** What a header may cost. */
class SafetensorsMemoryTest {
  @TempDir Path folder;

  /** A file whose header is {@code start}, {@code middle} as often as fits, and spaces. */
  private Path largeHeader(String start, String middle) throws IOException {
    Path file = folder.resolve("large.safetensors");
    int size = SafetensorsHeader.MAX_BYTES;
    byte[] chunk =
        middle.repeat(Math.max(1, 100_000 / middle.length())).getBytes(StandardCharsets.UTF_8);
    try (OutputStream out = Files.newOutputStream(file)) {
      out.write(ByteBuffer.allocate(8).order(ByteOrder.LITTLE_ENDIAN).putLong(size).array());
      byte[] head = start.getBytes(StandardCharsets.UTF_8);
      out.write(head);
      for (int left = size - head.length; left > 0; left -= chunk.length) {
        out.write(chunk, 0, Math.min(left, chunk.length));
      }
    }
    return file;
  }

  private static long allocatedByRefusing(Path file) {
    ThreadMXBean threads = (ThreadMXBean) ManagementFactory.getThreadMXBean();
    long before = threads.getCurrentThreadAllocatedBytes();
    assertThrows(EspalierException.class, () -> Safetensors.open(file).close());
    return threads.getCurrentThreadAllocatedBytes() - before;
  }

  @Test
  void lyingLengthAllocatesNothing() throws IOException {
    Path file = folder.resolve("f.safetensors");
    Files.write(file, Fixture.bytes("{}", 0));
    allocatedByRefusing(folder.resolve("f.safetensors.none"));
    try (FileChannel channel = FileChannel.open(file, StandardOpenOption.WRITE)) {
      ByteBuffer length = ByteBuffer.allocate(8).order(ByteOrder.LITTLE_ENDIAN);
      channel.write(length.putLong(99_999_999).flip(), 0);
    }
    assertTrue(allocatedByRefusing(file) < 1 << 20);
  }

  @Test
  void lyingSizesAllocateNothing() throws IOException {
    String header =
        "{\"x\":{\"dtype\":\"U8\",\"shape\":[4000000000],\"data_offsets\":[0,4000000000]}}";
    Path file = Fixture.write(folder.resolve("f"), header, 0);
    assertTrue(allocatedByRefusing(file) < 1 << 20);
  }

  @Test
  void endlessPartsOfALargeHeaderStopEarly() throws IOException {
    assertTrue(allocatedByRefusing(largeHeader("{\"", "n")) < 4 << 20, "a name");
    assertTrue(allocatedByRefusing(largeHeader("{\"x\":{\"shape\":[1", ",1")) < 4 << 20, "a shape");
    assertTrue(allocatedByRefusing(largeHeader("{\"x\":{\"shape\":[", "1")) < 4 << 20, "a number");
    assertTrue(allocatedByRefusing(largeHeader("{\"x\":{\"y\":", "[")) < 4 << 20, "nesting");
    // A metadata value may be 16 Mi characters; Jackson doubles its buffer on the way there.
    assertTrue(
        allocatedByRefusing(largeHeader("{\"__metadata__\":{\"k\":\"", "v")) < 160 << 20,
        "a value");
  }

  @Test
  @Tag("slow")
  void largestHeadersFitIntoASmallHeap() throws Exception {
    StringBuilder tensors = new StringBuilder("{");
    String pad = "n".repeat(300);
    for (int i = 0; i < SafetensorsHeader.MAX_TENSORS; i++) {
      tensors.append(i == 0 ? "" : ",").append(Fixture.u8(pad + i, 0, 0));
    }
    Path most = Fixture.write(folder.resolve("most"), tensors + "}", 0);
    tensors.setLength(tensors.length() - 1);
    assertEquals(SafetensorsHeader.MAX_TENSORS + " tensors", readInSmallHeap(most));
    tensors.setLength(0);
    StringBuilder tooMany = new StringBuilder("{");
    for (int i = 0; tooMany.length() < SafetensorsHeader.MAX_BYTES - 100; i++) {
      tooMany.append(i == 0 ? "" : ",").append(Fixture.u8(Integer.toString(i, 36), 0, 0));
    }
    Path file = Fixture.write(folder.resolve("more"), tooMany + "}", 0);
    String answer = readInSmallHeap(file);
    assertTrue(answer.contains("more than 262144 tensors"), answer);
  }

  private static String readInSmallHeap(Path file) throws Exception {
    String classes =
        System.getProperty("surefire.test.class.path", System.getProperty("java.class.path"));
    Process child =
        new ProcessBuilder(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "-Xmx256m",
                "-cp",
                classes,
                Reader.class.getName(),
                file.toString())
            .redirectErrorStream(true)
            .start();
    String answer = new String(child.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    child.waitFor();
    return answer.strip();
  }

  /** The child process: reads one file and says what it found. */
  static final class Reader {
    private Reader() {}

    public static void main(String[] arguments) {
      try (Safetensors tensors = Safetensors.open(Path.of(arguments[0]))) {
        System.out.println(tensors.entries().size() + " tensors");
      } catch (EspalierException e) {
        System.out.println(e.getMessage());
      }
    }
  }
}
