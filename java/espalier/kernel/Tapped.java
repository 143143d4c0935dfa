// SPDX-License-Identifier: Apache-2.0
package espalier.kernel;

import espalier.tensor.Context;
import espalier.tensor.Tensor;
import java.util.function.BiConsumer;

/**
 * Passes every operation on and tells a listener the input of each named linear before it runs. The
 * tensor a listener gets lives as long as the caller's scope: copy what must last.
 *
 * @param ops who computes
 * @param listener gets the linear's full module name and its input F32 [tokens, in]
 */
public record Tapped(Ops ops, BiConsumer<String, Tensor> listener) implements Ops {
  @Override
  public Context context() {
    return ops.context();
  }

  @Override
  public boolean retains() {
    return ops.retains();
  }

  @Override
  public void observe(String linear, Tensor x) {
    listener.accept(linear, x);
    ops.observe(linear, x);
  }

  @Override
  public long end(long start, long tokens) {
    return ops.end(start, tokens);
  }

  @Override
  public Tensor embedPositions(long start, long tokens, Tensor table) {
    return ops.embedPositions(start, tokens, table);
  }

  @Override
  public Tensor embed(Tensor ids, Tensor table) {
    return ops.embed(ids, table);
  }

  @Override
  public Tensor dense(Tensor x, Tensor weight, boolean inOut, Tensor bias) {
    return ops.dense(x, weight, inOut, bias);
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
    return ops.packed(x, bits, codes, scales, zeros, group, groupIndex, bias);
  }

  @Override
  public Tensor packedRounded(
      Tensor x, int bits, Tensor codes, Tensor scales, Tensor zeros, long group, Tensor bias) {
    return ops.packedRounded(x, bits, codes, scales, zeros, group, bias);
  }

  @Override
  public Tensor sparse(Tensor x, Sparse.Matrix weight, Tensor bias) {
    return ops.sparse(x, weight, bias);
  }

  @Override
  public Tensor rmsNorm(Tensor x, Tensor weight, float eps) {
    return ops.rmsNorm(x, weight, eps);
  }

  @Override
  public Tensor layerNorm(Tensor x, Tensor weight, Tensor bias, float eps) {
    return ops.layerNorm(x, weight, bias, eps);
  }

  @Override
  public Tensor rotate(Tensor x, long heads, long start, Tensor cosines, Tensor sines) {
    return ops.rotate(x, heads, start, cosines, sines);
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
    return ops.attention(q, keys, values, heads, keyHeads, start, window, scale);
  }

  @Override
  public Tensor siluMultiply(Tensor gate, Tensor up) {
    return ops.siluMultiply(gate, up);
  }

  @Override
  public Tensor activation(Elementwise.Function function, Tensor x) {
    return ops.activation(function, x);
  }

  @Override
  public Tensor add(Tensor a, Tensor b) {
    return ops.add(a, b);
  }

  @Override
  public Tensor multiply(Tensor a, Tensor b) {
    return ops.multiply(a, b);
  }

  @Override
  public Tensor columns(Tensor x, long from, long to) {
    return ops.columns(x, from, to);
  }
}
