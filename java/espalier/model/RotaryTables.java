// SPDX-License-Identifier: Apache-2.0
package espalier.model;

import espalier.kernel.Ops;
import espalier.tensor.DType;
import espalier.tensor.Shape;
import espalier.tensor.Storage;
import espalier.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;

/**
 * Tables of cosines and sines that all blocks of a model share, F32 [positions, pairs]. They start
 * small, since a context of 131072 positions would cost 64 MiB that few runs touch, and grow to the
 * positions asked for; outgrown tables live until close, so that a recorded operation stays valid.
 */
public final class RotaryTables implements AutoCloseable {
  private static final long FIRST_ROWS = 512;

  private final Rope rope;
  private final int contextLength;
  private final List<Storage> storages = new ArrayList<>();
  private Tensor cosines;
  private Tensor sines;

  RotaryTables(Rope rope, int contextLength) {
    this.rope = rope;
    this.contextLength = contextLength;
  }

  /**
   * Returns x [tokens, heads · width] with every head turned to positions from {@code start} on.
   */
  public Tensor rotate(Ops ops, Tensor x, long heads, long start) {
    reserve(ops.end(start, x.dimension(0)));
    return ops.rotate(x, heads, start, cosines, sines);
  }

  private void reserve(long positions) {
    long present = cosines == null ? 0 : cosines.dimension(0);
    if (positions <= present) {
      return;
    }
    // Doubling keeps the work linear; the context is the natural end unless more is asked for.
    long doubled = Math.max(FIRST_ROWS, 2 * present);
    long rows = Math.max(positions, Math.min(doubled, contextLength));
    cosines = table(rows);
    sines = table(rows);
    rope.fill(cosines.buffer().asFloatBuffer(), sines.buffer().asFloatBuffer(), 0);
  }

  private Tensor table(long rows) {
    Shape shape = Shape.of(rows, rope.pairs());
    Storage storage = Storage.allocate(DType.F32.bytes(shape.elements()));
    storages.add(storage);
    return new Tensor(storage, 0, DType.F32, shape);
  }

  @Override
  public void close() {
    storages.forEach(Storage::close);
  }
}
