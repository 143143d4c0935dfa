// SPDX-License-Identifier: Apache-2.0
package espalier.compress;

import espalier.layer.Linear;
import espalier.model.Block;
import espalier.model.Model;
import espalier.model.Step;
import java.util.LinkedHashMap;
import java.util.Map;

/**
 * How long a run will take, from counts of its arithmetic and a {@link MachineProfile}. Disks are
 * not measured: files are taken to come from and go to the system's cache.
 *
 * @param seconds by part of the run
 */
public record TimeEstimate(Map<String, Double> seconds) {
  /** Counts the work of a plan. */
  public static TimeEstimate of(Model model, Plan plan, Workload work, MachineProfile machine) {
    Work sum = new Work(machine);
    for (String name : model.checkpoint().names()) {
      sum.scan += model.checkpoint().spec(name).orElseThrow().sizeBytes() / machine.scanBytes();
    }
    for (Block block : model.blocks()) {
      for (Step step : block.steps()) {
        boolean wants = false;
        long in = 0;
        for (String name : step.linears()) {
          Linear linear = block.linears().get(name);
          PlannedLinear planned = plan.of(name);
          in = linear.inFeatures();
          sum.forward += work.tokens() * flops(linear) / machine.denseFlops();
          wants |= sum.solve(planned);
        }
        if (wants) {
          sum.hessian(work.tokens(), in, plan.followsDense());
        }
      }
    }
    // Scores and mixing, 2 FLOP each per pair of positions that see each other: half of all pairs.
    sum.forward +=
        2.0
            * work.tokens()
            * work.longest()
            * model.config().queryWidth()
            * model.config().layers()
            / machine.denseFlops();
    sum.forward *= plan.followsDense() ? 2 : 1;
    if (!model.tied() && sum.solve(plan.of(Plan.HEAD))) {
      sum.hessian(work.tokens(), model.head().inFeatures(), plan.followsDense());
    }
    Map<String, Double> seconds = new LinkedHashMap<>();
    seconds.put("reading", sum.scan);
    seconds.put("forward", sum.forward);
    seconds.put("hessians", sum.hessians);
    seconds.put("solving", sum.solving);
    return new TimeEstimate(seconds);
  }

  /** Returns the seconds of all parts. */
  public double total() {
    return seconds.values().stream().mapToDouble(Double::doubleValue).sum();
  }

  private static double flops(Linear linear) {
    return 2.0 * linear.inFeatures() * linear.outFeatures();
  }

  /** Running sums in seconds. */
  private static final class Work {
    private final MachineProfile machine;
    private double scan;
    private double forward;
    private double hessians;
    private double solving;

    Work(MachineProfile machine) {
      this.machine = machine;
    }

    /** Adds a linear; returns whether it needs the Hessian of its input. */
    boolean solve(PlannedLinear planned) {
      if (!planned.isCompressed()) {
        return false;
      }
      double weights = (double) planned.out() * planned.in();
      boolean wants = planned.method().needsHessian();
      solving +=
          wants
              ? weights
                  * (machine.solveWeightSeconds() + planned.in() * machine.solveColumnSeconds())
              : weights * machine.roundSeconds();
      return wants;
    }

    /**
     * @param follows whether the whole of a second square is summed, and divided by the first
     */
    void hessian(long tokens, long in, boolean follows) {
      double square = (double) in * in;
      hessians +=
          (follows ? 3 : 1) * tokens * square / machine.gramFlops()
              + (follows ? 7 : 1) * square * in / 3 / machine.choleskyFlops();
    }
  }
}
