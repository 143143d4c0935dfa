// SPDX-License-Identifier: Apache-2.0
package espalier.gradient;

import espalier.kernel.Attention;
import espalier.kernel.Backward;
import espalier.kernel.Elementwise;
import espalier.kernel.MatMul;
import espalier.kernel.Norm;
import espalier.kernel.Ops;
import espalier.kernel.Sparse;
import espalier.report.EspalierException;
import espalier.tensor.Context;
import espalier.tensor.DType;
import espalier.tensor.Tensor;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.function.UnaryOperator;

/**
 * Runs every operation and records it, so that {@link #backward} can add the gradient of a loss to
 * every {@link Parameter}. One tape serves all steps of a training run:
 *
 * <pre>
 * tape.begin(lengths);                    // the sequences of this step
 * Tensor y = … block.forward(tape, x, Past.NONE) …
 * tape.gradient(y)                        // gets the gradient of the loss by y, from a loss
 * tape.backward();
 * </pre>
 *
 * <p>A batch is several sequences one after the other in the rows of x: attention stays inside a
 * sequence, and each begins at position 0. Nothing is padded. Results belong to the tape, not to a
 * scope, and are valid until the next {@code begin}; after the first step of a size nothing is
 * allocated. Serves one thread, like its context.
 */
public final class Tape implements Ops, AutoCloseable {
  private final Context context;
  private final Arena arena = new Arena();
  private final Gradients gradients;
  private List<Runnable> rules = new ArrayList<>();
  private long[] starts = {0}; // of every sequence, and the number of tokens; empty: any
  private boolean recording = true;

  /** Creates a tape that trains the given parameters. The caller closes it. */
  public Tape(Context context, Collection<Parameter> trained) {
    this.context = context;
    this.gradients = new Gradients(context, trained, arena);
  }

  /**
   * Begins a step: results of the one before are gone, gradients of parameters stay.
   *
   * @param lengths tokens of every sequence; none for one sequence of any length
   */
  public void begin(int... lengths) {
    rules.clear();
    gradients.forget();
    arena.reset();
    starts = new long[lengths.length + 1];
    for (int s = 0; s < lengths.length; s++) {
      starts[s + 1] = starts[s] + lengths[s];
    }
  }

  /** Returns where a loss adds its gradient by a result: F32 of its shape; null if unwanted. */
  public Tensor gradient(Tensor y) {
    return gradients.of(y);
  }

  /** Returns uninitialised memory of this step. */
  public Tensor take(DType dtype, long... dimensions) {
    return arena.take(dtype, dimensions);
  }

  /** Runs a body and takes back the memory of this step that it took. */
  public void scratch(Runnable body) {
    Arena.Mark mark = arena.mark();
    body.run();
    arena.back(mark);
  }

  /** Runs every rule, last operation first; the tape is empty afterwards. */
  public void backward() {
    for (int i = rules.size() - 1; i >= 0; i--) {
      rules.get(i).run();
    }
    rules.clear();
  }

  /**
   * Returns body(x), which has the shape of x, and keeps nothing else: the backward pass runs the
   * body again. Of a model's blocks this leaves one block's results in memory, for a third more
   * arithmetic.
   */
  public Tensor checkpoint(Tensor x, UnaryOperator<Tensor> body) {
    if (!recording) {
      return body.apply(x);
    }
    Tensor y = like(x);
    Arena.Mark mark = arena.mark();
    recording = false;
    y.buffer().put(body.apply(x).buffer());
    recording = true;
    arena.back(mark);
    // A body reads parameters of its own, which are not among its operands.
    gradients.want(y);
    rules.add(() -> gradients.run(y, dy -> again(x, body, dy)));
    return y;
  }

  private void again(Tensor x, UnaryOperator<Tensor> body, Tensor dy) {
    Arena.Mark mark = arena.mark();
    List<Runnable> outer = rules;
    rules = new ArrayList<>();
    Tensor y = body.apply(x);
    Tensor inner = gradients.of(y);
    if (inner != null) {
      Backward.accumulate(context, dy, inner);
      backward();
    }
    rules = outer;
    arena.back(mark);
  }

  /** Returns the bytes held for results and gradients of a step. */
  long sizeBytes() {
    return arena.sizeBytes() + gradients.sizeBytes();
  }

  @Override
  public void close() {
    gradients.close();
    arena.close();
  }

  // ---- the operations

  @Override
  public Context context() {
    return context;
  }

  @Override
  public boolean retains() {
    return true;
  }

  @Override
  public long end(long start, long tokens) {
    long longest = 0;
    for (Gradients.Rows s : sequences(start, tokens)) {
      longest = Math.max(longest, s.position() + s.to() - s.from());
    }
    return longest;
  }

  @Override
  public Tensor embed(Tensor ids, Tensor table) {
    Tensor y = floats(ids.elements(), table.dimension(1));
    Elementwise.embed(context, ids, table, y);
    return record(y, dy -> gradients.embed(ids, table, dy), table);
  }

  @Override
  public Tensor embedPositions(long start, long tokens, Tensor table) {
    int[] places = new int[Math.toIntExact(tokens)];
    for (Gradients.Rows s : sequences(start, tokens)) {
      for (long t = s.from(); t < s.to(); t++) {
        places[(int) t] = Math.toIntExact(s.position() + t - s.from());
      }
    }
    return embed(arena.take(DType.I32, tokens).fill(places), table);
  }

  @Override
  public Tensor dense(Tensor x, Tensor weight, boolean inOut, Tensor bias) {
    Tensor y = floats(x.dimension(0), weight.dimension(inOut ? 1 : 0));
    if (inOut) {
      MatMul.denseInOut(context, x, weight, bias, y);
    } else {
      MatMul.dense(context, x, weight, bias, y);
    }
    return record(y, dy -> gradients.dense(x, weight, inOut, bias, dy), x, weight, bias);
  }

  @Override
  public Tensor packed(
      Tensor x,
      int bits,
      Tensor codes,
      Tensor scales,
      Tensor zeros,
      long group,
      Tensor groupIndex,
      Tensor bias) {
    Tensor y = floats(x.dimension(0), codes.dimension(0));
    MatMul.packed(context, bits, x, codes, scales, zeros, group, groupIndex, bias, y);
    Gradients.Packed weight = new Gradients.Packed(bits, codes, scales, zeros, group, groupIndex);
    return record(y, dy -> gradients.packed(x, weight, bias, dy), x, bias);
  }

  @Override
  public Tensor packedRounded(
      Tensor x, int bits, Tensor codes, Tensor scales, Tensor zeros, long group, Tensor bias) {
    throw unsupported("rounded activations");
  }

  @Override
  public Tensor sparse(Tensor x, Sparse.Matrix weight, Tensor bias) {
    throw unsupported("sparse weights");
  }

  private static EspalierException unsupported(String what) {
    return EspalierException.unsupported(
        "training through " + what + " is not implemented", "Train the dense checkpoint.");
  }

  @Override
  public Tensor rmsNorm(Tensor x, Tensor weight, float eps) {
    Tensor y = like(x);
    Norm.rms(context, x, weight, eps, y);
    return record(y, dy -> gradients.norm(false, x, weight, null, eps, dy), x, weight);
  }

  @Override
  public Tensor layerNorm(Tensor x, Tensor weight, Tensor bias, float eps) {
    Tensor y = like(x);
    Norm.layer(context, x, weight, bias, eps, y);
    return record(y, dy -> gradients.norm(true, x, weight, bias, eps, dy), x, weight, bias);
  }

  @Override
  public Tensor rotate(Tensor x, long heads, long start, Tensor cosines, Tensor sines) {
    Tensor y = like(x);
    y.buffer().put(x.buffer());
    List<Gradients.Rows> sequences = sequences(start, x.dimension(0));
    for (Gradients.Rows s : sequences) {
      Attention.rotate(context, y.rows(s.from(), s.to()), heads, s.position(), cosines, sines);
    }
    return record(y, dy -> gradients.rotate(x, heads, sequences, cosines, sines, dy), x);
  }

  @Override
  public Tensor attention(
      Tensor q,
      Tensor keys,
      Tensor values,
      long heads,
      long keyHeads,
      long start,
      long window,
      float scale) {
    List<Gradients.Rows> rows = sequences(start, q.dimension(0));
    Backward.Sequences batch =
        new Backward.Sequences(
            starts(rows, q.dimension(0)),
            starts(rows, keys.dimension(0)),
            heads,
            keyHeads,
            window,
            scale);
    Tensor y = like(q);
    Tensor logSum = floats(q.dimension(0), heads);
    Backward.attend(context, batch, q, keys, values, y, logSum);
    return record(
        y, dy -> gradients.attention(batch, q, keys, values, y, logSum, dy), q, keys, values);
  }

  /** Where every sequence starts; the only one of several keys may have more keys than queries. */
  private Tensor starts(List<Gradients.Rows> sequences, long end) {
    Tensor all = arena.take(DType.I64, sequences.size() + 1);
    for (int s = 0; s < sequences.size(); s++) {
      all.buffer().putLong(s * Long.BYTES, sequences.get(s).from());
    }
    all.buffer().putLong(sequences.size() * Long.BYTES, end);
    return all;
  }

  @Override
  public Tensor siluMultiply(Tensor gate, Tensor up) {
    Tensor y = like(gate);
    Elementwise.siluMultiply(context, gate, up, y);
    return record(y, dy -> gradients.siluMultiply(gate, up, dy), gate, up);
  }

  @Override
  public Tensor activation(Elementwise.Function function, Tensor x) {
    Tensor y = like(x);
    Elementwise.apply(context, function, x, y);
    return record(y, dy -> gradients.activation(function, x, dy), x);
  }

  @Override
  public Tensor add(Tensor a, Tensor b) {
    Tensor y = like(a);
    Elementwise.add(context, a, b, y);
    return record(y, dy -> gradients.add(a, b, dy), a, b);
  }

  @Override
  public Tensor multiply(Tensor a, Tensor b) {
    Tensor y = like(a);
    Elementwise.multiply(context, a, b, y);
    return record(y, dy -> gradients.multiply(a, b, dy), a, b);
  }

  @Override
  public Tensor columns(Tensor x, long from, long to) {
    Tensor y = floats(x.dimension(0), to - from);
    long bytes = (to - from) * Float.BYTES;
    long rowBytes = x.dimension(1) * Float.BYTES;
    // Row by row, since a buffer reaches 2 GiB and a matrix of activations may be larger.
    for (long row = 0; row < x.dimension(0); row++) {
      y.buffer(row * bytes, bytes).put(x.buffer(row * rowBytes + from * Float.BYTES, bytes));
    }
    return record(y, dy -> gradients.columns(x, from, dy), x);
  }

  /** Records a rule if the loss can depend on a parameter through one of the operands. */
  private Tensor record(Tensor y, Gradients.Rule rule, Tensor... operands) {
    for (Tensor operand : operands) {
      if (recording && gradients.wants(operand)) {
        gradients.want(y);
        rules.add(() -> gradients.run(y, rule));
        break;
      }
    }
    return y;
  }

  /** The sequences that {@code tokens} rows are, the first row at position {@code start}. */
  private List<Gradients.Rows> sequences(long start, long tokens) {
    int count = starts.length - 1;
    if (count <= 1) {
      return List.of(new Gradients.Rows(0, tokens, start));
    }
    if (start != 0 || tokens != starts[count]) {
      throw new IllegalArgumentException(
          tokens + " tokens from " + start + " are not the " + count + " sequences of this step");
    }
    List<Gradients.Rows> rows = new ArrayList<>();
    for (int s = 0; s < count; s++) {
      rows.add(new Gradients.Rows(starts[s], starts[s + 1], 0));
    }
    return rows;
  }

  private Tensor floats(long... dimensions) {
    return arena.take(DType.F32, dimensions);
  }

  private Tensor like(Tensor x) {
    return floats(x.shape().toArray());
  }
}
