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

  /** Returns the form that is written; the linear itself where that is its own. */
  Linear of(String name, Linear linear) {
    SparseLayout layout = plan.sparse(name).orElse(null);
    if (layout == null) {
      return linear;
    }
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

  /**
   * Returns what is worth telling of the zeros of a linear as it is kept; null where nothing prunes
   * it and its zeros are in place.
   */
  Sparsity sparsity(PlannedLinear planned, Linear kept) {
    Optional<SparseLayout> layout = plan.sparse(planned.name());
    boolean pruned =
        planned.isCompressed() && planned.method().zeros(planned.out(), planned.in()).isPresent();
    if (layout.isEmpty() && !pruned) {
      return null;
    }
    Census census = Census.of(context, kept);
    FormSpeed speed =
        layout
            .map(l -> speeds.computeIfAbsent(l, any -> FormSpeed.of(context, kept)))
            .orElse(new FormSpeed(Double.NaN, Double.NaN));
    return new Sparsity(
        census.density(),
        census.pattern(),
        layout.map(l -> SparseConfig.text(l.pattern())).orElse(null),
        speed.microseconds(),
        speed.denseMicroseconds());
  }
}
