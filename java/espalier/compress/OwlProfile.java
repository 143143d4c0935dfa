// SPDX-License-Identifier: Apache-2.0
package espalier.compress;

import espalier.model.Block;
import espalier.model.Model;
import espalier.model.Step;
import espalier.report.Report;
import espalier.tensor.Context;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * One pass of the texts through the dense model ahead of the block loop, for the methods whose
 * sparsity depends on all blocks. It measures the diagonals that {@link Owl} asks for.
 */
final class OwlProfile {
  private OwlProfile() {}

  /**
   * Returns the method of every linear whose sparsity was left open.
   *
   * @param samples texts before the first block; they are behind the last one afterwards
   */
  static Map<String, LinearMethod> of(
      Context context, Model model, Plan plan, Samples samples, Report report) {
    List<String> names = new ArrayList<>();
    Map<Owl, List<Double>> shares = new LinkedHashMap<>();
    for (Block block : model.blocks()) {
      names.add("block " + names.size());
      Map<Owl, Owl.Outliers> outliers = new LinkedHashMap<>();
      plan.owls().forEach(owl -> outliers.put(owl, owl.new Outliers()));
      samples.begin(block);
      for (Step step : block.steps()) {
        try (Context.Scope scope = context.scope()) {
          Statistics statistics = null;
          for (String name : step.linears()) {
            Owl owl = plan.of(name).owl();
            if (owl != null) {
              statistics = statistics == null ? samples.measure(false, null) : statistics;
              outliers.get(owl).add(block.linears().get(name), statistics, context);
            }
          }
        }
        samples.advance(step);
      }
      outliers.forEach(
          (owl, counted) ->
              shares.computeIfAbsent(owl, o -> new ArrayList<>()).add(counted.share(context)));
      Windows.forget(block);
    }
    return methods(model, plan, names, shares, report);
  }

  private static Map<String, LinearMethod> methods(
      Model model, Plan plan, List<String> names, Map<Owl, List<Double>> shares, Report report) {
    Map<String, LinearMethod> methods = new HashMap<>();
    shares.forEach(
        (owl, values) -> {
          double[] by = owl.departures(values.stream().mapToDouble(Double::doubleValue).toArray());
          Map<String, Double> told = new LinkedHashMap<>();
          for (int k = 0; k < by.length; k++) {
            told.put(names.get(k), by[k]);
            for (String name : model.blocks().get(k).linears().keySet()) {
              PlannedLinear planned = plan.of(name);
              if (owl.equals(planned.owl())) {
                methods.put(name, planned.method().moved(by[k]));
              }
            }
          }
          report.event(Owl.event(told));
        });
    return methods;
  }
}
