// SPDX-License-Identifier: Apache-2.0
package espalier.compress;

import espalier.kernel.Prune;
import espalier.kernel.Quantize;
import espalier.layer.Dense;
import espalier.layer.Linear;
import espalier.layer.Quantized;
import espalier.report.Event;
import espalier.tensor.Context;
import espalier.tensor.Tensor;
import java.util.List;

/** What the pruning methods share: masks by score, and the figures of a result. */
final class Pruning {
  private Pruning() {}

  /**
   * Returns the mask U8 [out, in] of the smallest |w| · factor, in the current scope.
   *
   * @param factor F32 [in], or null for 1
   * @param perRow whether a row's weights are compared among themselves, which a pattern implies;
   *     else one threshold parts the whole matrix, and equals are not parted
   */
  static Tensor mask(
      Context context, Tensor weight, Tensor factor, Pattern pattern, boolean perRow) {
    if (!pattern.isUnstructured()) {
      return Prune.pattern(context, weight, factor, pattern.n(), pattern.m());
    }
    long count =
        perRow
            ? pattern.droppedOfRow(weight.dimension(1))
            : pattern.dropped(weight.dimension(0) * weight.dimension(1));
    return Prune.smallest(context, weight, factor, perRow, count, !perRow);
  }

  /** Returns a copy of a matrix F32 [out, in], in the current scope. */
  static Tensor copy(Context context, Tensor weight) {
    Tensor copy = context.allocate(weight.dtype(), weight.shape().toArray());
    copy.buffer().put(weight.buffer());
    return copy;
  }

  /** Returns a copy with zeros where the mask has them. */
  static Tensor masked(Context context, Tensor weight, Tensor kept) {
    Tensor copy = copy(context, weight);
    Prune.apply(context, kept, copy);
    return copy;
  }

  /**
   * Returns the result with its relative error, and for comparison that of plain magnitude pruning
   * by the same pattern, rounded to nearest where the linear is quantized too.
   */
  static LinearResult result(
      LinearInput input, Linear linear, Pattern pattern, List<Event> events, Context context) {
    double energy = LayerError.energy(context, input.weight(), input.statistics());
    double error = error(input, values(linear, context), energy, context);
    double plain;
    try (Context.Scope scope = context.scope()) {
      Tensor kept = mask(context, input.weight(), null, pattern, false);
      Tensor pruned = masked(context, input.weight(), kept);
      if (input.scheme() != null) {
        LinearInput rounded = input.withWeight(pruned);
        pruned = Rtn.values(Rtn.nearest(rounded, Quantize.Ties.TO_EVEN, context), context);
      }
      plain = error(input, pruned, energy, context);
    }
    return new LinearResult(linear, error, plain, List.copyOf(events));
  }

  private static double error(LinearInput input, Tensor values, double energy, Context context) {
    return LayerError.relative(context, input.weight(), values, input.statistics(), energy);
  }

  /** Returns the values of a result of this package, F32 [out, in]. */
  static Tensor values(Linear linear, Context context) {
    return linear instanceof Quantized quantized
        ? Rtn.values(quantized, context)
        : ((Dense) linear).matrix();
  }
}
