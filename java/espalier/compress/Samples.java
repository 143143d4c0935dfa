// SPDX-License-Identifier: Apache-2.0
package espalier.compress;

import espalier.kernel.Convert;
import espalier.kernel.Eager;
import espalier.model.Block;
import espalier.model.Model;
import espalier.model.Past;
import espalier.model.State;
import espalier.model.Step;
import espalier.report.Listener;
import espalier.tensor.Context;
import espalier.tensor.DType;
import espalier.tensor.Spares;
import espalier.tensor.Storage;
import espalier.tensor.Tensor;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Consumer;

/**
 * The calibration texts on their way through the model: one state a batch of texts, all at the same
 * step. They are kept in the checkpoint's dtype (fp32 for an fp32 or fp16 model: fp16 would
 * overflow where the model's own activations pass 65504), and every step computes on what was kept.
 * Where a memory budget demands it they lie in unnamed files of a folder: the same bytes, on disk.
 */
final class Samples implements AutoCloseable {
  /** Of unused memory that is kept: results that come and go while a batch passes a step. */
  static final long SOME_SPARE_BYTES = 1L << 23;

  /** The states of a small model as well, from block to block. */
  static final long MANY_SPARE_BYTES = 72L << 20;

  private final Context context;
  private final DType kept;
  private final Listener listener;
  private final Path folder;
  private final Spares spares; // null when the states are spilled, or somebody keeps memory already
  private final List<Eager> ops = new ArrayList<>(); // by batch
  // Of every batch, in the kept dtype, each the owner of its storage.
  private final List<Tensor> residuals = new ArrayList<>();
  private final List<Tensor> inputs = new ArrayList<>();

  /**
   * Embeds every text.
   *
   * @param listener asked between batches whether to go on: all together may take minutes
   * @param folder where the states are spilled to, resident only while their batch is computed
   *     with; null keeps all of them in memory
   * @param spareBytes unused memory that may be kept instead of given back
   */
  Samples(
      Context context,
      Eager ops,
      Model model,
      List<int[]> texts,
      Listener listener,
      Path folder,
      long spareBytes) {
    this.folder = folder;
    this.context = context;
    this.listener = listener;
    this.kept = model.stateType() == DType.BF16 ? DType.BF16 : DType.F32;
    this.spares = folder == null && !context.keepsMemory() ? context.keepMemory(spareBytes) : null;
    for (List<int[]> batch : Batches.of(texts, Batches.mostTokens(model))) {
      try (Context.Scope scope = context.scope()) {
        residuals.add(hold(scope, embedded(ops, model, batch)));
        inputs.add(null);
      }
      List<Long> lengths = batch.stream().map(text -> (long) text.length).toList();
      this.ops.add(lengths.size() == 1 ? ops : ops.over(lengths));
      model.embedding().forget();
    }
  }

  /** Returns the embedded texts one below the other, F32 [tokens, hidden]. */
  private Tensor embedded(Eager ops, Model model, List<int[]> batch) {
    List<Tensor> parts = new ArrayList<>();
    for (int[] text : batch) {
      parts.add(model.embed(ops, context.ints(text, text.length), 0));
    }
    if (parts.size() == 1) {
      return parts.get(0);
    }
    long tokens = parts.stream().mapToLong(part -> part.dimension(0)).sum();
    Tensor whole = context.blank(DType.F32, tokens, parts.get(0).dimension(1));
    long row = 0;
    for (Tensor part : parts) {
      Convert.toFloat(context, part, whole.rows(row, row + part.dimension(0)));
      row += part.dimension(0);
    }
    return whole;
  }

  private int count() {
    return residuals.size();
  }

  /** Moves every batch to the first step of a block. */
  void begin(Block block) {
    for (int i = 0; i < count(); i++) {
      listener.checkCancelled();
      try (Context.Scope scope = context.scope()) {
        State given = new State(wide(residuals.get(i)), null);
        replace(scope, i, given, block.begin(ops.get(i), given.residual()));
      }
    }
  }

  /**
   * Returns what the step's linears read, over all texts: Σxxᵀ, or only its diagonal.
   *
   * @param dense the same texts at the same step of the dense model, to measure Σxxᵀ beside; null
   *     for none
   */
  Statistics measure(boolean hessian, Samples dense) {
    long width = inputs.get(0).dimension(1);
    boolean follows = hessian && dense != null;
    Statistics statistics =
        follows
            ? Statistics.following(context, width)
            : hessian ? new Statistics(context, width) : Statistics.ofDiagonal(context, width);
    for (int i = 0; i < count(); i++) {
      listener.checkCancelled();
      Tensor input = inputs.get(i);
      try (Context.Scope scope = context.scope()) {
        if (follows) {
          statistics.add(wide(input), dense.wide(dense.inputs.get(i)));
          dense.inputs.get(i).forget();
        } else {
          statistics.add(wide(input));
        }
      }
      input.forget();
    }
    return statistics;
  }

  /** Moves every batch through a step. */
  void advance(Step step) {
    for (int i = 0; i < count(); i++) {
      listener.checkCancelled();
      try (Context.Scope scope = context.scope()) {
        State given = new State(wide(residuals.get(i)), wide(inputs.get(i)));
        replace(scope, i, given, step.apply(ops.get(i), given, Past.NONE));
      }
    }
  }

  /** Moves every batch from the last block to what the output head reads. */
  void normalize(Model model) {
    for (int i = 0; i < count(); i++) {
      listener.checkCancelled();
      try (Context.Scope scope = context.scope()) {
        State given = new State(wide(residuals.get(i)), null);
        Tensor read = model.headInput(ops.get(i), given.residual());
        replace(scope, i, given, new State(given.residual(), read));
      }
    }
  }

  /** Hands over the hidden states of all texts between two blocks, in the kept dtype, in order. */
  void export(Consumer<Tensor> to) {
    for (Tensor residual : residuals) {
      to.accept(residual);
      residual.forget();
    }
  }

  /** Takes back what {@link #export} handed over: {@code from} fills tensors of the same shapes. */
  void restore(Consumer<Tensor> from) {
    for (int i = 0; i < count(); i++) {
      Tensor shape = residuals.get(i);
      Tensor copy =
          new Tensor(Storage.allocate(shape.sizeBytes()), 0, shape.dtype(), shape.shape());
      release(residuals.set(i, copy));
      from.accept(copy);
    }
  }

  /** Takes what a step made of a batch in the place of what was given to it. */
  private void replace(Context.Scope scope, int i, State given, State made) {
    Tensor residual = next(scope, residuals.get(i), given.residual(), made.residual());
    Tensor input = next(scope, inputs.get(i), given.input(), made.input());
    put(residuals, i, residual);
    put(inputs, i, input);
  }

  private Tensor next(Context.Scope scope, Tensor held, Tensor given, Tensor made) {
    if (made == null) {
      return null;
    }
    if (made == given) {
      held.forget();
      return held;
    }
    return hold(scope, made);
  }

  private void put(List<Tensor> all, int i, Tensor held) {
    Tensor before = all.set(i, held);
    if (before != held) {
      release(before);
    }
  }

  private void release(Tensor held) {
    if (held != null) {
      context.retire(held.storage());
    }
  }

  private Tensor wide(Tensor held) {
    return kept == DType.F32 ? held : Convert.toFloat(context, held);
  }

  /** Takes a result out of its scope, or a copy of it: in the kept dtype, and where states lie. */
  private Tensor hold(Context.Scope scope, Tensor tensor) {
    if (kept == DType.F32 && folder == null && scope.owns(tensor)) {
      return scope.release(tensor);
    }
    long bytes = kept.bytes(tensor.elements());
    Storage storage = folder == null ? Storage.allocate(bytes) : Storage.spill(folder, bytes);
    Tensor copy = new Tensor(storage, 0, kept, tensor.shape());
    if (kept == DType.F32) {
      Convert.toFloat(context, tensor, copy);
    } else {
      Convert.fromFloat(context, tensor, copy);
    }
    copy.forget();
    return copy;
  }

  @Override
  public void close() {
    residuals.forEach(this::release);
    inputs.forEach(this::release);
    residuals.clear();
    inputs.clear();
    if (spares != null) {
      spares.close();
    }
  }
}
