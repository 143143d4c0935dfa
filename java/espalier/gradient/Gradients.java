// SPDX-License-Identifier: Apache-2.0
package espalier.gradient;

import espalier.kernel.Attention;
import espalier.kernel.Backward;
import espalier.kernel.Elementwise;
import espalier.kernel.MatMul;
import espalier.tensor.Context;
import espalier.tensor.DType;
import espalier.tensor.Storage;
import espalier.tensor.Tensor;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Deque;
import java.util.HashMap;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Map;

/**
 * Every rule of reverse mode, one method per operation of {@link espalier.kernel.Ops}, and the
 * gradients they pass on. A rule takes the gradient of its result, which is complete by then, and
 * adds to those of its operands.
 *
 * <p>A tensor has a gradient only if it is a parameter or was computed from one: {@link #wants}.
 * Gradients of parameters last; those of intermediate results live from the first rule that adds to
 * them until their own rule has run, and their memory then serves the next.
 */
final class Gradients implements AutoCloseable {
  private final Context context;
  private final Map<Tensor, Tensor> parameters = new IdentityHashMap<>();
  private final Map<Tensor, Tensor> present = new IdentityHashMap<>();
  private final Map<Tensor, Boolean> wanted = new IdentityHashMap<>();
  private final Map<Tensor, Tensor> negatedSines = new IdentityHashMap<>();
  private final Map<Long, Deque<Storage>> idle = new HashMap<>();
  private final List<Storage> owned = new ArrayList<>();
  private final Arena rows;

  /**
   * @param rows gives memory for what one rule needs besides gradients
   */
  Gradients(Context context, Collection<Parameter> trained, Arena rows) {
    this.context = context;
    this.rows = rows;
    trained.forEach(p -> parameters.put(p.value(), p.gradient()));
  }

  // ---- bookkeeping

  /** Returns whether the loss can depend on a parameter through this tensor. */
  boolean wants(Tensor x) {
    return x != null && (parameters.containsKey(x) || wanted.containsKey(x));
  }

  /** Notes that a result was computed from a tensor that wants a gradient. */
  void want(Tensor y) {
    wanted.put(y, true);
  }

  /** Returns where to add the gradient of x: zeros at first; null when x wants none. */
  Tensor of(Tensor x) {
    if (x == null) {
      return null;
    }
    Tensor lasting = parameters.get(x);
    if (lasting != null) {
      return lasting;
    }
    if (!wanted.containsKey(x)) {
      return null;
    }
    Tensor gradient = present.get(x);
    if (gradient == null) {
      gradient = borrow(x);
      Backward.zero(context, gradient);
      present.put(x, gradient);
    }
    return gradient;
  }

  /** Runs a rule with the gradient of its result; not at all when nothing was added to that. */
  void run(Tensor y, Rule rule) {
    Tensor dy = present.remove(y);
    if (dy == null) {
      return;
    }
    rule.apply(dy);
    if (!present.containsValue(dy)) {
      giveBack(dy);
    }
  }

  /** What a rule does with the gradient of its result. */
  interface Rule {
    void apply(Tensor dy);
  }

  /** Makes dy, which its rule needs no longer, the gradient of x where x has none yet. */
  private void hand(Tensor dy, Tensor x) {
    if (wanted.containsKey(x) && !parameters.containsKey(x) && !present.containsKey(x)) {
      present.put(x, dy);
    } else if (wants(x)) {
      Backward.accumulate(context, dy, of(x));
    }
  }

  /** Forgets every intermediate result; memory stays for the next step. */
  void forget() {
    present.values().forEach(this::giveBack);
    present.clear();
    wanted.clear();
  }

  /** Returns the bytes held for gradients of intermediate results. */
  long sizeBytes() {
    return owned.stream().mapToLong(Storage::sizeBytes).sum();
  }

  private Tensor borrow(Tensor like) {
    Deque<Storage> free = idle.get(like.sizeBytes());
    Storage storage = free == null ? null : free.poll();
    if (storage == null) {
      storage = Storage.allocate(like.sizeBytes());
      owned.add(storage);
    }
    return new Tensor(storage, 0, DType.F32, like.shape());
  }

  private void giveBack(Tensor gradient) {
    idle.computeIfAbsent(gradient.sizeBytes(), bytes -> new ArrayDeque<>())
        .push(gradient.storage());
  }

  // ---- rules

  /** y = table[ids]. */
  void embed(Tensor ids, Tensor table, Tensor dy) {
    Backward.embed(context, ids, dy, of(table));
  }

  /** y = x · Wᵀ + b: dx = dy · W, dW = dyᵀ · x, db = Σ dy. */
  void dense(Tensor x, Tensor weight, boolean inOut, Tensor bias, Tensor dy) {
    Backward.linear(context, x, weight, inOut, dy, of(x), of(weight), of(bias));
  }

  /** Frozen packed weights; operands as in {@link MatMul#packed}. */
  record Packed(
      int bits, Tensor codes, Tensor scales, Tensor zeros, long group, Tensor groupIndex) {}

  /** y = x · Wᵀ + b from codes that stay as they are: dx = dy · W, unpacked for this rule alone. */
  void packed(Tensor x, Packed w, Tensor bias, Tensor dy) {
    Arena.Mark mark = rows.mark();
    Tensor weight = rows.take(DType.F32, w.codes().dimension(0), x.dimension(1));
    MatMul.dequantize(
        context, w.bits(), w.codes(), w.scales(), w.zeros(), w.group(), w.groupIndex(), weight);
    Backward.linear(context, x, weight, false, dy, of(x), null, of(bias));
    rows.back(mark);
  }

  /** y = x / √(mean(x²) + eps) · w, or with the mean subtracted and b added. */
  void norm(boolean centred, Tensor x, Tensor weight, Tensor bias, float eps, Tensor dy) {
    Arena.Mark mark = rows.mark();
    Tensor statistics = rows.take(DType.F64, x.elements() / weight.elements(), 2);
    Backward.norm(context, centred, x, weight, eps, dy, statistics, of(x), of(weight), of(bias));
    rows.back(mark);
  }

  /** A rotation: turned back by the same angles. dy becomes dx in place. */
  void rotate(Tensor x, long heads, List<Rows> sequences, Tensor cosines, Tensor sines, Tensor dy) {
    Tensor back = negatedSines.computeIfAbsent(sines, this::negated);
    for (Rows s : sequences) {
      Attention.rotate(context, dy.rows(s.from(), s.to()), heads, s.position(), cosines, back);
    }
    hand(dy, x);
  }

  private Tensor negated(Tensor sines) {
    float[] values = sines.toFloats();
    for (int i = 0; i < values.length; i++) {
      values[i] = -values[i];
    }
    Storage storage = Storage.allocate(sines.sizeBytes());
    owned.add(storage);
    return new Tensor(storage, 0, DType.F32, sines.shape()).fill(values);
  }

  /** Attention, from its result and the log of its sums. */
  void attention(
      Backward.Sequences sequences,
      Tensor q,
      Tensor keys,
      Tensor values,
      Tensor y,
      Tensor logSum,
      Tensor dy) {
    Backward.attention(
        context,
        sequences,
        q,
        keys,
        values,
        y,
        logSum,
        dy,
        ofEvery(q),
        ofEvery(keys),
        ofEvery(values));
  }

  /** Of an operation that cannot leave one of its gradients out. */
  private Tensor ofEvery(Tensor x) {
    want(x);
    return of(x);
  }

  /** y = silu(gate) · up. */
  void siluMultiply(Tensor gate, Tensor up, Tensor dy) {
    Backward.siluMultiply(context, gate, up, dy, ofEvery(gate), ofEvery(up));
  }

  /** y = f(x): dx = f'(x) · dy. */
  void activation(Elementwise.Function function, Tensor x, Tensor dy) {
    Backward.activation(context, function, x, dy, of(x));
  }

  /** y = a + b: both get dy. */
  void add(Tensor a, Tensor b, Tensor dy) {
    if (wants(b)) {
      Backward.accumulate(context, dy, of(b));
    }
    hand(dy, a);
  }

  /** y = a · b: da = b · dy, db = a · dy. */
  void multiply(Tensor a, Tensor b, Tensor dy) {
    if (wants(a)) {
      Backward.multiply(context, b, dy, of(a));
    }
    if (wants(b)) {
      Backward.multiply(context, a, dy, of(b));
    }
  }

  /** y = some columns of x. */
  void columns(Tensor x, long from, Tensor dy) {
    Backward.columns(context, dy, from, of(x));
  }

  /** Rows of a batch that are one sequence, the first at a position. */
  record Rows(long from, long to, long position) {}

  @Override
  public void close() {
    owned.forEach(Storage::close);
  }
}
