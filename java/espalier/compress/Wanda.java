// SPDX-License-Identifier: Apache-2.0
package espalier.compress;

import espalier.layer.Dense;
import espalier.layer.Scheme;
import espalier.tensor.Context;
import espalier.tensor.DType;
import espalier.tensor.Tensor;
import java.util.List;
import java.util.Optional;

/**
 * Wanda (Sun et al., arXiv 2306.11695): in every row the ⌊in · sparsity⌋ weights with the smallest
 * score become 0, or n of every m; the others stay.
 *
 * <pre>
 * score_ij = |W_ij| · √(mean x_j²)     the mean over all tokens of the calibration text
 * </pre>
 *
 * The mean is the diagonal of the Hessian up to a factor, which changes no comparison: nothing else
 * of it is needed, nor measured when no other method of the step wants it. Relative errors are then
 * those of the diagonal.
 */
public record Wanda(Pattern pattern) implements PruningMethod {
  @Override
  public String name() {
    return "wanda";
  }

  @Override
  public String operation() {
    return pattern.isUnstructured() ? "" : "select_nm";
  }

  @Override
  public boolean needsStatistics() {
    return true;
  }

  @Override
  public boolean needsHessian() {
    return false;
  }

  @Override
  public Wanda with(Pattern other) {
    return new Wanda(other);
  }

  @Override
  public Optional<Zeros> zeros(long out, long in, Scheme scheme) {
    return Optional.of(
        pattern.isUnstructured()
            ? new Zeros(out * (in - pattern.droppedOfRow(in)), false)
            : Zeros.of(pattern, out, in));
  }

  @Override
  public boolean keepsZeros(Scheme scheme) {
    return true;
  }

  @Override
  public LinearResult apply(LinearInput input, Context context) {
    Tensor norms = norms(input.statistics(), context);
    Tensor kept = Pruning.mask(context, input.weight(), norms, pattern, true);
    Dense result = new Dense(Pruning.masked(context, input.weight(), kept), input.bias());
    return Pruning.result(input, result, pattern, List.of(), context);
  }

  /** Returns √(mean x²) of every channel, F32 [in], in the current scope. */
  static Tensor norms(Statistics statistics, Context context) {
    int width = Math.toIntExact(statistics.width());
    Tensor norms = context.allocate(DType.F32, width);
    var values = norms.buffer().asFloatBuffer();
    double tokens = Math.max(1, statistics.tokens());
    for (int i = 0; i < width; i++) {
      values.put(i, (float) Math.sqrt(statistics.diagonal(i) / tokens));
    }
    return norms;
  }
}
