// SPDX-License-Identifier: Apache-2.0
package espalier.compress;

import espalier.kernel.Convert;
import espalier.kernel.Ops;
import espalier.model.Block;
import espalier.model.Model;
import espalier.model.Past;
import espalier.model.State;
import espalier.model.Step;
import espalier.report.Listener;
import espalier.tensor.Context;
import espalier.tensor.DType;
import espalier.tensor.Storage;
import espalier.tensor.Tensor;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Consumer;

/**
 * The calibration texts on their way through the model: one state a text, all at the same step.
 * They are kept in the checkpoint's dtype (fp32 for an fp32 or fp16 model: fp16 would overflow
 * where the model's own activations pass 65504), and every step computes on what was kept. Where a
 * memory budget demands it they lie in unnamed files of a folder: the same bytes, on disk.
 */
final class Samples implements AutoCloseable {
  private final Context context;
  private final Ops ops;
  private final DType kept;
  private final Listener listener;
  private final Path folder;
  private final List<Held> residuals = new ArrayList<>();
  private final List<Held> inputs = new ArrayList<>();

  /** A tensor with its storage, in the kept dtype. */
  private record Held(Tensor tensor) {
    void close() {
      tensor.storage().close();
    }
  }

  /**
   * Embeds every text.
   *
   * @param listener asked between texts whether to go on: all of them together may take minutes
   * @param folder where the states are spilled to, resident only while their text is computed with;
   *     null keeps all of them in memory
   */
  Samples(
      Context context, Ops ops, Model model, List<int[]> texts, Listener listener, Path folder) {
    this.folder = folder;
    this.context = context;
    this.ops = ops;
    this.listener = listener;
    this.kept = model.stateType() == DType.BF16 ? DType.BF16 : DType.F32;
    for (int[] text : texts) {
      try (Context.Scope scope = context.scope()) {
        Tensor ids = context.ints(text, text.length);
        residuals.add(hold(model.embed(ops, ids, 0)));
        inputs.add(null);
      }
      model.embedding().forget();
    }
  }

  int count() {
    return residuals.size();
  }

  /** Moves every text to the first step of a block. */
  void begin(Block block) {
    for (int i = 0; i < count(); i++) {
      listener.checkCancelled();
      try (Context.Scope scope = context.scope()) {
        replace(i, block.begin(ops, wide(residuals.get(i))));
      }
    }
  }

  /** Returns what the step's linears read, over all texts: Σxxᵀ, or only its diagonal. */
  Statistics measure(boolean hessian) {
    Statistics statistics = null;
    for (Held input : inputs) {
      listener.checkCancelled();
      if (statistics == null) {
        long width = input.tensor().dimension(1);
        statistics =
            hessian ? new Statistics(context, width) : Statistics.ofDiagonal(context, width);
      }
      try (Context.Scope scope = context.scope()) {
        statistics.add(wide(input));
      }
      input.tensor().forget();
    }
    return statistics;
  }

  /** Returns the same beside what the dense model reads there. */
  Statistics measure(Samples dense) {
    Statistics statistics = Statistics.following(context, inputs.get(0).tensor().dimension(1));
    for (int i = 0; i < count(); i++) {
      listener.checkCancelled();
      try (Context.Scope scope = context.scope()) {
        statistics.add(wide(inputs.get(i)), dense.wide(dense.inputs.get(i)));
      }
      inputs.get(i).tensor().forget();
      dense.inputs.get(i).tensor().forget();
    }
    return statistics;
  }

  /** Moves every text through a step. */
  void advance(Step step) {
    for (int i = 0; i < count(); i++) {
      listener.checkCancelled();
      try (Context.Scope scope = context.scope()) {
        State state = new State(wide(residuals.get(i)), wide(inputs.get(i)));
        replace(i, step.apply(ops, state, Past.NONE));
      }
    }
  }

  /** Moves every text from the last block to what the output head reads. */
  void normalize(Model model) {
    for (int i = 0; i < count(); i++) {
      listener.checkCancelled();
      try (Context.Scope scope = context.scope()) {
        Tensor hidden = wide(residuals.get(i));
        replace(i, new State(hidden, model.headInput(ops, hidden)));
      }
    }
  }

  /** Hands over every text's hidden states between two blocks, in the kept dtype, in order. */
  void export(Consumer<Tensor> to) {
    for (Held residual : residuals) {
      to.accept(residual.tensor());
      residual.tensor().forget();
    }
  }

  /** Takes back what {@link #export} handed over: {@code from} fills tensors of the same shapes. */
  void restore(Consumer<Tensor> from) {
    for (int i = 0; i < count(); i++) {
      Tensor shape = residuals.get(i).tensor();
      Tensor copy =
          new Tensor(Storage.allocate(shape.sizeBytes()), 0, shape.dtype(), shape.shape());
      release(residuals.set(i, new Held(copy)));
      from.accept(copy);
    }
  }

  private void replace(int i, State state) {
    Held residual = hold(state.residual());
    Held input = state.input() == null ? null : hold(state.input());
    release(residuals.get(i));
    release(inputs.get(i));
    residuals.set(i, residual);
    inputs.set(i, input);
  }

  private static void release(Held held) {
    if (held != null) {
      held.close();
    }
  }

  private Tensor wide(Held held) {
    return kept == DType.F32 ? held.tensor() : Convert.toFloat(context, held.tensor());
  }

  /** Copies a result out of its scope: it may be a view into a state that is about to go. */
  private Held hold(Tensor tensor) {
    long bytes = kept.bytes(tensor.elements());
    Storage storage = folder == null ? Storage.allocate(bytes) : Storage.spill(folder, bytes);
    Tensor copy = new Tensor(storage, 0, kept, tensor.shape());
    if (kept == DType.F32) {
      copy.buffer().put(tensor.buffer());
    } else {
      Convert.fromFloat(context, tensor, copy);
    }
    copy.forget();
    return new Held(copy);
  }

  @Override
  public void close() {
    residuals.forEach(Samples::release);
    inputs.forEach(Samples::release);
    residuals.clear();
    inputs.clear();
  }
}
