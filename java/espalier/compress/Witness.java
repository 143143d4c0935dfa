// SPDX-License-Identifier: Apache-2.0
package espalier.compress;

import espalier.kernel.Ops;
import espalier.model.Block;
import espalier.model.Model;
import espalier.model.Past;
import espalier.model.State;
import espalier.model.Step;
import espalier.tensor.Context;
import espalier.tensor.Storage;
import espalier.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;

/**
 * A short text that walks through the compressed model beside the calibration texts, so that the
 * model's logits are known at the end although its blocks have left memory by then. No statistics
 * see it, and its state stays F32 throughout: the logits are those of a plain forward pass, to the
 * bit.
 */
final class Witness implements AutoCloseable {
  private final Context context;
  private final Ops ops;
  private final int[] ids;
  private final List<Storage> owned = new ArrayList<>();
  private State state;

  Witness(Context context, Ops ops, Model model, int[] ids) {
    this.context = context;
    this.ops = ops;
    this.ids = ids;
    try (Context.Scope scope = context.scope()) {
      Tensor tokens = context.ints(ids, ids.length);
      keep(scope, new State(model.embed(ops, tokens, 0), null));
    }
    model.embedding().forget();
  }

  int[] ids() {
    return ids;
  }

  /** Moves to the first step of a block. */
  void begin(Block block) {
    try (Context.Scope scope = context.scope()) {
      keep(scope, block.begin(ops, state.residual()));
    }
  }

  /** Moves through a step whose linears are final. */
  void advance(Step step) {
    try (Context.Scope scope = context.scope()) {
      keep(scope, step.apply(ops, state, Past.NONE));
    }
  }

  /** Returns the logits after the last block, F32 [tokens, vocabulary], in the current scope. */
  Tensor logits(Model model) {
    return model.logits(ops, state.residual());
  }

  /** Takes a state out of its scope, and frees what of the state before it is gone. */
  private void keep(Context.Scope scope, State next) {
    List<Storage> before = List.copyOf(owned);
    owned.clear();
    for (Tensor tensor :
        next.input() == null ? List.of(next.residual()) : List.of(next.residual(), next.input())) {
      scope.release(tensor);
      if (!owned.contains(tensor.storage())) {
        owned.add(tensor.storage());
      }
    }
    before.stream().filter(storage -> !owned.contains(storage)).forEach(Storage::close);
    state = next;
  }

  @Override
  public void close() {
    owned.forEach(Storage::close);
    owned.clear();
  }
}
