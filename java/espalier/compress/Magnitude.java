// SPDX-License-Identifier: Apache-2.0
package espalier.compress;

import espalier.layer.Dense;
import espalier.layer.Scheme;
import espalier.tensor.Context;
import java.util.List;
import java.util.Optional;

/**
 * Magnitude pruning: the smallest |w| become 0, the others stay. Needs no data. Unstructured, one
 * threshold serves the whole matrix (as in the reference code of SparseGPT: what does not lie above
 * the weight of number ⌊size · sparsity⌋ goes), or one serves each row; n:m is per row by nature.
 *
 * @param perRow whether every row loses the same share
 */
public record Magnitude(Pattern pattern, boolean perRow) implements PruningMethod {
  @Override
  public String name() {
    return "magnitude";
  }

  @Override
  public String operation() {
    return pattern.isUnstructured() ? "" : "select_nm";
  }

  @Override
  public boolean needsStatistics() {
    return false;
  }

  @Override
  public boolean rowsApart() {
    return perRow || !pattern.isUnstructured();
  }

  @Override
  public Magnitude with(Pattern other) {
    return new Magnitude(other, perRow);
  }

  @Override
  public Optional<Zeros> zeros(long out, long in, Scheme scheme) {
    if (!pattern.isUnstructured()) {
      return Optional.of(Zeros.of(pattern, out, in));
    }
    long dropped = perRow ? out * pattern.droppedOfRow(in) : pattern.dropped(out * in);
    return Optional.of(new Zeros(out * in - dropped, false));
  }

  @Override
  public boolean keepsZeros(Scheme scheme) {
    return true;
  }

  @Override
  public LinearResult apply(LinearInput input, Context context) {
    var kept = Pruning.mask(context, input.weight(), null, pattern, perRow);
    Dense result = new Dense(Pruning.masked(context, input.weight(), kept), input.bias());
    return Pruning.result(input, result, pattern, List.of(), context);
  }
}
