// SPDX-License-Identifier: Apache-2.0
package espalier.compress;

import espalier.layer.Dense;
import espalier.layer.Linear;
import espalier.model.Block;
import espalier.model.Model;
import espalier.model.Step;
import espalier.report.EspalierException;
import espalier.report.Event;
import espalier.tensor.DType;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.OptionalLong;

/**
 * The most memory a run will take, moment by moment, and what it does to stay within a budget:
 *
 * <pre>
 * released   finished blocks leave memory; what proves the output walks along with the texts
 * spilled    hidden states lie in unnamed files beside the output and are resident text by text
 * panels     a linear is solved a panel of rows at a time
 * laid aside while the widest linears are solved, Σxxᵀ of their input waits in an unnamed file and
 *            leaves its memory to the factor; errors are measured when it is back
 * </pre>
 *
 * None of these changes a bit of the output. With a budget finished blocks always leave; the others
 * come in this order, and only as far as the budget demands. Hidden states are never narrowed:
 * where they lie costs disk, not memory. Files are mapped and their pages given back as soon as a
 * tensor was used, so that of all weights one block at most is resident.
 */
public final class MemoryPlan {
  /** Rows of a panel: multiples of 64, the tile of the column solver; 0 is the whole linear. */
  private static final long[] PANELS = {0, 4096, 1024, 256, 64};

  /**
   * Bytes per weight of a panel while it is solved: six matrices F32 (weights, their working copy,
   * results and differences of both roundings), codes and their copy and packed form of both.
   */
  private static final long SOLVE_BYTES = 6 * Float.BYTES + 6;

  /**
   * Bytes per weight while zeros are left out of a whole linear and both forms are timed: the
   * values in F32, and once more in their own type of at most four.
   */
  private static final long COMPACTION_BYTES = 2 * Float.BYTES;

  /** Beyond what is resident when the plan is made: code, heap, stacks and buffers to come. */
  private static final long GROWTH = 120L << 20;

  /** Buffers of the dense products, per thread. */
  private static final long THREAD_BYTES = 12L << 20;

  /** A named budget is rounded up to this, so that it also holds in a run a little larger. */
  private static final long NAMED_STEP = 50_000_000;

  private static final long PAGE = 4096;

  /** A width no linear has: nothing is laid aside. */
  private static final long NEVER = Long.MAX_VALUE;

  private final Model model;
  private final Plan plan;
  private final Workload work;
  private final long base;
  private final OptionalLong budget;
  private final boolean spilled;
  private final long panelRows;
  private final long asideFrom;
  private final Peak peak;

  /** A moment of the run and the bytes resident then. */
  private record Peak(long bytes, String moment) {}

  private MemoryPlan(
      Model model,
      Plan plan,
      Workload work,
      long base,
      OptionalLong budget,
      boolean spilled,
      long panelRows,
      long asideFrom) {
    this.model = model;
    this.plan = plan;
    this.work = work;
    this.base = base;
    this.budget = budget;
    this.spilled = spilled;
    this.panelRows = panelRows;
    this.asideFrom = asideFrom;
    this.peak = peak();
  }

  /**
   * Plans a run.
   *
   * @param threads of the computation
   * @param budget the most bytes that may be resident; empty for no bound
   * @throws EspalierException (USAGE) when no way keeps the budget, naming the smallest that works
   */
  public static MemoryPlan of(
      Model model, Plan plan, Workload work, int threads, OptionalLong budget) {
    long base = Resident.bytes() + GROWTH + threads * THREAD_BYTES;
    long scratch = scratch(threads, widest(model), plan.followsDense());
    return above(base + scratch, model, plan, work, budget);
  }

  /**
   * Scratch of a context, bytes: of one worker 512 rows of x in fp32 (Σxxᵀ), and as many of the
   * dense model where that is followed; of every other one 256 rows of differences and 128 columns
   * of the factor (the column solver).
   */
  private static long scratch(int threads, long widest, boolean follows) {
    return widest * Float.BYTES * ((follows ? 1024 : 512) + (threads - 1) * (256L + 128L));
  }

  /** Plans above so many bytes that are resident whatever the run does. */
  static MemoryPlan above(long base, Model model, Plan plan, Workload work, OptionalLong budget) {
    MemoryPlan last = new MemoryPlan(model, plan, work, base, budget, false, 0, NEVER);
    if (budget.isEmpty() || last.peakBytes() <= budget.getAsLong()) {
      return last;
    }
    long[] waysAside = canLayAside(plan) ? new long[] {NEVER, widest(model)} : new long[] {NEVER};
    for (long aside : waysAside) {
      for (long rows : PANELS) {
        last = new MemoryPlan(model, plan, work, base, budget, work.tokens() > 0, rows, aside);
        if (last.peakBytes() <= budget.getAsLong()) {
          return last;
        }
      }
    }
    long named = Math.floorDiv(last.peakBytes() + NAMED_STEP, NAMED_STEP) * NAMED_STEP;
    throw EspalierException.usage(
        "a memory budget of "
            + megabytes(budget.getAsLong())
            + " is too small: "
            + last.moment()
            + " needs "
            + megabytes(last.peakBytes()),
        "The smallest budget that works here is " + megabytes(named).replace(" ", "") + ".");
  }

  /** Makes every sacrifice there is, whatever the budget; the output must not show it. */
  static MemoryPlan frugal(Model model, Plan plan, Workload work, long panelRows) {
    OptionalLong any = OptionalLong.of(Long.MAX_VALUE);
    return new MemoryPlan(
        model, plan, work, 0, any, work.tokens() > 0, panelRows, canLayAside(plan) ? 0 : NEVER);
  }

  /** Returns the most bytes resident at any moment. */
  public long peakBytes() {
    return peak.bytes();
  }

  /** Returns what the run does at the moment of the peak. */
  public String moment() {
    return peak.moment();
  }

  /** Returns the budget, if there is one. */
  public OptionalLong budget() {
    return budget;
  }

  /** Returns whether finished blocks leave memory. */
  boolean released() {
    return budget.isPresent();
  }

  /** Returns whether hidden states lie in files. */
  public boolean spilled() {
    return spilled;
  }

  /** Returns the rows a linear is solved in at a time, 0 for all. */
  public long panelRows() {
    return panelRows;
  }

  /** Returns whether Σxxᵀ of an input of this width is laid aside while its linears are solved. */
  boolean laysAside(long width) {
    return width >= asideFrom;
  }

  /** Whether every linear can be solved from the factor, and measured once the sums are back. */
  private static boolean canLayAside(Plan plan) {
    for (PlannedLinear planned : plan.linears()) {
      if (planned.isCompressed() && !planned.method().worksFromFactor()) {
        return false;
      }
    }
    return plan.needsCalibration() && !plan.dense() && !plan.followsDense();
  }

  /** Returns the bytes of temporary files. */
  public long spilledBytes() {
    return (spilled ? allStates() : 0) + (asideFrom == NEVER ? 0 : gram(widest(model)));
  }

  /** Returns what was decided, for the report. */
  public List<Event> events() {
    List<Event> events = new ArrayList<>();
    if (spilled) {
      events.add(
          Event.info(
              "states-spilled",
              "calibration",
              "the hidden states ("
                  + megabytes(allStates())
                  + ") lie in temporary files, as the memory budget demands"));
    }
    if (panelRows > 0) {
      events.add(
          Event.info(
              "solved-in-panels",
              "compress",
              "linears are solved "
                  + panelRows
                  + " rows at a time, as the memory budget demands; the result is the same"));
    }
    if (asideFrom != NEVER) {
      long widest = widest(model);
      events.add(
          Event.info(
              "sums-laid-aside",
              "compress",
              "while linears of "
                  + widest
                  + " inputs are solved the sums behind their Hessian ("
                  + megabytes(gram(widest))
                  + ") lie in temporary files, as the memory budget demands; the result is the"
                  + " same"));
    }
    return events;
  }

  private Peak peak() {
    List<Peak> peaks = new ArrayList<>();
    peaks.add(new Peak(base + scanned(), "looking through the weights"));
    long states = spilled ? 0 : allStates();
    long finished = 0;
    for (Block block : model.blocks()) {
      long kept = 0;
      for (Step step : block.steps()) {
        long in = block.linears().get(step.linears().get(0)).inFeatures();
        boolean solved = wants(step);
        long here = base + states + finished + kept;
        if (solved) {
          peaks.add(
              new Peak(
                  here + gram(in) + cross(in) + textBytes(in), "the Hessian of " + first(step)));
        }
        for (String name : step.linears()) {
          PlannedLinear planned = plan.of(name);
          if (plan.respells(planned, plan.computesAs())) {
            kept += resultBytes(planned);
            peaks.add(
                new Peak(
                    base
                        + states
                        + finished
                        + kept
                        + (solved ? square(planned) : 0)
                        + solveBytes(planned, block.linears().get(name)),
                    "solving " + name));
          }
        }
        if (work.tokens() > 0) {
          peaks.add(
              new Peak(
                  base + states + finished + kept + stepBytes(block, step, in),
                  "the texts in " + first(step)));
        }
      }
      finished += released() ? 0 : kept;
    }
    headPeaks(peaks, states + finished);
    peaks.add(new Peak(base + finished + proofBytes(), "comparing the written files"));
    return peaks.stream().reduce((a, b) -> b.bytes() > a.bytes() ? b : a).orElseThrow();
  }

  private void headPeaks(List<Peak> peaks, long here) {
    if (model.tied()) {
      return;
    }
    PlannedLinear head = plan.of(Plan.HEAD);
    if (head.isCompressed()) {
      boolean solved = head.method().needsHessian();
      peaks.add(
          new Peak(
              base
                  + here
                  + resultBytes(head)
                  + (solved
                      ? gram(head.in()) + cross(head.in()) + factors(head) * gram(head.in())
                      : 0)
                  + solveBytes(head, model.head()),
              "solving " + Plan.HEAD));
    }
  }

  private static String first(Step step) {
    return step.linears().get(0);
  }

  private boolean wants(Step step) {
    return step.linears().stream()
        .map(plan::of)
        .anyMatch(p -> p.isCompressed() && p.method().needsHessian());
  }

  /**
   * Σxxᵀ in fp64, or its Cholesky factor: of the square, only pages on and above the diagonal ever
   * come to exist.
   */
  private static long gram(long in) {
    return in * in * Double.BYTES / 2 + in * Math.min(PAGE, in * Double.BYTES / 2);
  }

  /** The sums beside the dense model's in fp64, and the correction in fp32 that comes of them. */
  private long cross(long in) {
    return plan.followsDense() ? in * in * (Double.BYTES + Float.BYTES) : 0;
  }

  /** Both, or one and the band of the other that is on its way to or from its file. */
  private long square(PlannedLinear planned) {
    long in = planned.in();
    return gram(in)
        + cross(in)
        + (laysAside(in) ? Triangle.BAND * in * Double.BYTES : factors(planned) * gram(in));
  }

  /** Methods one after the other may each want their own damping and order. */
  private static int factors(PlannedLinear planned) {
    return planned.method() instanceof Sequence ? 2 : 1;
  }

  private long rows(PlannedLinear planned) {
    boolean whole = panelRows == 0 || (planned.isCompressed() && !planned.method().rowsApart());
    return whole ? planned.out() : Math.min(panelRows, planned.out());
  }

  /** The panel's working set, and the pages of the stored weight it is read from. */
  private long solveBytes(PlannedLinear planned, Linear linear) {
    long weights = rows(planned) * planned.in();
    boolean turned = linear instanceof Dense dense && dense.inOut();
    long wide = turned ? 2 * planned.out() * planned.in() * Float.BYTES : 0;
    long each = SOLVE_BYTES + (plan.followsDense() ? Float.BYTES : 0);
    long solve = weights * (each + (long) linear.bitsPerWeight() / Byte.SIZE) + wide;
    boolean compacted = plan.sparse(planned.name()).isPresent();
    return compacted ? Math.max(solve, planned.out() * planned.in() * COMPACTION_BYTES) : solve;
  }

  /** A compressed linear as it is kept: codes, and scales in F32 with zero points in I8. */
  private long resultBytes(PlannedLinear planned) {
    long weights = planned.out() * planned.in();
    if (plan.sparse(planned.name()).isPresent()) {
      return plan.sparse(planned.name()).get().bytes();
    }
    if (plan.dense() || planned.scheme() == null) {
      return weights * Float.BYTES;
    }
    long groups = weights / planned.scheme().group(planned.in());
    return weights * planned.scheme().bits() / Byte.SIZE + groups * (Float.BYTES + 1);
  }

  private long stateBytes() {
    return model.stateType() == DType.BF16 ? 2 : 4;
  }

  /** Residuals and the widest input of all texts. */
  private long allStates() {
    return (plan.followsDense() ? 2 : 1)
        * work.tokens()
        * stateBytes()
        * (model.config().hiddenSize() + widest(model));
  }

  private static long widest(Model model) {
    return model.blocks().stream()
        .flatMap(block -> block.linears().values().stream())
        .mapToLong(Linear::inFeatures)
        .max()
        .orElse(0);
  }

  /** The most tokens that go through a step at a time. */
  private long together() {
    return Math.min(work.tokens(), Math.max(work.longest(), Batches.mostTokens(model)));
  }

  /** One batch at a linear's input, in F32 and as it is kept, and the dense model's beside it. */
  private long textBytes(long in) {
    return (plan.followsDense() ? 2 : 1) * together() * in * (Float.BYTES + stateBytes());
  }

  /** One batch on its way through a step: every operand and result, and the weights it reads. */
  private long stepBytes(Block block, Step step, long in) {
    long hidden = model.config().hiddenSize();
    long out = 0;
    long weights = 0;
    for (String name : step.linears()) {
      Linear linear = block.linears().get(name);
      out += linear.outFeatures();
      PlannedLinear planned = plan.of(name);
      weights +=
          planned.isCompressed() && !plan.followsDense()
              ? 0 // counted as kept
              : (long) (linear.bitsPerWeight() * planned.out() * planned.in() / Byte.SIZE);
    }
    // Residual and input before and after, each linear's result, and as much again for what the
    // step makes of the results (rotated heads, products).
    return together() * ((3 * hidden + 2 * in + 2 * out) * Float.BYTES) + weights;
  }

  /** The largest window of a stored tensor that is looked through at a time. */
  private long scanned() {
    return Math.min(
        256L << 20,
        model.checkpoint().names().stream()
            .mapToLong(name -> model.checkpoint().spec(name).orElseThrow().sizeBytes())
            .max()
            .orElse(0));
  }

  /** The reopened model's scales, its embedding and head, one block, and the logits of both. */
  private long proofBytes() {
    long scales = 0;
    for (PlannedLinear planned : plan.linears()) {
      if (planned.isCompressed() && planned.scheme() != null && !plan.dense()) {
        scales +=
            planned.out() * planned.in() / planned.scheme().group(planned.in()) * (Float.BYTES + 1);
      }
    }
    long head =
        (long) (model.head().bitsPerWeight() / Byte.SIZE)
            * model.vocabulary()
            * model.config().hiddenSize();
    long block =
        model.blocks().get(0).linears().values().stream()
            .mapToLong(
                linear ->
                    (long) (linear.bitsPerWeight() * linear.inFeatures() * linear.outFeatures())
                        / Byte.SIZE)
            .sum();
    long logits = 2L * CompressionRun.PROOF_TOKENS * model.vocabulary() * Float.BYTES;
    return scales + Math.max(head, released() ? 0 : head + block) + logits;
  }

  static String megabytes(long bytes) {
    return bytes >= 1_000_000_000
        ? String.format(Locale.ROOT, "%.2f GB", bytes / 1e9)
        : String.format(Locale.ROOT, "%.1f MB", bytes / 1e6);
  }
}
