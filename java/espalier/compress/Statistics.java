// SPDX-License-Identifier: Apache-2.0
package espalier.compress;

import espalier.kernel.LinearAlgebra;
import espalier.tensor.Context;
import espalier.tensor.Tensor;
import java.nio.DoubleBuffer;
import java.nio.file.Path;
import java.util.Comparator;
import java.util.stream.IntStream;

/**
 * What calibration measured of the input of one step's linears: Σxxᵀ and the number of tokens.
 * Lives in the scope that was open when it was made.
 */
public final class Statistics {
  /**
   * Equal channels have equal sums to the bit: every pair is summed in the same order. This allows
   * for nothing but the last step, and tells channels apart that differ by 2^-18 of themselves.
   */
  private static final double ROUNDING = 0x1p-36;

  private final Context context;
  private final Tensor gram;
  private long tokens;
  private HessianFactor factor;
  private Channels channels; // null until asked for since the last rows
  private Triangle aside; // null while gram holds the sums

  /**
   * What is known of single channels.
   *
   * @param squares Σx² of each
   */
  private record Channels(double[] squares, long dead, long duplicates) {}

  /** Starts with no tokens; {@code width} is the number of input channels. */
  public Statistics(Context context, long width) {
    this(context, context.triangle(width), 0);
  }

  /** Takes over a gram matrix F64 [width, width] (upper triangle) that was summed elsewhere. */
  public Statistics(Context context, Tensor gram, long tokens) {
    this.context = context;
    this.gram = gram;
    this.tokens = tokens;
  }

  /** Adds the rows of x F32 or BF16 [tokens, width]. */
  public void add(Tensor x) {
    requireHere();
    LinearAlgebra.gram(context, x, gram);
    tokens += x.dimension(0);
    factor = null;
    channels = null;
  }

  /**
   * Lays the sums aside in a file and leaves their memory to the factor, until {@link #takeBack}.
   * Meanwhile {@link #gram} is not there, and errors measured with it are NaN.
   */
  void layAside(Path folder) {
    requireHere();
    channels();
    aside = new Triangle(context, folder, gram);
  }

  /** Ends what {@link #layAside} began; the factor is gone then. */
  void takeBack() {
    factor = null;
    aside.into(gram);
    aside = null;
  }

  /** Returns whether the sums are laid aside. */
  boolean isAside() {
    return aside != null;
  }

  private void requireHere() {
    if (isAside()) {
      throw new IllegalStateException("the sums are laid aside");
    }
  }

  /** Returns the memory of a factor, F64 [width, width]. */
  Tensor factorRoom() {
    return isAside() ? gram : context.triangle(width());
  }

  /** Writes scale · Σxxᵀ as {@link LinearAlgebra#hessian} does, from wherever the sums are. */
  void hessian(double scale, Tensor order, Tensor diagonal, Tensor h) {
    if (isAside()) {
      aside.hessian(context, scale, order, diagonal, h);
    } else {
      LinearAlgebra.hessian(context, gram, scale, order, diagonal, h);
    }
  }

  /** Returns the number of rows added. */
  public long tokens() {
    return tokens;
  }

  /** Returns the number of input channels. */
  public long width() {
    return gram.dimension(0);
  }

  /** Returns Σxxᵀ, F64 [width, width], on and above the diagonal; not to be changed. */
  public Tensor gram() {
    requireHere();
    return gram;
  }

  /** Returns how many channels were zero in every row. */
  public long deadChannels() {
    return channels().dead();
  }

  /**
   * Returns how many channels always had the value of another one, which they then share their
   * correction with. Channels are compared by their sums, to the rounding of those.
   */
  public long duplicateChannels() {
    return channels().duplicates();
  }

  private Channels channels() {
    if (channels == null) {
      double[] squares = new double[Math.toIntExact(width())];
      long dead = 0;
      for (int i = 0; i < squares.length; i++) {
        squares[i] = row(i).get(i);
        dead += squares[i] == 0 ? 1 : 0;
      }
      channels = new Channels(squares, dead, duplicates(squares));
    }
    return channels;
  }

  private long duplicates(double[] squares) {
    int[] order =
        IntStream.range(0, squares.length)
            .boxed()
            .sorted(Comparator.comparingDouble(i -> squares[i]))
            .mapToInt(Integer::intValue)
            .toArray();
    long duplicates = 0;
    for (int k = 1; k < squares.length; k++) {
      int i = order[k - 1];
      int j = order[k];
      // Σ(x_i − x_j)², which is zero only for equal channels.
      double apart = squares[i] + squares[j] - 2 * row(Math.min(i, j)).get(Math.max(i, j));
      if (squares[j] > 0 && Math.abs(apart) <= ROUNDING * squares[j]) {
        duplicates++;
      }
    }
    return duplicates;
  }

  private DoubleBuffer row(long i) {
    return gram.buffer(i * width() * Double.BYTES, width() * Double.BYTES).asDoubleBuffer();
  }

  /** Returns Σx² of channel i. */
  public double diagonal(long i) {
    return channels().squares()[(int) i];
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
