// SPDX-License-Identifier: Apache-2.0
package espalier.compress;

import espalier.kernel.Convert;
import espalier.kernel.LinearAlgebra;
import espalier.kernel.Prune;
import espalier.tensor.Context;
import espalier.tensor.DType;
import espalier.tensor.Tensor;
import java.nio.DoubleBuffer;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
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
  private final Tensor squares;
  private final Tensor cross; // Σ(r − x)xᵀ, r what the dense model reads here; null without it
  private Tensor correction; // cross · H⁻¹, null until settled
  private long tokens;
  private Channels channels; // null until asked for since the last rows
  private Triangle aside; // null while gram holds the sums
  private final List<HessianFactor> factors = new ArrayList<>();

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
    this(context, gram, null, null, tokens);
  }

  private Statistics(Context context, Tensor gram, Tensor squares, Tensor cross, long tokens) {
    this.context = context;
    this.gram = gram;
    this.squares = squares;
    this.cross = cross;
    this.tokens = tokens;
  }

  /** Starts with no tokens and measures the diagonal of Σxxᵀ alone, in F64. */
  public static Statistics ofDiagonal(Context context, long width) {
    return new Statistics(context, null, context.allocate(DType.F64, width), null, 0);
  }

  /** Starts with no tokens; rows come with those that the dense model has in their place. */
  public static Statistics following(Context context, long width) {
    return new Statistics(
        context, context.triangle(width), null, context.allocate(DType.F64, width, width), 0);
  }

  /**
   * Adds rows of a model that is partly compressed, beside those of the dense one.
   *
   * @param x F32 [tokens, width]
   * @param dense of the same shape: the same tokens at the same place of the dense model
   */
  public void add(Tensor x, Tensor dense) {
    add(x);
    LinearAlgebra.crossGram(context, x, dense, cross);
    correction = null;
  }

  /**
   * Makes {@link #target} ready, from the factor that the first linear asked for; its tensor lies
   * in the context's current scope, as the factors do.
   */
  void settleTarget() {
    if (cross == null || correction != null) {
      return;
    }
    HessianFactor factor = factors.isEmpty() ? factor(Gptq.DEFAULT_DAMPING, false) : factors.get(0);
    Tensor order =
        factor.order() == null ? null : context.ints(factor.order(), factor.order().length);
    correction =
        LinearAlgebra.divide(context, factor.upper(), order, HessianFactor.scale(tokens), cross);
  }

  /**
   * Returns what a linear with these weights F32 [out, width] is to be solved for. With rows of the
   * dense model that is the least-squares fit to what it computes from inputs R of its own,
   *
   * <pre>
   * min over T of |W R − T X|² + λ|T − W|²   at   T = W + W · Σ(r − x)xᵀ · (Σxxᵀ + λI)⁻¹
   * </pre>
   *
   * and any Q is as far from W R as Q X from T X, up to a constant: solvers need not know. So every
   * linear makes up for the error that reaches it (the idea of GPTAQ, arXiv 2504.02692, there
   * inside the column loop). Without such rows W itself; else in the context's current scope.
   */
  Tensor target(Tensor weight) {
    return cross == null ? weight : LinearAlgebra.addProduct(context, weight, correction);
  }

  /** Adds the rows of x F32 or BF16 [tokens, width]. */
  public void add(Tensor x) {
    requireHere();
    if (gram != null) {
      LinearAlgebra.gram(context, x, gram);
    } else {
      Prune.columnSquares(
          context, x.dtype() == DType.F32 ? x : Convert.toFloat(context, x), squares);
    }
    tokens += x.dimension(0);
    factors.clear();
    channels = null;
  }

  /**
   * Lays the sums aside in a file and leaves their memory to one factor, until {@link #takeBack}.
   * Meanwhile {@link #gram} is not there, and errors measured with it are NaN.
   */
  void layAside(Path folder) {
    requireHere();
    channels();
    factors.clear();
    aside = new Triangle(context, folder, gram());
  }

  /** Ends what {@link #layAside} began; the factor is gone then. */
  void takeBack() {
    factors.clear();
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
      LinearAlgebra.hessian(context, gram(), scale, order, diagonal, h);
    }
  }

  /** Returns the number of rows added. */
  public long tokens() {
    return tokens;
  }

  /** Returns the number of input channels. */
  public long width() {
    return (gram == null ? squares : gram).dimension(0);
  }

  /** Returns whether more than the diagonal of Σxxᵀ was measured. */
  public boolean hasGram() {
    return gram != null;
  }

  /**
   * Returns Σxxᵀ, F64 [width, width], on and above the diagonal; not to be changed.
   *
   * @throws IllegalStateException when only its diagonal was measured
   */
  public Tensor gram() {
    requireHere();
    if (gram == null) {
      throw new IllegalStateException("only the diagonal was measured");
    }
    return gram;
  }

  /** Returns how many channels were zero in every row. */
  public long deadChannels() {
    return channels().dead();
  }

  /**
   * Returns how many channels always had the value of another one, which they then share their
   * correction with. Channels are compared by their sums, to the rounding of those; 0 where only
   * the diagonal was measured.
   */
  public long duplicateChannels() {
    return channels().duplicates();
  }

  private Channels channels() {
    if (channels == null) {
      double[] squares = new double[Math.toIntExact(width())];
      DoubleBuffer diagonal = gram == null ? this.squares.buffer().asDoubleBuffer() : null;
      long dead = 0;
      for (int i = 0; i < squares.length; i++) {
        squares[i] = gram == null ? diagonal.get(i) : row(i).get(i);
        dead += squares[i] == 0 ? 1 : 0;
      }
      channels = new Channels(squares, dead, gram == null ? 0 : duplicates(squares));
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
   * Returns the damped, factored Hessian for a damping fraction and column order. Each is computed
   * once, so that linears of one step share it; while the sums are aside the last one is kept.
   */
  HessianFactor factor(double damping, boolean actOrder) {
    for (HessianFactor known : factors) {
      if (known.damping() == damping && known.actOrder() == actOrder) {
        return known;
      }
    }
    if (isAside()) {
      factors.clear(); // there is room for one
    }
    HessianFactor factor = HessianFactor.of(context, this, damping, actOrder);
    factors.add(factor);
    return factor;
  }
}
