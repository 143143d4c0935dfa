// SPDX-License-Identifier: Apache-2.0
package espalier.kernel;

import espalier.tensor.Context;
import espalier.tensor.DType;
import espalier.tensor.Tensor;
import java.util.List;

/**
 * Runs every operation at once through the kernel topics. Results belong to the current scope.
 *
 * @param roundsInputs whether {@link #packedRounded} rounds its input; a solver measures what its
 *     linears would read if nothing were rounded
 * @param lengths rows of each sequence, where those of every matrix are several sequences one after
 *     the other, each from position 0 on; empty for one sequence
 */
public record Eager(Context context, boolean roundsInputs, List<Long> lengths) implements Ops {
  /** Computes every operation as its linear asks for it. */
  public Eager(Context context) {
    this(context, true);
  }

  /** Computes on one sequence at a time. */
  public Eager(Context context, boolean roundsInputs) {
    this(context, roundsInputs, List.of());
  }

  /** Returns the same for matrices of several sequences. */
  public Eager over(List<Long> lengths) {
    return new Eager(context, roundsInputs, List.copyOf(lengths));
  }

  /** Something done to the rows [from, to) of one sequence. */
  private interface Part {
    void run(long from, long to);
  }

  private void eachSequence(Tensor x, long start, Part part) {
    if (lengths.isEmpty()) {
      part.run(0, x.dimension(0));
      return;
    }
    long rows = lengths.stream().mapToLong(Long::longValue).sum();
    Checks.require(start == 0, "start", start, "0 for several sequences");
    Checks.require(x.dimension(0) == rows, "rows", x.dimension(0), "" + rows);
    long from = 0;
    for (long length : lengths) {
      part.run(from, from + length);
      from += length;
    }
  }

  @Override
  public Tensor embed(Tensor ids, Tensor table) {
    Tensor y = floats(ids.elements(), table.dimension(1));
    Elementwise.embed(context, ids, table, y);
    return y;
  }

  @Override
  public Tensor dense(Tensor x, Tensor weight, boolean inOut, Tensor bias) {
    Tensor y = floats(x.dimension(0), weight.dimension(inOut ? 1 : 0));
    if (inOut) {
      MatMul.denseInOut(context, x, weight, bias, y);
    } else {
      MatMul.dense(context, x, weight, bias, y);
    }
    return y;
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
    return y;
  }

  @Override
  public Tensor packedRounded(
      Tensor x, int bits, Tensor codes, Tensor scales, Tensor zeros, long group, Tensor bias) {
    if (!roundsInputs) {
      return packed(x, bits, codes, scales, zeros, group, null, bias);
    }
    Tensor rounded = context.allocate(DType.I8, x.dimension(0), x.dimension(1));
    Tensor tokenScales = floats(x.dimension(0));
    QuantizedActivations.tokens(context, x, rounded, tokenScales);
    Tensor y = floats(x.dimension(0), codes.dimension(0));
    QuantizedActivations.multiply(
        context, bits, rounded, tokenScales, codes, scales, zeros, group, bias, y);
    return y;
  }

  @Override
  public Tensor sparse(Tensor x, Sparse.Matrix weight, Tensor bias) {
    Tensor y = floats(x.dimension(0), weight.rows());
    Sparse.multiply(context, x, weight, bias, y);
    return y;
  }

  @Override
  public Tensor rmsNorm(Tensor x, Tensor weight, float eps) {
    Tensor y = like(x);
    Norm.rms(context, x, weight, eps, y);
    return y;
  }

  @Override
  public Tensor layerNorm(Tensor x, Tensor weight, Tensor bias, float eps) {
    Tensor y = like(x);
    Norm.layer(context, x, weight, bias, eps, y);
    return y;
  }

  @Override
  public Tensor rotate(Tensor x, long heads, long start, Tensor cosines, Tensor sines) {
    // The kernel turns in place and operands must stay as they are.
    Tensor y = like(x);
    Convert.toFloat(context, x, y);
    eachSequence(
        y,
        start,
        (from, to) -> Attention.rotate(context, y.rows(from, to), heads, start, cosines, sines));
    return y;
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
    Tensor y = like(q);
    if (lengths.isEmpty()) {
      Attention.causal(context, q, keys, values, heads, keyHeads, start, window, scale, y);
      return y;
    }
    eachSequence(
        q,
        start,
        (from, to) ->
            Attention.causal(
                context,
                q.rows(from, to),
                keys.rows(from, to),
                values.rows(from, to),
                heads,
                keyHeads,
                start,
                window,
                scale,
                y.rows(from, to)));
    return y;
  }

  @Override
  public Tensor siluMultiply(Tensor gate, Tensor up) {
    Tensor y = like(gate);
    Elementwise.siluMultiply(context, gate, up, y);
    return y;
  }

  @Override
  public Tensor activation(Elementwise.Function function, Tensor x) {
    Tensor y = like(x);
    Elementwise.apply(context, function, x, y);
    return y;
  }

  @Override
  public Tensor add(Tensor a, Tensor b) {
    Tensor y = like(a);
    Elementwise.add(context, a, b, y);
    return y;
  }

  @Override
  public Tensor multiply(Tensor a, Tensor b) {
    Tensor y = like(a);
    Elementwise.multiply(context, a, b, y);
    return y;
  }

  @Override
  public Tensor columns(Tensor x, long from, long to) {
    Checks.matrix("x", x, DType.F32);
    long width = x.dimension(1);
    Checks.require(from >= 0 && from <= to && to <= width, "columns", from + ".." + to, "" + x);
    Tensor y = floats(x.dimension(0), to - from);
    long bytes = (to - from) * Float.BYTES;
    // Row by row, since a buffer reaches 2 GiB and a matrix of activations may be larger.
    for (long row = 0; row < x.dimension(0); row++) {
      y.buffer(row * bytes, bytes).put(x.buffer((row * width + from) * Float.BYTES, bytes));
    }
    return y;
  }

  private Tensor floats(long... dimensions) {
    return context.blank(DType.F32, dimensions); // every operation writes its result whole
  }

  private Tensor like(Tensor x) {
    return floats(x.shape().toArray());
  }
}
