// SPDX-License-Identifier: Apache-2.0
package espalier.compress;

import espalier.kernel.LinearAlgebra;
import espalier.kernel.Prune;
import espalier.kernel.Quantize;
import espalier.layer.Census;
import espalier.layer.Linear;
import espalier.layer.Quantized;
import espalier.layer.Scheme;
import espalier.report.Event;
import espalier.tensor.Context;
import espalier.tensor.DType;
import espalier.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;

/**
 * GPTQ (Frantar et al., arXiv 2210.17323): rounds a matrix column by column and lets the columns
 * that are still open make up for the error of each.
 *
 * <pre>
 * W  [out, in]  weights                    H = (2/n) Σ x xᵀ + λI  [in, in], λ = damping · mean(diag H)
 * q  = quantize(w_i)                       R upper triangular, RᵀR = H⁻¹
 * e  = (w_i − q) / R_ii                    w_j ← w_j − e · R_ij for j &gt; i
 * </pre>
 *
 * What differs from the paper. Nothing is inverted: with H = U·Uᵀ (U upper) the updated column is
 * w_j = w⁰_j + (Σ_{i&lt;j} D_i U_ij) / U_jj, D = W⁰ − Q, so that a column pulls its correction from
 * finished ones instead of pushing to open ones; kernels/reference/gptq.cpp has the proof. Scales
 * of a group are taken from its updated columns when the first is reached (from the untouched
 * matrix when per channel). With {@code actOrder} columns are processed by descending diag(H) while
 * groups keep their original columns and scales (static groups), so that no file needs an index.
 * Channels that were zero throughout calibration are rounded to nearest: they cannot be corrected,
 * nor correct anything, and another text may wake them.
 *
 * @param damping fraction of the mean diagonal added to H; see {@link HessianFactor} for the ladder
 * @param actOrder whether columns are processed by descending diag(H)
 * @param keepZeros whether weights that are 0 stay 0, as after pruning; the others make up for it
 */
public record Gptq(double damping, boolean actOrder, boolean keepZeros) implements LinearMethod {
  /** The paper's damping. */
  public static final double DEFAULT_DAMPING = 0.01;

  /** The share of zeros from which a matrix counts as pruned, as llm-compressor has it. */
  private static final double PRUNED = 0.05;

  /** Rounds every weight. */
  public Gptq(double damping, boolean actOrder) {
    this(damping, actOrder, false);
  }

  @Override
  public String name() {
    return "gptq";
  }

  @Override
  public String operation() {
    return keepZeros ? "prune_columns" : "gptq_columns";
  }

  @Override
  public boolean needsStatistics() {
    return true;
  }

  @Override
  public boolean worksFromFactor() {
    return true;
  }

  @Override
  public Gptq keepingZeros() {
    return new Gptq(damping, actOrder, true);
  }

  @Override
  public boolean keepsZeros(Scheme scheme) {
    return keepZeros;
  }

  @Override
  public boolean prunes() {
    return keepZeros;
  }

  /** A matrix that is pruned stays so. */
  @Override
  public LinearMethod onto(Linear linear, Context context) {
    return !keepZeros && Census.of(context, linear).density() <= 1 - PRUNED ? keepingZeros() : this;
  }

  @Override
  public void prepare(Statistics statistics) {
    statistics.factor(damping, actOrder);
  }

  @Override
  public LinearResult apply(LinearInput input, Context context) {
    Statistics statistics = input.statistics();
    HessianFactor factor = statistics.factor(damping, actOrder);
    List<Event> events = new ArrayList<>(factor.events(input.name()));
    long dead = statistics.deadChannels();
    if (dead > 0) {
      events.add(
          Event.warning(
              "dead-columns",
              input.name(),
              dead
                  + " of "
                  + statistics.width()
                  + " input channels were always zero in the calibration text (dead); they are"
                  + " rounded to nearest"));
    }
    long duplicates = statistics.duplicateChannels();
    if (duplicates > 0) {
      events.add(
          Event.info(
              "duplicate-columns",
              input.name(),
              duplicates
                  + " of "
                  + statistics.width()
                  + " input channels always equal another (duplicate); only the damping tells them"
                  + " apart"));
    }
    if (keepZeros) {
      events.add(
          Event.info("zeros-kept", input.name(), "weights that were 0 before rounding stay 0"));
    }
    Quantized result =
        keepZeros ? solveOthers(input, factor, context) : solve(input, factor, context);
    if (statistics.isAside()) {
      return new LinearResult(result, Double.NaN, Double.NaN, List.copyOf(events));
    }
    double energy = LayerError.energy(context, input.weight(), statistics);
    double error = error(input, result, energy, context);
    double nearestError =
        error(input, Rtn.nearest(input, Quantize.Ties.TO_EVEN, context), energy, context);
    return new LinearResult(result, error, nearestError, List.copyOf(events));
  }

  private static double error(LinearInput input, Quantized result, double energy, Context context) {
    return LayerError.relative(
        context, input.weight(), Rtn.values(result, context), input.statistics(), energy);
  }

  private static Quantized solve(LinearInput input, HessianFactor factor, Context context) {
    Tensor weight = input.weight();
    int bits = input.scheme().bits();
    boolean symmetric = input.scheme().symmetric();
    long rows = weight.dimension(0);
    long columns = weight.dimension(1);
    long group = input.scheme().group(columns);
    Tensor scales = context.allocate(DType.F32, rows, columns / group);
    Tensor zeros = context.allocate(DType.I8, rows, columns / group);
    Tensor codes = context.allocate(DType.I8, rows, columns);
    Tensor work = factor.ordered(context, weight);
    Tensor fixedGroup = null;
    // A searched range is a property of the original weights, like the static groups of act-order.
    if (factor.order() != null || input.range().grid() > 0) {
      Quantize.range(
          context,
          weight,
          bits,
          symmetric,
          group,
          input.scaleType(),
          input.range(),
          Quantize.Ties.AS_THEY_FALL,
          scales,
          zeros);
      fixedGroup = context.ints(factor.groups(columns, group), columns);
    }
    LinearAlgebra.gptq(
        context,
        work,
        factor.upper(),
        bits,
        symmetric,
        group,
        fixedGroup,
        input.scaleType(),
        scales,
        zeros,
        codes);
    return Rtn.packed(input, context, scales, zeros, factor.inPlace(context, codes));
  }

  /** The same where weights that are 0 stay 0: the solver of SparseGPT that drops nothing else. */
  private static Quantized solveOthers(LinearInput input, HessianFactor factor, Context context) {
    long columns = input.weight().dimension(1);
    long group = input.scheme().group(columns);
    // Groups wider than a block keep the scales of the columns before any update.
    boolean ownScales =
        input.range().grid() == 0 && (group == columns || group <= Prune.MOST_COLUMNS);
    Tensor importance = SparseGpt.importance(factor, input.statistics(), context);
    return (Quantized)
        SparseGpt.solve(input, factor, importance, Prune.Rule.KEEP_ZEROS, ownScales, context);
  }
}
