// SPDX-License-Identifier: Apache-2.0
package espalier.checkpoint;

import espalier.report.EspalierException;
import espalier.report.Event;
import espalier.tensor.DType;
import espalier.tensor.Shape;
import espalier.tensor.Storage;
import espalier.tensor.Tensor;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * One safetensors file, mapped and fully checked.
 *
 * <pre>
 * file     = length header data
 * length   = u64, little-endian: bytes of header, padding included; at most 100,000,000
 * header   = UTF-8 JSON object, first byte '{', padded on the right with white space
 *            { "__metadata__": { string: string … },
 *              name: { "dtype": string, "shape": [n …], "data_offsets": [begin, end] } … }
 * data     = the tensors, row-major, little-endian; offsets count from the start of data and
 *            cover it exactly: no hole, no overlap, nothing after the last
 * </pre>
 *
 * Checked against safetensors 0.8.0. Stricter than its reader: a repeated name, a header that
 * starts with a space and a tensor given as a list are refused, and a file may list at most 262,144
 * tensors of rank 64. Header order need not be data order; empty tensors may share an offset at a
 * border.
 *
 * <p>Owns the mapping; tensors are views into it and die with {@link #close()}. A tensor whose data
 * is not aligned to its element (files with an unpadded header) is copied once, on first use, into
 * aligned memory that this object owns too.
 */
public final class Safetensors implements AutoCloseable {
  private static final int LENGTH_BYTES = Long.BYTES;

  private final Path file;
  private final Storage storage;
  private final long headerBytes;
  private final Map<String, TensorEntry> entries;
  private final Map<String, String> metadata;
  private final List<Event> events;
  private final Map<String, Storage> copies = new HashMap<>();

  private Safetensors(Path file, Storage storage, long headerBytes, SafetensorsHeader header) {
    this.file = file;
    this.storage = storage;
    this.headerBytes = headerBytes;
    Map<String, TensorEntry> map = new LinkedHashMap<>();
    header.entries().forEach(entry -> map.put(entry.name(), entry));
    this.entries = Collections.unmodifiableMap(map);
    this.metadata = Collections.unmodifiableMap(header.metadata());
    long misaligned = map.values().stream().filter(entry -> !aligned(entry)).count();
    this.events =
        misaligned == 0
            ? List.of()
            : List.of(
                Event.info(
                    "misaligned-tensors",
                    file.toString(),
                    misaligned + " tensors are not aligned in the file and are copied on use"));
  }

  /**
   * Maps a file and checks all of its header. The caller closes the result.
   *
   * @throws EspalierException (INPUT) naming file, tensor and fault
   */
  public static Safetensors open(Path file) {
    Storage storage = Storage.map(file);
    try {
      long headerBytes = headerBytes(file, storage);
      ByteBuffer json = bytes(storage, LENGTH_BYTES, headerBytes);
      if (json.get(0) != '{') {
        throw fault(
            file,
            String.format(
                "the header is not a JSON object: its first byte is 0x%02x, not '{'",
                json.get(0) & 0xff));
      }
      SafetensorsHeader header =
          SafetensorsHeader.parse(file, json, LENGTH_BYTES + headerBytes, storage.sizeBytes());
      return new Safetensors(file, storage, headerBytes, header);
    } catch (Throwable e) {
      storage.close();
      throw e;
    }
  }

  private static long headerBytes(Path file, Storage storage) {
    long fileBytes = storage.sizeBytes();
    if (fileBytes < LENGTH_BYTES) {
      throw fault(
          file, "file of " + fileBytes + " bytes, shorter than the 8-byte header length field");
    }
    long length = bytes(storage, 0, LENGTH_BYTES).getLong(0);
    String text = "header length " + Long.toUnsignedString(length);
    if (Long.compareUnsigned(length, SafetensorsHeader.MAX_BYTES) > 0) {
      throw fault(file, text + " exceeds the limit of " + SafetensorsHeader.MAX_BYTES + " bytes");
    }
    if (length > fileBytes - LENGTH_BYTES) {
      throw fault(
          file, text + " exceeds the file: the header goes beyond its " + fileBytes + " bytes");
    }
    if (length == 0) {
      throw fault(file, text + " leaves no room for a JSON object");
    }
    return length;
  }

  private static ByteBuffer bytes(Storage storage, long from, long count) {
    return new Tensor(storage, from, DType.U8, Shape.of(count)).buffer();
  }

  static EspalierException fault(Path file, String what) {
    return EspalierException.input(
        file + ": " + what, "Fetch the file again: it is not a valid safetensors file.");
  }

  /** Returns the file that was opened. */
  public Path file() {
    return file;
  }

  public long fileBytes() {
    return storage.sizeBytes();
  }

  /** Returns the tensors in the order of their data. */
  public List<TensorEntry> entries() {
    return List.copyOf(entries.values());
  }

  /** Returns the tensor names in the order of their data. */
  public List<String> names() {
    return List.copyOf(entries.keySet());
  }

  public Optional<TensorEntry> entry(String name) {
    return Optional.ofNullable(entries.get(name));
  }

  /** Returns a view of the tensor, valid until close; empty when the file has none of that name. */
  public Optional<Tensor> find(String name) {
    return entry(name).map(this::tensor);
  }

  /** Returns {@code __metadata__}; empty when there is none. */
  public Map<String, String> metadata() {
    return metadata;
  }

  /** Returns what a user should know about this file. */
  public List<Event> events() {
    return events;
  }

  /** Adds the length field and the header, padding included, to a digest. */
  void digestHeader(MessageDigest digest) {
    digest.update(bytes(storage, 0, LENGTH_BYTES + headerBytes));
  }

  private Tensor tensor(TensorEntry entry) {
    if (aligned(entry)) {
      return new Tensor(storage, entry.offsetBytes(), entry.dtype(), entry.shape());
    }
    synchronized (copies) {
      Storage copy = copies.computeIfAbsent(entry.name(), name -> copy(entry));
      return new Tensor(copy, 0, entry.dtype(), entry.shape());
    }
  }

  private Storage copy(TensorEntry entry) {
    Shape bytes = Shape.of(entry.sizeBytes());
    Tensor source = new Tensor(storage, entry.offsetBytes(), DType.U8, bytes);
    source.address(); // Fails when closed, before there is a copy to leak.
    Storage copy = Storage.allocate(entry.sizeBytes());
    Tensor target = new Tensor(copy, 0, DType.U8, bytes);
    for (long at = 0; at < entry.sizeBytes(); ) {
      long count = Math.min(1 << 30, entry.sizeBytes() - at);
      target.buffer(at, count).put(source.buffer(at, count));
      at += count;
    }
    return copy;
  }

  /** The mapping starts on a page, so the offset alone decides. */
  private static boolean aligned(TensorEntry entry) {
    int width = Math.max(1, entry.dtype().bits() / 8);
    return entry.offsetBytes() % width == 0;
  }

  /** Unmaps the file; later use of its tensors fails in Java. Closing twice does nothing. */
  @Override
  public void close() {
    synchronized (copies) {
      new ArrayList<>(copies.values()).forEach(Storage::close);
      copies.clear();
    }
    storage.close();
  }
}
