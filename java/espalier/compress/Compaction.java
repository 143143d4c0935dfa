// SPDX-License-Identifier: Apache-2.0
package espalier.compress;

import espalier.codec.SparseCodec;
import espalier.codec.SparseConfig;
import espalier.codec.SparseLayout;
import espalier.kernel.Sparse.Matrix;
import espalier.layer.Census;
import espalier.layer.Dense;
import espalier.layer.Linear;
import espalier.layer.Quantized;
import espalier.layer.Sparse;
import espalier.layer.SparseQuantized;
import espalier.report.Sparsity;
import espalier.tensor.Context;
import espalier.tensor.Storage;
import espalier.tensor.Tensor;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * Puts finished linears into the form without zeros where that is what is written, so that the run
 * goes on with what the file holds, and tells what that is worth.
 */
final class Compaction {
  private final Context context;
  private final Plan plan;
  private final List<Storage> owned;
  private final Map<SparseLayout, FormSpeed> speeds = new HashMap<>();

  /**
   * Takes the list of what the run owns: new tensors are added, replaced ones closed and removed.
   */
  Compaction(Context context, Plan plan, List<Storage> owned) {
    this.context = context;
    this.plan = plan;
    this.owned = owned;
  }

  /**
   * A linear as the run goes on with it.
   *
   * @param sparsity what is worth telling of its zeros; null where nothing prunes it and its zeros
   *     are in place
   */
  record Kept(Linear linear, Sparsity sparsity) {}

  /** Counts a finished linear where that tells something, and puts it into the written form. */
  Kept of(PlannedLinear planned, Linear linear) {
    Optional<SparseLayout> layout = plan.sparse(planned.name());
    boolean prunes = planned.isCompressed() && planned.method().prunes();
    if (layout.isEmpty() && !prunes) {
      return new Kept(linear, null);
    }
    Census census = Census.of(context, linear);
    if (layout.isEmpty()) {
      return new Kept(
          linear, new Sparsity(census.density(), census.pattern(), null, Double.NaN, Double.NaN));
    }
    Linear compact = compacted(layout.get(), linear);
    FormSpeed speed = speeds.computeIfAbsent(layout.get(), any -> FormSpeed.of(context, compact));
    return new Kept(
        compact,
        new Sparsity(
            census.density(),
            census.pattern(),
            SparseConfig.text(layout.get().pattern()),
            speed.microseconds(),
            speed.denseMicroseconds()));
  }

  private Linear compacted(SparseLayout layout, Linear linear) {
    try (Context.Scope scope = context.scope()) {
      Linear compact = SparseCodec.compacted(context, layout, linear);
      Matrix matrix =
          compact instanceof Sparse sparse ? sparse.matrix() : ((SparseQuantized) compact).matrix();
      for (Tensor made : Arrays.asList(matrix.places(), matrix.rowOffsets(), matrix.values())) {
        if (made != null) {
          owned.add(scope.release(made).storage());
        }
      }
      Storage replaced =
          linear instanceof Quantized quantized
              ? quantized.codes().storage()
              : ((Dense) linear).matrix().storage();
      if (owned.remove(replaced)) {
        replaced.close();
      }
      return compact;
    }
  }
}
