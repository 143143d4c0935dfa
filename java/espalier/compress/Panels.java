// SPDX-License-Identifier: Apache-2.0
package espalier.compress;

import espalier.kernel.Quantize;
import espalier.kernel.ScaleType;
import espalier.layer.Dense;
import espalier.layer.Linear;
import espalier.layer.Quantized;
import espalier.report.Event;
import espalier.tensor.Context;
import espalier.tensor.Tensor;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;

/**
 * Solves one linear, whole or a panel of rows at a time. Rows never see each other in a solver, so
 * that panels change nothing but the memory in use; only the sums of the error figures are added up
 * in another order.
 *
 * @param planned what to do
 * @param linear the stored form
 * @param scaleType what scales are rounded to
 * @param statistics of the input, or null
 */
record Panels(
    PlannedLinear planned,
    Linear linear,
    ScaleType scaleType,
    Statistics statistics,
    Context context) {
  /** Returns the result for panels of {@code rows} rows; 0 solves the whole at once. */
  LinearResult solve(long rows) {
    if (rows == 0 || rows >= planned.out() || !planned.method().rowsApart()) {
      return apply(target(linear.weight(context)), linear.bias());
    }
    Tensor whole = turned() ? linear.weight(context) : null;
    Gathered gathered = new Gathered();
    for (long from = 0; from < planned.out(); from += rows) {
      long to = Math.min(planned.out(), from + rows);
      try (Context.Scope scope = context.scope()) {
        Tensor weight = target(turned() ? whole.rows(from, to) : panel(from, to).weight(context));
        LinearResult result = apply(weight, null);
        gathered.add(from, result, LayerError.energy(context, weight, statistics), scope);
      }
    }
    return gathered.result();
  }

  /**
   * Measures the errors of what {@link #solve} made while the statistics were laid aside, by panels
   * of {@code rows} rows as well.
   */
  LinearResult measure(Quantized whole, List<Event> events, long rows) {
    double energy = 0;
    double error = 0;
    double nearestError = 0;
    long step = rows == 0 ? planned.out() : rows;
    for (long from = 0; from < planned.out(); from += step) {
      long to = Math.min(planned.out(), from + step);
      try (Context.Scope scope = context.scope()) {
        Tensor weight =
            turned() ? linear.weight(context).rows(from, to) : panel(from, to).weight(context);
        double here = LayerError.energy(context, weight, statistics);
        double missed = error(weight, part(whole, from, to), here);
        energy += here;
        error += missed;
        nearestError +=
            planned.method().needsStatistics()
                ? error(
                    weight, Rtn.nearest(input(weight, null), Quantize.Ties.TO_EVEN, context), here)
                : missed;
      }
    }
    return new LinearResult(
        whole, energy == 0 ? 0 : error / energy, energy == 0 ? 0 : nearestError / energy, events);
  }

  private double error(Tensor weight, Quantized part, double energy) {
    Tensor values = Rtn.values(part, context);
    return LayerError.relative(context, weight, values, statistics, energy) * energy;
  }

  private static Quantized part(Quantized whole, long from, long to) {
    return new Quantized(
        whole.scheme(),
        whole.inFeatures(),
        whole.codes().rows(from, to),
        whole.scales().rows(from, to),
        whole.zeros() == null ? null : whole.zeros().rows(from, to),
        whole.groupIndex(),
        whole.scaleType(),
        null);
  }

  private Tensor target(Tensor weight) {
    return statistics == null ? weight : statistics.target(weight);
  }

  /** A matrix stored [in, out] has no rows to take before it is turned. */
  private boolean turned() {
    return !(linear instanceof Dense dense) || dense.inOut();
  }

  private Dense panel(long from, long to) {
    return new Dense(((Dense) linear).matrix().rows(from, to), null);
  }

  private LinearInput input(Tensor weight, Tensor bias) {
    return new LinearInput(
        planned.name(), weight, bias, planned.scheme(), planned.range(), scaleType, statistics);
  }

  private LinearResult apply(Tensor weight, Tensor bias) {
    return planned.method().apply(input(weight, bias), context);
  }

  /** The panels' results put together. */
  private final class Gathered {
    private final Set<Event> events = new LinkedHashSet<>();
    private Quantized form;
    private Tensor matrix;
    private Tensor codes;
    private Tensor scales;
    private Tensor zeros;
    private double energy;
    private double error;
    private double nearestError;

    void add(long row, LinearResult result, double panelEnergy, Context.Scope scope) {
      energy += panelEnergy;
      error += result.relativeError() * panelEnergy;
      nearestError += result.nearestError() * panelEnergy;
      events.addAll(result.events());
      if (result.linear() instanceof Dense part) {
        matrix = matrix == null ? likeRows(part.matrix(), scope) : matrix;
        put(part.matrix(), matrix, row);
        return;
      }
      Quantized part = result.quantized();
      if (form == null) {
        codes = likeRows(part.codes(), scope);
        scales = likeRows(part.scales(), scope);
        zeros = part.zeros() == null ? null : likeRows(part.zeros(), scope);
      }
      form = part;
      put(part.codes(), codes, row);
      put(part.scales(), scales, row);
      if (zeros != null) {
        put(part.zeros(), zeros, row);
      }
    }

    /** Allocates a tensor with the columns of a part and the rows of the whole. */
    private Tensor likeRows(Tensor part, Context.Scope scope) {
      return scope.keep(context.allocate(part.dtype(), planned.out(), part.dimension(1)));
    }

    private static void put(Tensor part, Tensor whole, long row) {
      whole.rows(row, row + part.dimension(0)).buffer().put(part.buffer());
    }

    LinearResult result() {
      Linear whole = matrix == null ? quantized() : new Dense(matrix, linear.bias());
      return new LinearResult(
          whole,
          energy == 0 ? 0 : error / energy,
          energy == 0 ? 0 : nearestError / energy,
          List.copyOf(events));
    }

    private Quantized quantized() {
      return new Quantized(
          form.scheme(),
          form.inFeatures(),
          codes,
          scales,
          zeros,
          form.groupIndex(),
          form.scaleType(),
          linear.bias());
    }
  }
}
