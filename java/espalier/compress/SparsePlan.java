// SPDX-License-Identifier: Apache-2.0
package espalier.compress;

import espalier.checkpoint.TensorSpec;
import espalier.codec.SparseLayout;
import espalier.kernel.Sparse.Pattern;
import espalier.layer.Census;
import espalier.model.Model;
import espalier.report.Event;
import espalier.tensor.Context;
import espalier.tensor.DType;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;

/**
 * Which linears a sparse output stores without their zeros, and how: for each the smallest of 2:4,
 * bitmask and what the other formats write. Decided before anything is computed, from what a
 * pruning method promises, or from the zeros that are in the source and stay.
 */
final class SparsePlan {
  private static final int SHOWN = 4;

  private final Model model;
  private final Spellings spellings;
  private final List<OutputFormat> formats;
  private final Map<String, SparseLayout> layouts = new LinkedHashMap<>();
  private final List<String> dense = new ArrayList<>();

  private SparsePlan(Model model, Spellings spellings, List<OutputFormat> formats) {
    this.model = model;
    this.spellings = spellings;
    this.formats = formats;
  }

  /**
   * Returns the layouts by canonical name; a linear that has none is stored as it would be without
   * the sparse format.
   *
   * @param events hears what was chosen
   */
  static Map<String, SparseLayout> of(
      Model model,
      Iterable<PlannedLinear> linears,
      Spellings spellings,
      List<OutputFormat> formats,
      List<Event> events) {
    SparsePlan plan = new SparsePlan(model, spellings, formats);
    try (Context context = Context.cpu(1)) {
      linears.forEach(planned -> plan.add(context, planned));
    }
    events.add(plan.summary());
    return plan.layouts;
  }

  private void add(Context context, PlannedLinear planned) {
    String stored = model.storedName(planned.name());
    TensorSpec weight = model.checkpoint().spec(stored + ".weight").orElseThrow();
    Optional<Zeros> zeros = zeros(context, planned);
    Optional<SparseLayout> layout = zeros.flatMap(z -> layout(planned, stored, weight, z));
    layout.ifPresentOrElse(
        l -> layouts.put(planned.name(), l),
        () -> {
          if (zeros.isPresent() && zeros.get().kept() < planned.out() * planned.in()) {
            dense.add(planned.name());
          }
        });
  }

  /** Empty where a method may put a weight in the place of any zero. */
  private Optional<Zeros> zeros(Context context, PlannedLinear planned) {
    if (planned.isCompressed()) {
      Optional<Zeros> promised = planned.zeros();
      if (promised.isPresent() || !planned.method().keepsZeros(planned.scheme())) {
        return promised;
      }
    }
    return Optional.of(Zeros.of(Census.of(context, model.linears().get(planned.name()))));
  }

  private Optional<SparseLayout> layout(
      PlannedLinear planned, String stored, TensorSpec weight, Zeros zeros) {
    DType type = DenseSpelling.type(weight.dtype());
    long out = planned.out();
    long in = planned.in();
    if (planned.scheme() == null) {
      return SparseLayout.smallest(type, out, in, zeros.kept(), zeros.twoOfFour());
    }
    DType scaleType = OutputFormat.scaleType(formats, type).stored();
    long denseBytes =
        spellings
            .of(planned.scheme())
            .declare(stored, planned.scheme(), out, in, scaleType)
            .stream()
            .mapToLong(TensorSpec::sizeBytes)
            .sum();
    return SparseLayout.smallest(
        planned.scheme(), scaleType, out, in, zeros.kept(), zeros.twoOfFour(), denseBytes);
  }

  private Event summary() {
    long pairs = layouts.values().stream().filter(l -> l.pattern() == Pattern.TWO_OF_FOUR).count();
    StringBuilder text = new StringBuilder();
    text.append(
        String.format(
            Locale.ROOT,
            "%d linears are stored as 2:4, %d as bitmask, the rest as in other formats",
            pairs,
            layouts.size() - pairs));
    if (!dense.isEmpty()) {
      text.append("; too few zeros to be smaller: ");
      text.append(String.join(", ", dense.subList(0, Math.min(SHOWN, dense.size()))));
      text.append(dense.size() > SHOWN ? " and " + (dense.size() - SHOWN) + " more" : "");
    }
    return Event.info("sparse-storage", "output", text.toString());
  }
}
