// SPDX-License-Identifier: Apache-2.0
package espalier.kernel;

import espalier.tensor.Context;
import espalier.tensor.Tensor;

/**
 * The operations a transformer is made of. {@link Eager} runs them; other implementations observe
 * or record them, so that one {@code Block} serves calibration, inference and planning.
 *
 * <p>Activations are F32 matrices [tokens, width]. Every result is a new tensor in the context's
 * current scope; no operand is changed.
 */
public interface Ops {
  /** Returns the context that computes and owns the results. */
  Context context();

  /** Tells an observer that {@code x} is about to be the input of the named linears. */
  default void observe(String linear, Tensor x) {}

  /**
   * Returns whether results must outlive the block that made them, as a tape's must. A model frees
   * the intermediate results of a block as soon as it is done unless this is true.
   */
  default boolean retains() {
    return false;
  }

  /**
   * Returns one past the last position of {@code tokens} tokens from {@code start} on: less than
   * their sum where they are several sequences.
   */
  default long end(long start, long tokens) {
    return start + tokens;
  }

  /** Returns table[ids]: F32 [tokens, width] from I32 [tokens]. */
  Tensor embed(Tensor ids, Tensor table);

  /**
   * Returns the rows of a table of learned positions, from {@code start} on: F32 [tokens, width].
   */
  default Tensor embedPositions(long start, long tokens, Tensor table) {
    int[] places = new int[Math.toIntExact(tokens)];
    for (int i = 0; i < places.length; i++) {
      places[i] = Math.toIntExact(start + i);
    }
    return embed(context().ints(places, places.length), table);
  }

  /** Returns x · wᵀ + bias; weight [out, in], or [in, out] when {@code inOut}; bias may be null. */
  Tensor dense(Tensor x, Tensor weight, boolean inOut, Tensor bias);

  /** Returns x · Wᵀ + bias from packed codes; operands as in {@link MatMul#packed}. */
  Tensor packed(
      Tensor x,
      int bits,
      Tensor codes,
      Tensor scales,
      Tensor zeros,
      long group,
      Tensor groupIndex,
      Tensor bias);

  /**
   * Returns x̂ · Wᵀ + bias from packed codes, x̂ being x with every row rounded to int8 as in
   * {@link QuantizedActivations}; operands as there.
   */
  Tensor packedRounded(
      Tensor x, int bits, Tensor codes, Tensor scales, Tensor zeros, long group, Tensor bias);

  /** Returns x · Wᵀ + bias from kept weights; bias may be null. */
  Tensor sparse(Tensor x, Sparse.Matrix weight, Tensor bias);

  /** Returns x / √(mean(x²) + eps) · weight over every row of width |weight|. */
  Tensor rmsNorm(Tensor x, Tensor weight, float eps);

  /** Returns (x − mean) / √(var + eps) · weight + bias over every row; bias may be null. */
  Tensor layerNorm(Tensor x, Tensor weight, Tensor bias, float eps);

  /** Returns x with every head rotated to its position; tables [positions, rotary / 2]. */
  Tensor rotate(Tensor x, long heads, long start, Tensor cosines, Tensor sines);

  /**
   * Returns causal attention of q over keys and values; operands as in {@link Attention#causal}.
   */
  Tensor attention(
      Tensor q,
      Tensor keys,
      Tensor values,
      long heads,
      long keyHeads,
      long start,
      long window,
      float scale);

  /** Returns silu(gate) · up. */
  Tensor siluMultiply(Tensor gate, Tensor up);

  /** Returns f(x). */
  Tensor activation(Elementwise.Function function, Tensor x);

  /** Returns a + b. */
  Tensor add(Tensor a, Tensor b);

  /** Returns a · b, element by element. */
  Tensor multiply(Tensor a, Tensor b);

  /** Returns columns [from, to) of a matrix as a new matrix. */
  Tensor columns(Tensor x, long from, long to);
}
