// SPDX-License-Identifier: Apache-2.0
package espalier.compress;

import espalier.layer.Dense;
import espalier.layer.Scheme;
import espalier.report.Event;
import espalier.tensor.Context;
import espalier.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.stream.Collectors;

/**
 * Methods one after the other on one linear, as the modifiers of a recipe stand: pruners, each on
 * the result of the one before, then perhaps a quantizer, which keeps their zeros. All see the same
 * statistics. Errors are those of the last result against the first weight.
 *
 * @param pruners at least one; none of them rounds
 * @param quantizer null when nothing is rounded
 */
public record Sequence(List<LinearMethod> pruners, LinearMethod quantizer) implements LinearMethod {
  /** Copies the list; lets the quantizer keep zeros. */
  public Sequence {
    pruners = List.copyOf(pruners);
    quantizer = quantizer == null ? null : quantizer.keepingZeros();
  }

  /** Returns the one method, or a sequence where there are several. */
  static LinearMethod of(List<LinearMethod> pruners, LinearMethod quantizer) {
    if (pruners.isEmpty()) {
      return quantizer;
    }
    return quantizer == null && pruners.size() == 1
        ? pruners.get(0)
        : new Sequence(pruners, quantizer);
  }

  private List<LinearMethod> all() {
    List<LinearMethod> all = new ArrayList<>(pruners);
    if (quantizer != null) {
      all.add(quantizer);
    }
    return all;
  }

  private LinearMethod last() {
    return all().get(all().size() - 1);
  }

  @Override
  public String name() {
    return all().stream().map(LinearMethod::name).collect(Collectors.joining("+"));
  }

  @Override
  public String detail() {
    return pruners.stream()
        .map(LinearMethod::detail)
        .filter(detail -> !detail.isEmpty())
        .collect(Collectors.joining(", "));
  }

  @Override
  public String operation() {
    return last().operation();
  }

  @Override
  public boolean needsStatistics() {
    return all().stream().anyMatch(LinearMethod::needsStatistics);
  }

  @Override
  public boolean needsHessian() {
    return all().stream().anyMatch(LinearMethod::needsHessian);
  }

  /** Each method may want a factor of its own. */
  @Override
  public boolean worksFromFactor() {
    return false;
  }

  @Override
  public boolean rowsApart() {
    return all().stream().allMatch(LinearMethod::rowsApart);
  }

  @Override
  public Sequence moved(double departure) {
    return new Sequence(pruners.stream().map(m -> m.moved(departure)).toList(), quantizer);
  }

  @Override
  public boolean prunes() {
    return true;
  }

  @Override
  public Optional<Zeros> zeros(long out, long in, Scheme scheme) {
    // A later pruner adds to the zeros, or finds them among those it takes.
    return last() == quantizer && quantizer != null && !quantizer.keepsZeros(scheme)
        ? Optional.empty()
        : pruners.get(pruners.size() - 1).zeros(out, in, scheme);
  }

  @Override
  public boolean keepsZeros(Scheme scheme) {
    return all().stream().allMatch(method -> method.keepsZeros(scheme));
  }

  @Override
  public void prepare(Statistics statistics) {
    all().stream().filter(LinearMethod::needsHessian).forEach(m -> m.prepare(statistics));
  }

  @Override
  public LinearResult apply(LinearInput input, Context context) {
    List<Event> events = new ArrayList<>();
    LinearInput step = input;
    LinearResult result = null;
    double plain = Double.NaN;
    for (LinearMethod pruner : pruners) {
      result = pruner.apply(step.withScheme(null, null), context);
      events.addAll(result.events());
      plain = result.nearestError();
      step = step.withWeight(((Dense) result.linear()).matrix());
    }
    if (quantizer != null) {
      result = quantizer.apply(step, context);
      events.addAll(result.events());
    }
    Tensor values = Pruning.values(result.linear(), context);
    double error = LayerError.relative(context, input.weight(), values, input.statistics());
    return new LinearResult(result.linear(), error, plain, List.copyOf(events));
  }
}
