// SPDX-License-Identifier: Apache-2.0
package espalier.kernel;

import static espalier.kernel.Checks.require;
import static espalier.kernel.Checks.shaped;

import espalier.internal.Abi;
import espalier.internal.Native;
import espalier.tensor.Context;
import espalier.tensor.DType;
import espalier.tensor.Tensor;

/** Rotary positions and causal attention. */
public final class Attention {
  private Attention() {}

  /**
   * Rotates in place, half-split: entries i and i + r/2 of every head by the angle of row {@code
   * start + t} of the tables.
   *
   * @param x F32 [tokens, heads · headWidth]
   * @param cosines F32 [positions, r/2]; r ≤ headWidth
   * @param sines the same shape
   */
  public static void rotate(
      Context context, Tensor x, long heads, long start, Tensor cosines, Tensor sines) {
    long tokens = x.dimension(0);
    long headWidth = x.dimension(1) / heads;
    long positions = cosines.dimension(0);
    long rotary = 2 * cosines.dimension(1);
    shaped("sines", sines, DType.F32, cosines.shape().toArray());
    require(start + tokens <= positions, "position", start + tokens, "at most " + positions);
    Native.check(
        Abi.esp_rope(
            context.handle(),
            tokens,
            heads,
            headWidth,
            rotary,
            start,
            positions,
            cosines.address(),
            sines.address(),
            x.address(),
            x.dimension(1)));
  }

  /**
   * Writes y = softmax(scale · q·kᵀ) v over the visible keys: query t stands at {@code start + t}
   * and sees itself, what is before it, and with a window only the last {@code window} of these.
   *
   * @param q F32 [tokens, heads · headWidth]
   * @param keys F32 [n, keyHeads · headWidth], n ≥ start + tokens
   * @param values the same shape
   * @param window keys a query may see, 0 for all
   * @param y F32 like q
   */
  public static void causal(
      Context context,
      Tensor q,
      Tensor keys,
      Tensor values,
      long heads,
      long keyHeads,
      long start,
      long window,
      float scale,
      Tensor y) {
    long tokens = q.dimension(0);
    long headWidth = q.dimension(1) / heads;
    require(keys.dimension(0) >= start + tokens, "keys", keys, "at least " + (start + tokens));
    shaped("values", values, DType.F32, keys.shape().toArray());
    shaped("keys", keys, DType.F32, keys.dimension(0), keyHeads * headWidth);
    shaped("y", y, DType.F32, q.shape().toArray());
    Native.check(
        Abi.esp_attention(
            context.handle(),
            tokens,
            keys.dimension(0),
            heads,
            keyHeads,
            headWidth,
            start,
            window,
            scale,
            q.address(),
            q.dimension(1),
            keys.address(),
            keys.dimension(1),
            values.address(),
            values.dimension(1),
            y.address(),
            y.dimension(1)));
  }
}
