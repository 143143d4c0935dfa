// SPDX-License-Identifier: Apache-2.0
package espalier.compress;

import espalier.kernel.Prune;
import espalier.kernel.Quantize;
import espalier.layer.Dense;
import espalier.layer.Linear;
import espalier.layer.Scheme;
import espalier.report.Event;
import espalier.tensor.Context;
import espalier.tensor.DType;
import espalier.tensor.Tensor;
import java.nio.DoubleBuffer;
import java.nio.FloatBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/**
 * SparseGPT (Frantar and Alistarh, arXiv 2301.00774): drops weights column by column and lets the
 * columns that are still open make up for each.
 *
 * <pre>
 * score_j = w_j² / [H⁻¹]_jj = (w_j U_jj)²      U upper, U·Uᵀ = H + λI, λ = damping · mean(diag H)
 * </pre>
 *
 * <p>Unstructured: in every {@code blockSize} columns of all rows together what does not lie above
 * the score of number ⌊size · sparsity⌋ goes, on the weights as they are when the block is reached.
 * n:m: of every m columns of a row the n smallest, on the weights as they are then. The solver is
 * GPTQ's, see kernels/reference/prune.cpp.
 *
 * <p>With a scheme the weights that stay are rounded in the same pass: the loss of both is made up
 * for at once. Scales of a group are taken from its updated columns when the first is reached, and
 * from the untouched matrix when per channel, when the range is searched, or when groups and
 * pattern do not fit into 128 columns together. Columns are processed from left to right.
 *
 * <p>What differs from the reference code. Channels that were zero throughout calibration score 0,
 * so that they are the first to go; the reference empties them all, whatever the sparsity.
 *
 * @param damping fraction of the mean diagonal added to H; see {@link HessianFactor}
 * @param blockSize columns that compete for a share, at most {@link Prune#MOST_COLUMNS}
 * @param preserve whether weights that are 0 stay 0, and count among those that go
 */
public record SparseGpt(Pattern pattern, double damping, int blockSize, boolean preserve)
    implements PruningMethod {
  /** Drops by a pattern with the paper's damping and blocks. */
  public SparseGpt(Pattern pattern) {
    this(pattern, Gptq.DEFAULT_DAMPING, Prune.MOST_COLUMNS, false);
  }

  @Override
  public String name() {
    return "sparsegpt";
  }

  @Override
  public String operation() {
    return "prune_columns";
  }

  @Override
  public boolean needsStatistics() {
    return true;
  }

  @Override
  public boolean rowsApart() {
    return !pattern.isUnstructured() || pattern.sparsity() == 0;
  }

  @Override
  public SparseGpt with(Pattern other) {
    return new SparseGpt(other, damping, blockSize, preserve);
  }

  @Override
  public Optional<Zeros> zeros(long out, long in, Scheme scheme) {
    if (!pattern.isUnstructured()) {
      return Optional.of(Zeros.of(pattern, out, in));
    }
    long dropped = in / blockSize * pattern.dropped(out * blockSize);
    dropped += in % blockSize == 0 ? 0 : pattern.dropped(out * (in % blockSize));
    return Optional.of(new Zeros(out * in - dropped, false));
  }

  @Override
  public boolean keepsZeros(Scheme scheme) {
    return preserve;
  }

  @Override
  public void prepare(Statistics statistics) {
    statistics.factor(damping, false);
  }

  @Override
  public LinearResult apply(LinearInput input, Context context) {
    HessianFactor factor = input.statistics().factor(damping, false);
    List<Event> events = new ArrayList<>(factor.events(input.name()));
    long dead = input.statistics().deadChannels();
    if (dead > 0) {
      events.add(
          Event.warning(
              "dead-columns",
              input.name(),
              dead
                  + " of "
                  + input.statistics().width()
                  + " input channels were always zero in the calibration text (dead); their weights"
                  + " are the first to be pruned"));
    }
    Prune.Rule rule =
        pattern.isUnstructured()
            ? new Prune.Rule(0, 0, pattern.sparsity(), blockSize, preserve)
            : new Prune.Rule(pattern.n(), pattern.m(), 0, blockSize, preserve);
    Linear result;
    if (input.scheme() == null) {
      Tensor weight = Pruning.copy(context, input.weight());
      Tensor importance = importance(factor, input.statistics(), context);
      Prune.solve(context, weight, factor.upper(), importance, rule, null);
      result = new Dense(weight, input.bias());
    } else {
      result = joint(input, factor, rule, events, context);
    }
    return Pruning.result(input, result, pattern, events, context);
  }

  private Linear joint(
      LinearInput input,
      HessianFactor factor,
      Prune.Rule rule,
      List<Event> events,
      Context context) {
    long columns = input.weight().dimension(1);
    long group = input.scheme().group(columns);
    boolean fits = group == columns || fitsBlock(group);
    if (!fits) {
      events.add(
          Event.info(
              "static-groups",
              input.name(),
              "groups of "
                  + group
                  + " columns and the pattern do not fit into a block together: their scales are"
                  + " those of the weights before pruning"));
    }
    Tensor importance = importance(factor, input.statistics(), context);
    return solve(input, factor, importance, rule, fits && input.range().grid() == 0, context);
  }

  private boolean fitsBlock(long group) {
    if (pattern.isUnstructured()) {
      return blockSize % group == 0;
    }
    long common = group;
    while (common <= Prune.MOST_COLUMNS && common % pattern.m() != 0) {
      common += group;
    }
    return common <= Prune.MOST_COLUMNS;
  }

  /**
   * Returns the quantized linear of a solve in processing order.
   *
   * @param ownScales whether the solver finds the scales; else they are those of the input's weight
   */
  static Linear solve(
      LinearInput input,
      HessianFactor factor,
      Tensor importance,
      Prune.Rule rule,
      boolean ownScales,
      Context context) {
    Tensor weight = input.weight();
    long rows = weight.dimension(0);
    long columns = weight.dimension(1);
    long group = input.scheme().group(columns);
    Tensor scales = context.allocate(DType.F32, rows, columns / group);
    Tensor zeros = context.allocate(DType.I8, rows, columns / group);
    Tensor codes = context.allocate(DType.I8, rows, columns);
    Tensor fixedGroup = null;
    if (!ownScales || factor.order() != null) {
      Quantize.range(
          context,
          weight,
          input.scheme().bits(),
          input.scheme().symmetric(),
          group,
          input.scaleType(),
          input.range(),
          Quantize.Ties.AS_THEY_FALL,
          scales,
          zeros);
      fixedGroup = context.ints(factor.groups(columns, group), columns);
    }
    Tensor work = factor.ordered(context, weight);
    Prune.Codes rounding =
        new Prune.Codes(
            input.scheme().bits(),
            input.scheme().symmetric(),
            group,
            fixedGroup,
            input.scaleType(),
            scales,
            zeros,
            codes);
    Prune.solve(context, work, factor.upper(), importance, rule, rounding);
    return Rtn.packed(input, context, scales, zeros, factor.inPlace(context, codes));
  }

  /** Returns what columns are compared by, F32 [in] in processing order: U_jj, 0 where dead. */
  static Tensor importance(HessianFactor factor, Statistics statistics, Context context) {
    int width = Math.toIntExact(statistics.width());
    Tensor importance = context.allocate(DType.F32, width);
    FloatBuffer values = importance.buffer().asFloatBuffer();
    for (int i = 0; i < width; i++) {
      int channel = factor.order() == null ? i : factor.order()[i];
      DoubleBuffer row =
          factor
              .upper()
              .buffer((long) i * width * Double.BYTES, (long) width * Double.BYTES)
              .asDoubleBuffer();
      values.put(i, statistics.diagonal(channel) == 0 ? 0 : (float) row.get(i));
    }
    return importance;
  }
}
