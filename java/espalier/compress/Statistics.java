// SPDX-License-Identifier: Apache-2.0
package espalier.compress;

import espalier.kernel.LinearAlgebra;
import espalier.tensor.Context;
import espalier.tensor.DType;
import espalier.tensor.Tensor;
import java.nio.DoubleBuffer;

/**
 * What calibration measured of the input of one step's linears: Σxxᵀ and the number of tokens.
 * Lives in the scope that was open when it was made.
 */
public final class Statistics {
  private final Context context;
  private final Tensor gram;
  private long tokens;
  private HessianFactor factor;

  /** Starts with no tokens; {@code width} is the number of input channels. */
  public Statistics(Context context, long width) {
    this(context, context.allocate(DType.F64, width, width), 0);
  }

  /** Takes over a gram matrix F64 [width, width] that was summed elsewhere. */
  public Statistics(Context context, Tensor gram, long tokens) {
    this.context = context;
    this.gram = gram;
    this.tokens = tokens;
  }

  /** Adds the rows of x F32 [tokens, width]. */
  public void add(Tensor x) {
    LinearAlgebra.gram(context, x, gram);
    tokens += x.dimension(0);
    factor = null;
  }

  /** Returns the number of rows added. */
  public long tokens() {
    return tokens;
  }

  /** Returns the number of input channels. */
  public long width() {
    return gram.dimension(0);
  }

  /** Returns Σxxᵀ, F64 [width, width]; not to be changed. */
  public Tensor gram() {
    return gram;
  }

  /** Returns how many channels were zero in every row. */
  public long deadChannels() {
    long dead = 0;
    for (long i = 0; i < width(); i++) {
      if (diagonal(i) == 0) {
        dead++;
      }
    }
    return dead;
  }

  /** Returns Σx² of channel i. */
  public double diagonal(long i) {
    DoubleBuffer row =
        gram.buffer(i * width() * Double.BYTES, width() * Double.BYTES).asDoubleBuffer();
    return row.get((int) i);
  }

  /**
   * Returns the damped, factored Hessian for a damping fraction and column order. The last one is
   * kept, so that linears of one step share it.
   */
  HessianFactor factor(double damping, boolean actOrder) {
    if (factor == null || factor.damping() != damping || factor.actOrder() != actOrder) {
      factor = HessianFactor.of(context, this, damping, actOrder);
    }
    return factor;
  }
}
