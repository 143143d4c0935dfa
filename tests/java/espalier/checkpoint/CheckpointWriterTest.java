// SPDX-License-Identifier: Apache-2.0
package espalier.checkpoint;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import espalier.report.EspalierException;
import espalier.report.EspalierException.Kind;
import espalier.tensor.DType;
import espalier.tensor.Shape;
import espalier.tensor.Storage;
import espalier.tensor.Tensor;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class CheckpointWriterTest {
  @TempDir Path root;

  private static final Shape FOUR = Shape.of(4);

  private Path out() {
    return root.resolve("out");
  }

  private CheckpointWriter writer() {
    return CheckpointWriter.create(out(), ShardPlan.DEFAULT_SHARD_BYTES);
  }

  private static ByteBuffer bytes(int count) {
    byte[] bytes = new byte[count];
    Arrays.fill(bytes, (byte) count);
    return ByteBuffer.wrap(bytes);
  }

  private void nothingIsLeft() throws IOException {
    try (Stream<Path> children = Files.list(root)) {
      assertEquals(List.of(), children.toList());
    }
  }

  private static List<TensorSpec> specs(int... sizes) {
    List<TensorSpec> specs = new ArrayList<>();
    for (int i = 0; i < sizes.length; i++) {
      specs.add(new TensorSpec("t" + i, DType.U8, Shape.of(sizes[i])));
    }
    return specs;
  }

  private static String split(long limit, int... sizes) {
    List<String> shards = new ArrayList<>();
    for (SafetensorsLayout shard : ShardPlan.of(specs(sizes), "model", limit, Map.of()).shards()) {
      shards.add(String.join("", shard.entries().stream().map(TensorEntry::name).toList()));
    }
    return String.join(" ", shards);
  }

  @Test
  void shardsAreCutAsHuggingFaceCutsThem() {
    assertEquals("", split(10));
    assertEquals("t0t1t2", split(10, 3, 3, 4));
    assertEquals("t0t1 t2", split(10, 3, 7, 1));
    // A tensor above the limit is put aside at once; the file being filled stays open.
    assertEquals("t1 t0t2", split(10, 3, 11, 7));
    assertEquals("t0 t1 t2", split(2, 3, 3, 3));
    assertEquals("t0t1 t2t3", split(10, 10, 0, 5, 5));
    assertEquals("t0t1t2", split(Long.MAX_VALUE, 1, 2, 3));
  }

  @Test
  void planIsExactToTheByte() throws IOException {
    for (long limit : new long[] {100, 8}) {
      Path out = root.resolve("limit" + limit);
      try (CheckpointWriter writer = CheckpointWriter.create(out, limit)) {
        specs(5, 7, 3, 0).forEach(writer::declare);
        writer.declare("\u00e9\ud83d\ude00", DType.I64, Shape.of());
        ShardPlan plan = writer.begin();
        for (TensorSpec spec : specs(5, 7, 3, 0)) {
          writer.write(spec.name(), bytes((int) spec.sizeBytes()));
        }
        writer.write("\u00e9\ud83d\ude00", bytes(8));
        Path done = writer.finish();
        long total = 0;
        for (String name : plan.fileNames()) {
          total += Files.size(done.resolve(name));
        }
        assertEquals(total, plan.fileBytes());
        try (Checkpoint checkpoint = Checkpoint.open(done)) {
          assertEquals(5, checkpoint.names().size());
          assertEquals(Map.of("format", "pt"), checkpoint.metadata());
          assertArrayEquals(new byte[] {3, 3, 3}, checkpoint.get("t2").toBytes());
          assertTrue(checkpoint.events().isEmpty());
        }
        Path index = done.resolve("model.safetensors.index.json");
        if (Files.exists(index)) {
          assertTrue(Files.readString(index).contains("\"\\u00e9\\ud83d\\ude00\""));
        }
      }
    }
  }

  @Test
  void allFilesAppearTogether() throws IOException {
    Path source = Files.createDirectories(root.resolve("in/additional_chat_templates"));
    Files.writeString(source.resolve("x.jinja"), "x");
    Files.writeString(root.resolve("in/tokenizer.json"), "{}");
    Fixture.write(root.resolve("in/model.safetensors"), "{" + Fixture.u8("a", 0, 4) + "}", 4);
    try (Checkpoint in = Checkpoint.open(root.resolve("in"));
        CheckpointWriter writer = writer()) {
      writer.declare(in.spec("a").orElseThrow());
      writer.begin();
      writer.copyCompanions(in);
      writer.text("config.json", "{}\n");
      assertThrows(IllegalArgumentException.class, () -> writer.text("config.json", ""));
      assertThrows(IllegalArgumentException.class, () -> writer.text("../x", ""));
      assertThrows(IllegalArgumentException.class, () -> writer.text("model.safetensors", ""));
      assertFalse(writer.isWritten("a"));
      writer.write("a", in.get("a"));
      assertTrue(writer.isWritten("a"));
      assertFalse(Files.exists(out()));
      assertEquals(root.toRealPath().resolve("out"), writer.finish());
    }
    try (Stream<Path> all = Files.walk(out())) {
      assertEquals(
          List.of(
              "additional_chat_templates",
              "additional_chat_templates/x.jinja",
              "config.json",
              "model.safetensors",
              "tokenizer.json"),
          all.map(path -> out().relativize(path).toString())
              .filter(name -> !name.isEmpty())
              .sorted()
              .toList());
    }
    assertFalse(Files.exists(root.resolve("out.partial")));
  }

  @Test
  void closingWithoutFinishLeavesNothing() throws IOException {
    try (CheckpointWriter writer = writer()) {
      writer.declare("a", DType.U8, FOUR);
      writer.begin();
      writer.text("config.json", "{}");
      writer.write("a", bytes(4));
    }
    nothingIsLeft();
  }

  @Test
  void missingTensorIsNamedAndNothingIsLeft() throws IOException {
    try (CheckpointWriter writer = writer()) {
      specs(1, 2, 3).forEach(writer::declare);
      writer.begin();
      writer.write("t0", bytes(1));
      EspalierException e = assertThrows(EspalierException.class, writer::finish);
      assertEquals(Kind.FAILED, e.kind());
      assertTrue(e.getMessage().contains("2 declared tensors were not written, first 't1'"));
      assertThrows(IllegalStateException.class, () -> writer.write("t1", bytes(2)));
    }
    nothingIsLeft();
  }

  @Test
  void misuseIsRefused() {
    try (CheckpointWriter writer = writer();
        Storage storage = Storage.allocate(64)) {
      assertThrows(IllegalStateException.class, writer::finish);
      assertThrows(IllegalStateException.class, () -> writer.write("a", bytes(4)));
      writer.declare("a", DType.U8, FOUR);
      assertThrows(IllegalArgumentException.class, () -> writer.declare("a", DType.U8, FOUR));
      assertThrows(
          IllegalArgumentException.class, () -> writer.declare("__metadata__", DType.U8, FOUR));
      assertThrows(IllegalArgumentException.class, () -> writer.declare("\ud800", DType.U8, FOUR));
      assertThrows(
          IllegalArgumentException.class, () -> writer.declare("b", DType.F4, Shape.of(3)));
      writer.begin();
      assertThrows(IllegalStateException.class, writer::begin);
      assertThrows(IllegalStateException.class, () -> writer.declare("c", DType.U8, FOUR));
      assertThrows(IllegalArgumentException.class, () -> writer.write("c", bytes(4)));
      assertThrows(IllegalArgumentException.class, () -> writer.write("a", bytes(3)));
      Tensor other = new Tensor(storage, 0, DType.I8, FOUR);
      assertThrows(IllegalArgumentException.class, () -> writer.write("a", other));
      writer.write("a", new Tensor(storage, 0, DType.U8, FOUR));
      assertThrows(IllegalArgumentException.class, () -> writer.write("a", bytes(4)));
    }
  }

  private void refused(Path wanted, Kind kind, String words) {
    EspalierException e =
        assertThrows(EspalierException.class, () -> CheckpointWriter.create(wanted, 1).close());
    assertEquals(kind, e.kind(), e.getMessage());
    assertTrue(e.getMessage().contains(words), e.getMessage());
  }

  @Test
  void outputInTheWayIsRefusedBeforeAnythingIsDone() throws IOException {
    Path file = Files.writeString(root.resolve("file"), "");
    refused(file, Kind.USAGE, "exists already");
    refused(file.resolve("deeper/out"), Kind.USAGE, "file is not a folder");
    refused(root, Kind.USAGE, "exists already");
    refused(Files.createDirectory(root.resolve("empty")), Kind.USAGE, "exists already");
    refused(Path.of("/"), Kind.USAGE, "");
    Path link = Files.createSymbolicLink(root.resolve("link"), root.resolve("gone"));
    refused(link, Kind.USAGE, "broken link");
    Files.createDirectories(root.resolve("foreign.partial/notes"));
    refused(root.resolve("foreign"), Kind.USAGE, "not made by this program");
    assertTrue(Files.exists(root.resolve("foreign.partial")));
    if (Files.isDirectory(Path.of("/proc/self"))) {
      refused(Path.of("/proc/espalier-out"), Kind.RESOURCE, "cannot be made");
    }
    assertThrows(EspalierException.class, () -> CheckpointWriter.create(out(), 0));
  }

  @Test
  void sealedOutputCanBeReadBeforeItIsInPlace() throws IOException {
    try (CheckpointWriter writer = CheckpointWriter.create(out(), 4)) {
      specs(4, 4).forEach(writer::declare);
      writer.begin();
      writer.write("t0", bytes(4));
      writer.write("t1", bytes(4));
      writer.seal();
      writer.seal();
      try (Checkpoint checkpoint = Checkpoint.open(writer.partial())) {
        assertEquals(List.of("t0", "t1"), checkpoint.names());
        assertTrue(checkpoint.events().isEmpty(), checkpoint.events().toString());
      }
      writer.text("report.json", "{}");
      writer.finish();
    }
    assertTrue(Files.exists(out().resolve("report.json")));
  }

  @Test
  void completeOutputStaysWhenItsNameWasTakenMeanwhile() throws IOException {
    Path partial;
    try (CheckpointWriter writer = writer()) {
      writer.declare("a", DType.U8, FOUR);
      writer.begin();
      writer.write("a", bytes(4));
      partial = writer.partial();
      Files.createDirectory(out());
      Files.writeString(out().resolve("other"), "kept");
      EspalierException e = assertThrows(EspalierException.class, writer::finish);
      assertEquals(Kind.RESOURCE, e.kind());
      assertTrue(e.advice().contains(partial.toString()), e.advice());
    }
    assertEquals("kept", Files.readString(out().resolve("other")));
    try (Checkpoint checkpoint = Checkpoint.open(partial)) {
      assertEquals(List.of("a"), checkpoint.names());
    }
  }

  @Test
  void missingParentsAreMade() throws IOException {
    Path deep = root.resolve("a/b/out");
    try (CheckpointWriter writer = CheckpointWriter.create(deep, 1)) {
      writer.begin();
      writer.finish();
    }
    assertTrue(Files.exists(deep.resolve("model.safetensors")));
  }

  @Test
  void leftoverIsReplacedWithAnEventUnlessItsRunLives() throws IOException {
    try (CheckpointWriter alive = writer()) {
      refused(out(), Kind.USAGE, "another run is writing there");
      assertTrue(Files.exists(alive.partial()));
      // What a killed run leaves: the same files without the lock.
      Path copy = root.resolve("killed.partial");
      Path grown = alive.partial().getParent();
      try (Stream<Path> files = Files.walk(grown)) {
        for (Path file : files.toList()) {
          Files.copy(file, copy.resolve(grown.relativize(file).toString()));
        }
      }
      Files.writeString(copy.resolve("output/model.safetensors"), "half");
    }
    try (CheckpointWriter writer = CheckpointWriter.create(root.resolve("killed"), 1)) {
      assertEquals("leftover-replaced", writer.events().get(0).kind());
      writer.begin();
      writer.finish();
    }
    assertFalse(Files.exists(root.resolve("killed.partial")));
  }

  @Test
  void moreThanTheDiskHoldsIsRefusedAtBegin() throws IOException {
    try (CheckpointWriter writer = writer()) {
      writer.declare("huge", DType.F64, Shape.of(1L << 55));
      EspalierException e = assertThrows(EspalierException.class, writer::begin);
      assertEquals(Kind.RESOURCE, e.kind());
      assertTrue(e.getMessage().contains("No space left: 288230376151711"), e.getMessage());
    }
    nothingIsLeft();
  }

  @Test
  void fullDiskInTheMiddleLeavesNothing() throws IOException {
    Path full = Path.of("/dev/full");
    Assumptions.assumeTrue(Files.exists(full), "no device that is always full");
    try (CheckpointWriter writer = writer()) {
      specs(4, 4).forEach(writer::declare);
      writer.begin();
      writer.write("t0", bytes(4));
      Path shard = writer.partial().resolve("model.safetensors");
      Files.delete(shard);
      Files.createSymbolicLink(shard, full);
      EspalierException e =
          assertThrows(EspalierException.class, () -> writer.write("t1", bytes(4)));
      assertEquals(Kind.RESOURCE, e.kind());
      assertTrue(e.getMessage().contains("No space left on device"), e.getMessage());
      nothingIsLeft();
      assertThrows(IllegalStateException.class, writer::finish);
    }
    assertTrue(Files.exists(full));
  }

  @Test
  void failureInTheMiddleLeavesNothing() throws IOException {
    try (CheckpointWriter writer = writer()) {
      specs(4, 4).forEach(writer::declare);
      writer.begin();
      Files.delete(writer.partial().resolve("model.safetensors"));
      EspalierException e =
          assertThrows(EspalierException.class, () -> writer.write("t1", bytes(4)));
      assertEquals(Kind.RESOURCE, e.kind());
      assertTrue(e.getMessage().contains("NoSuchFile"), e.getMessage());
      nothingIsLeft();
    }
  }

  @Test
  void interruptedWriteLeavesNothing() throws IOException {
    try (CheckpointWriter writer = writer()) {
      specs(4).forEach(writer::declare);
      writer.begin();
      Thread.currentThread().interrupt();
      EspalierException e =
          assertThrows(EspalierException.class, () -> writer.write("t0", bytes(4)));
      assertTrue(Thread.interrupted());
      assertEquals(Kind.INTERRUPTED, e.kind());
      nothingIsLeft();
    }
  }

  @Test
  @Tag("slow")
  void tensorBeyondTwoGibibytesIsCopiedInParts() throws IOException {
    long size = (1L << 31) + 5;
    Path source = root.resolve("big");
    try (FileChannel channel =
        FileChannel.open(source, StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE)) {
      channel.write(ByteBuffer.wrap(new byte[] {1, 2, 3}), size - 3);
      channel.write(ByteBuffer.wrap(new byte[] {7}), 1L << 28);
    }
    try (Storage mapped = Storage.map(source);
        CheckpointWriter writer = writer()) {
      writer.declare("big", DType.U8, Shape.of(size));
      writer.declare("next", DType.U8, FOUR);
      writer.begin();
      writer.write("next", bytes(4));
      writer.write("big", new Tensor(mapped, 0, DType.U8, Shape.of(size)));
      writer.finish();
    }
    try (Checkpoint checkpoint = Checkpoint.open(out())) {
      Tensor big = checkpoint.get("big");
      assertEquals(size, big.sizeBytes());
      assertEquals(7, big.buffer(1L << 28, 1).get());
      assertArrayEquals(new byte[] {2, 3}, big.rows(size - 2, size).toBytes());
      assertArrayEquals(new byte[] {4, 4, 4, 4}, checkpoint.get("next").toBytes());
    }
  }
}
