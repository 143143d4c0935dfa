// SPDX-License-Identifier: Apache-2.0
package espalier.runtime;

import espalier.kernel.Program;
import espalier.model.Past;
import espalier.report.EspalierException;
import espalier.tensor.DType;
import espalier.tensor.Shape;
import espalier.tensor.Storage;
import espalier.tensor.Tensor;

/**
 * Keys and values of the tokens seen so far, F32, one pair of growing matrices a layer. It owns its
 * memory, which doubles as it fills, up to a capacity: a short answer costs little, a long one
 * copies each row at most once more than it has doublings.
 *
 * <p>A forward pass appends to every layer and leaves {@link #position()} alone; whoever runs the
 * pass then calls {@link #advance}. So every layer of one pass sees the same position, and a pass
 * that failed half-way is simply repeated.
 */
public final class KvCache implements Past, AutoCloseable {
  /** Rows of the first allocation: below it, growth would cost more than it saves. */
  private static final long FIRST_ROWS = 64;

  /** One view of a buffer holds less than 2 GiB; growth copies in pieces of this size. */
  private static final long COPY_BYTES = 1L << 28;

  private final Layer[] layers;
  private final long capacity;
  private long position;
  private boolean open = true;

  /**
   * Creates an empty cache; the caller closes it.
   *
   * @param layers number of blocks
   * @param capacity the most tokens it will hold
   */
  public KvCache(int layers, long capacity) {
    if (capacity < 1) {
      throw new IllegalArgumentException("capacity is " + capacity + ", expected 1 or more");
    }
    this.layers = new Layer[layers];
    for (int i = 0; i < layers; i++) {
      this.layers[i] = new Layer();
    }
    this.capacity = capacity;
  }

  @Override
  public long position() {
    return position;
  }

  /** Returns the most tokens it can hold. */
  public long capacity() {
    return capacity;
  }

  /** Returns the bytes held now. */
  public long sizeBytes() {
    long total = 0;
    for (Layer layer : layers) {
      total += layer.keys.sizeBytes() + layer.values.sizeBytes();
    }
    return total;
  }

  /**
   * {@inheritDoc}
   *
   * @throws EspalierException (USAGE) when the tokens do not fit the capacity
   */
  @Override
  public KeysValues append(int layer, Tensor keys, Tensor values) {
    check(position + keys.dimension(0));
    Layer held = layers[layer];
    return new KeysValues(held.keys.put(position, keys), held.values.put(position, values));
  }

  private void check(long end) {
    if (!open) {
      throw new IllegalStateException("the cache is closed");
    }
    if (end > capacity) {
      throw EspalierException.usage(
          end + " tokens do not fit a cache of " + capacity, "Ask for fewer tokens.");
    }
  }

  /**
   * Returns this cache for the recording of a step of one token: an append records the copy into
   * the row of the position a program runs at. The rows are there for as many positions as the
   * program says it serves; a cache that grows or closes ends the program.
   */
  public Past recorded(Program program) {
    return new Past() {
      @Override
      public long position() {
        return position;
      }

      @Override
      public KeysValues append(int layer, Tensor keys, Tensor values) {
        check(position + keys.dimension(0));
        Layer held = layers[layer];
        return new KeysValues(
            program.store(keys, held.keys.reserved(position, keys)),
            program.store(values, held.values.reserved(position, values)));
      }
    };
  }

  /** Moves on by the tokens of a finished pass, all of whose layers have been appended to. */
  public void advance(long tokens) {
    if (tokens < 0 || position + tokens > capacity) {
      throw new IllegalArgumentException(
          "cannot advance by " + tokens + " from " + position + " of " + capacity);
    }
    position += tokens;
  }

  /** Forgets every token from {@code newPosition} on; memory is kept. */
  public void rewind(long newPosition) {
    if (newPosition < 0 || newPosition > position) {
      throw new IllegalArgumentException("cannot rewind to " + newPosition + " from " + position);
    }
    position = newPosition;
  }

  @Override
  public void close() {
    open = false;
    for (Layer layer : layers) {
      layer.keys.close();
      layer.values.close();
    }
  }

  /** What one block remembers. */
  private final class Layer {
    private final Rows keys = new Rows();
    private final Rows values = new Rows();
  }

  /** A growing F32 matrix [rows, width]; the width is that of the first rows put in. */
  private final class Rows implements AutoCloseable {
    private Storage storage;
    private Tensor matrix; // [rows, width]

    /** Writes {@code added} from row {@code at} on and returns rows [0, at + added). */
    Tensor put(long at, Tensor added) {
      long end = at + added.dimension(0);
      reserve(at, end, added.dimension(1));
      copy(added, matrix.rows(at, end));
      return matrix.rows(0, end);
    }

    /** Returns the whole matrix with room for {@code added} at row {@code at}. */
    Tensor reserved(long at, Tensor added) {
      reserve(at, at + added.dimension(0), added.dimension(1));
      return matrix;
    }

    private void reserve(long filled, long wanted, long width) {
      if (matrix != null && matrix.dimension(1) != width) {
        throw new IllegalArgumentException(
            "rows of " + width + " appended to rows of " + matrix.dimension(1));
      }
      long rows = matrix == null ? 0 : matrix.dimension(0);
      if (wanted <= rows) {
        return;
      }
      long grown = Math.min(capacity, Math.max(wanted, Math.max(FIRST_ROWS, 2 * rows)));
      Shape shape = Shape.of(grown, width);
      Storage bigger = Storage.allocate(DType.F32.bytes(shape.elements()));
      Tensor target = new Tensor(bigger, 0, DType.F32, shape);
      if (filled > 0) {
        copy(matrix.rows(0, filled), target.rows(0, filled));
      }
      close();
      storage = bigger;
      matrix = target;
    }

    private static void copy(Tensor from, Tensor to) {
      for (long at = 0; at < from.sizeBytes(); at += COPY_BYTES) {
        long bytes = Math.min(COPY_BYTES, from.sizeBytes() - at);
        to.buffer(at, bytes).put(from.buffer(at, bytes));
      }
    }

    long sizeBytes() {
      return storage == null ? 0 : storage.sizeBytes();
    }

    @Override
    public void close() {
      if (storage != null) {
        storage.close();
      }
      storage = null;
      matrix = null;
    }
  }
}
