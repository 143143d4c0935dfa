// SPDX-License-Identifier: Apache-2.0
package espalier.gradient;

import espalier.tensor.DType;
import espalier.tensor.Shape;
import espalier.tensor.Storage;
import espalier.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;

/**
 * Memory that is handed out in order and taken back all at once: what a step of training computes.
 * After the first step of a size nothing is allocated any more. Tensors are not zeroed, and are
 * valid until the arena goes back behind the place they were taken at.
 */
final class Arena implements AutoCloseable {
  private static final long ALIGNMENT = 64;
  private static final long LEAST_BYTES = 1 << 20;

  /** A place to go back to: everything taken after it is taken back. */
  record Mark(int chunk, long used) {}

  private final List<Storage> chunks = new ArrayList<>();
  private int current;
  private long used;

  /** Returns a tensor of undefined content. */
  Tensor take(DType dtype, long... dimensions) {
    Shape shape = Shape.of(dimensions);
    long bytes = (dtype.bytes(shape.elements()) + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    while (current < chunks.size() && used + bytes > chunks.get(current).sizeBytes()) {
      current++;
      used = 0;
    }
    if (current == chunks.size()) {
      chunks.add(Storage.allocate(Math.max(bytes, Math.max(LEAST_BYTES, sizeBytes()))));
    }
    Tensor tensor = new Tensor(chunks.get(current), used, dtype, shape);
    used += bytes;
    return tensor;
  }

  Mark mark() {
    return new Mark(current, used);
  }

  void back(Mark mark) {
    current = mark.chunk();
    used = mark.used();
  }

  /** Takes everything back. */
  void reset() {
    current = 0;
    used = 0;
  }

  /** Returns the bytes held, used or not. */
  long sizeBytes() {
    return chunks.stream().mapToLong(Storage::sizeBytes).sum();
  }

  @Override
  public void close() {
    chunks.forEach(Storage::close);
    chunks.clear();
    reset();
  }
}
