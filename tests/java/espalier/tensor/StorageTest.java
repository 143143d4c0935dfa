// SPDX-License-Identifier: Apache-2.0
package espalier.tensor;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import espalier.report.EspalierException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class StorageTest {
  @TempDir Path folder;

  @Test
  void allocatedMemoryIsZeroedAndAligned() {
    try (Storage storage = Storage.allocate(1000)) {
      assertEquals(0, storage.address() % 64);
      assertFalse(storage.isMapped());
      assertArrayEquals(new byte[1000], new Tensor(storage, 0, DType.U8, Shape.of(1000)).toBytes());
    }
    try (Storage none = Storage.allocate(0)) {
      assertEquals(0, none.sizeBytes());
    }
  }

  @Test
  void impossibleSizesAreRefused() {
    assertThrows(IllegalArgumentException.class, () -> Storage.allocate(-1));
    EspalierException e = assertThrows(EspalierException.class, () -> Storage.allocate(1L << 60));
    assertEquals(EspalierException.Kind.RESOURCE, e.kind());
  }

  @Test
  void memoryFarBeyondTheJavaHeapIsAllocated() throws Exception {
    Process child =
        new ProcessBuilder(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "-Xmx16m",
                "-cp",
                System.getProperty(
                    "surefire.test.class.path", System.getProperty("java.class.path")),
                Allocator.class.getName())
            .redirectErrorStream(true)
            .start();
    String answer = new String(child.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    assertEquals(0, child.waitFor(), answer);
  }

  /** The child process: holds 12 times its heap, the point where JavaCPP's pointers refuse. */
  static final class Allocator {
    private Allocator() {}

    public static void main(String[] arguments) {
      Storage[] storages = new Storage[12];
      for (int i = 0; i < storages.length; i++) {
        storages[i] = Storage.allocate(16 << 20);
      }
      for (Storage storage : storages) {
        storage.close();
      }
    }
  }

  @Test
  void closedStorageFailsInJava() {
    Storage storage = Storage.allocate(8);
    Tensor tensor = new Tensor(storage, 0, DType.F32, Shape.of(2));
    storage.close();
    storage.close();
    assertFalse(storage.isOpen());
    assertThrows(IllegalStateException.class, storage::address);
    assertThrows(IllegalStateException.class, tensor::toFloats);
  }

  @Test
  void missingFileAndFolderAreNamed() {
    for (Path path : new Path[] {folder.resolve("none"), folder}) {
      EspalierException e = assertThrows(EspalierException.class, () -> Storage.map(path));
      assertEquals(EspalierException.Kind.INPUT, e.kind());
      assertTrue(e.getMessage().contains(path.toString()));
    }
  }

  @Test
  void emptyFileMapsToNothing() throws IOException {
    try (Storage storage = Storage.map(Files.createFile(folder.resolve("empty")))) {
      assertEquals(0, storage.sizeBytes());
      assertTrue(storage.isMapped());
    }
  }

  @Test
  void fileBeyondFourGibibytesIsMappedWhole() throws IOException {
    long size = (1L << 32) + 4096;
    Path file = folder.resolve("sparse");
    try (FileChannel channel =
        FileChannel.open(
            file,
            StandardOpenOption.CREATE_NEW,
            StandardOpenOption.WRITE,
            StandardOpenOption.SPARSE)) {
      channel.write(ByteBuffer.wrap(new byte[] {1, 0, 0, 0, 2, 0, 0, 0}), size - 8);
    }
    try (Storage storage = Storage.map(file)) {
      assertEquals(size, storage.sizeBytes());
      Tensor words = new Tensor(storage, 0, DType.I32, Shape.of(size / 4));
      assertArrayEquals(new int[] {0, 1, 2}, words.rows(size / 4 - 3, size / 4).toInts());
      storage.forget(0, size);
      assertArrayEquals(new int[] {2}, words.rows(size / 4 - 1, size / 4).toInts());
      assertThrows(IndexOutOfBoundsException.class, words::toInts);
      assertThrows(IndexOutOfBoundsException.class, words::buffer);
    }
  }
}
