// SPDX-License-Identifier: Apache-2.0
package espalier.tensor;

import espalier.internal.Abi;
import espalier.internal.Native;
import espalier.internal.Words;
import java.nio.file.Path;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.List;

/**
 * Device, thread pool, scratch and memory scopes of one computation, passed explicitly. A context
 * serves one thread at a time. Tensors it allocates belong to the innermost open {@link Scope}, or
 * to the context when none is open, and die with it.
 */
public final class Context implements AutoCloseable {
  private final long handle;
  private final int threads;
  private final Deque<Scope> scopes = new ArrayDeque<>();
  private Spares spares; // null unless memory is kept
  private Precision precision = Precision.FP32;
  private boolean open = true;

  private Context(long handle, int threads) {
    this.handle = handle;
    this.threads = threads;
    scopes.push(new Scope());
  }

  /** Creates a CPU context; {@code threads} 0 takes every processor. The caller closes it. */
  public static Context cpu(int threads) {
    Native.openBlas();
    Words out = new Words(1);
    Native.check(Abi.esp_context_create(threads, out.address(0)));
    return new Context(out.get(0), Abi.esp_context_threads(out.get(0)));
  }

  /** Returns the address for the C ABI. */
  public long handle() {
    if (!open) {
      throw new IllegalStateException("context is closed");
    }
    return handle;
  }

  /**
   * Makes the long solver operations that run on this context, or will, end soon with an {@link
   * espalier.report.EspalierException} (INTERRUPTED). For good; the one method that another thread
   * may call, while the context is open.
   */
  public void cancel() {
    Abi.esp_context_cancel(handle());
  }

  public int threads() {
    return threads;
  }

  /** Returns how exact products are: {@link Precision#FP32} until it is set. */
  public Precision precision() {
    return precision;
  }

  /** Sets how exact the products of this context must be from now on. */
  public void setPrecision(Precision precision) {
    Native.check(Abi.esp_context_set_precision(handle(), precision.ordinal()));
    this.precision = precision;
  }

  public Device device() {
    return Device.HOST;
  }

  /** Returns the instruction sets in use, best first, for reports. */
  public static String cpuFeatures() {
    return Abi.esp_cpu_features();
  }

  /** Opens a scope: tensors allocated until it closes die with it, unless it keeps them. */
  public Scope scope() {
    handle();
    Scope scope = new Scope();
    scopes.push(scope);
    return scope;
  }

  /** Allocates a zeroed tensor in the innermost scope. */
  public Tensor allocate(DType dtype, long... dimensions) {
    handle();
    Shape shape = Shape.of(dimensions);
    Storage storage = Storage.allocate(dtype.bytes(shape.elements()));
    scopes.peek().storages.add(storage);
    return new Tensor(storage, 0, dtype, shape);
  }

  /**
   * Allocates a tensor in the innermost scope whose content is unknown: for results that are
   * written whole. While memory is {@linkplain #keepMemory kept}, it comes from there when some
   * fits.
   */
  public Tensor blank(DType dtype, long... dimensions) {
    handle();
    Shape shape = Shape.of(dimensions);
    long bytes = dtype.bytes(shape.elements());
    Storage storage = spares == null ? Storage.allocate(bytes) : spares.take(bytes);
    scopes.peek().storages.add(storage);
    return new Tensor(storage, 0, dtype, shape);
  }

  /**
   * Keeps the memory of {@linkplain #blank blank} tensors that scopes free, or that are {@linkplain
   * #retire retired}, for later ones, until the result is closed: a loop that makes the same
   * results again and again then neither asks the system for pages nor clears them.
   *
   * @param mostBytes that lie unused at a time
   * @throws IllegalStateException when memory is kept already
   */
  public Spares keepMemory(long mostBytes) {
    handle();
    if (spares != null) {
      throw new IllegalStateException("memory is kept already");
    }
    spares = new Spares(mostBytes, () -> spares = null);
    return spares;
  }

  /** Returns whether {@link #keepMemory} is in force. */
  public boolean keepsMemory() {
    return spares != null;
  }

  /** Frees a storage that was released from its scope, or keeps its memory. */
  public void retire(Storage storage) {
    if (spares == null || !spares.keep(storage)) {
      storage.close();
    }
  }

  /**
   * Allocates a zeroed square F64 [width, width] in the innermost scope of which only the triangle
   * on and above the diagonal will be touched: pages below it then never come to exist.
   */
  public Tensor triangle(long width) {
    handle();
    Shape shape = Shape.of(width, width);
    Storage storage = Storage.allocateSparse(DType.F64.bytes(shape.elements()));
    scopes.peek().storages.add(storage);
    return new Tensor(storage, 0, DType.F64, shape);
  }

  /**
   * Allocates a zeroed tensor in the innermost scope whose memory is an unnamed file of a folder:
   * its pages can be {@linkplain Tensor#forget forgotten} and keep what they hold.
   */
  public Tensor spill(Path folder, DType dtype, long... dimensions) {
    handle();
    Shape shape = Shape.of(dimensions);
    Storage storage = Storage.spill(folder, dtype.bytes(shape.elements()));
    scopes.peek().storages.add(storage);
    return new Tensor(storage, 0, dtype, shape);
  }

  /** Allocates an F32 tensor with the given values in the innermost scope. */
  public Tensor floats(float[] values, long... dimensions) {
    return allocate(DType.F32, dimensions).fill(values);
  }

  /** Allocates an I32 tensor with the given values in the innermost scope. */
  public Tensor ints(int[] values, long... dimensions) {
    return allocate(DType.I32, dimensions).fill(values);
  }

  @Override
  public void close() {
    if (!open) {
      return;
    }
    if (spares != null) {
      spares.close();
    }
    while (!scopes.isEmpty()) {
      scopes.pop().free();
    }
    open = false;
    Native.check(Abi.esp_context_destroy(handle));
  }

  /** An arena of tensors. Close scopes in the reverse order of opening. */
  public final class Scope implements AutoCloseable {
    private final List<Storage> storages = new ArrayList<>();

    private Scope() {}

    /** Moves a tensor of this scope to the enclosing one, so that it outlives this scope. */
    public Tensor keep(Tensor tensor) {
      if (scopes.peek() != this) {
        throw new IllegalStateException("only the innermost scope can keep a tensor");
      }
      if (storages.remove(tensor.storage())) {
        Scope self = scopes.pop();
        scopes.peek().storages.add(tensor.storage());
        scopes.push(self);
      }
      return tensor;
    }

    /** Releases a tensor of this scope to the caller, who then closes its storage. */
    public Tensor release(Tensor tensor) {
      storages.remove(tensor.storage());
      return tensor;
    }

    /** Frees a tensor of this scope before the scope closes; does nothing to any other tensor. */
    public void drop(Tensor tensor) {
      if (storages.remove(tensor.storage())) {
        retire(tensor.storage());
      }
    }

    /** Returns whether a tensor's memory belongs to this scope. */
    public boolean owns(Tensor tensor) {
      return storages.contains(tensor.storage());
    }

    /** Releases everything in this scope to the caller, who then closes the storages. */
    public List<Storage> releaseAll() {
      List<Storage> released = List.copyOf(storages);
      storages.clear();
      return released;
    }

    private void free() {
      storages.forEach(Context.this::retire);
      storages.clear();
    }

    @Override
    public void close() {
      if (scopes.peek() != this) {
        throw new IllegalStateException("scopes must be closed in the reverse order of opening");
      }
      scopes.pop();
      free();
    }
  }
}
