// SPDX-License-Identifier: Apache-2.0
package espalier.compress;

import espalier.kernel.Eager;
import espalier.kernel.ScaleType;
import espalier.kernel.Variants;
import espalier.layer.Dense;
import espalier.layer.Linear;
import espalier.layer.Quantized;
import espalier.model.Block;
import espalier.model.Model;
import espalier.model.Step;
import espalier.report.EspalierException;
import espalier.report.Event;
import espalier.report.LinearRow;
import espalier.report.Listener;
import espalier.report.Phase;
import espalier.report.Report;
import espalier.tensor.Context;
import espalier.tensor.DType;
import espalier.tensor.Storage;
import espalier.tensor.Tensor;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.function.Consumer;

/**
 * The block loop. Blocks in order; inside a block step by step over all texts: measure what the
 * step's linears read, compress them, let the texts pass through the compressed step. So every
 * linear is solved on inputs that come from what is already compressed, one Hessian is alive at a
 * time, and the whole costs one forward pass.
 */
public final class Compression implements AutoCloseable {
  private final Context context;
  private final Model model;
  private final Plan plan;
  private final Report report;
  private final Listener listener;
  private final Eager ops;
  private final List<Storage> owned = new ArrayList<>();
  private final Compaction compaction;
  private MemoryPlan memory;
  private Path spillFolder;
  private int[] witnessIds;
  private Tensor witnessLogits;
  private long done;

  /** The methods whose sparsity was only found in this run, by linear. */
  private final Map<String, LinearMethod> settled = new HashMap<>();

  private String lastResult = "";

  /** Owns the linears it makes; keep it open as long as the model computes with them. */
  public Compression(Context context, Model model, Plan plan, Report report, Listener listener) {
    this.context = context;
    this.model = model;
    this.plan = plan;
    this.report = report;
    this.listener = listener;
    // Inputs stay as they are while statistics are measured, as llm-compressor does it: the Hessian
    // is that of the unrounded inputs, whatever becomes of them when the model runs.
    this.ops = new Eager(context, false);
    this.compaction = new Compaction(context, plan, owned);
  }

  /**
   * Keeps the run within a memory plan. When that lets finished blocks go, the model has its stored
   * linears back after each, and {@link #witnessLogits} is what remains of the compressed ones.
   *
   * @param folder where hidden states are spilled to
   * @param ids token ids of the text whose logits are wanted at the end
   */
  void within(MemoryPlan plan, Path folder, int[] ids) {
    memory = plan;
    spillFolder = plan.spilled() ? folder : null;
    witnessIds = plan.released() ? ids : null;
  }

  /**
   * Returns the compressed model's logits of the witness, F32 [tokens, vocabulary], owned by this;
   * null when the run kept its blocks.
   */
  Tensor witnessLogits() {
    return witnessLogits;
  }

  /**
   * Compresses every planned linear of the model in place and hands each finished block to {@code
   * sink}.
   *
   * @param texts calibration token ids, at least one unless the plan needs none
   * @throws EspalierException (INTERRUPTED) when the listener cancels
   */
  public void run(List<int[]> texts, Sink sink) {
    run(texts, sink, Journal.none());
  }

  /** Does the same from the first stage that the journal does not know as finished. */
  void run(List<int[]> texts, Sink sink, Journal journal) {
    boolean calibrates = plan.needsCalibration();
    if (calibrates) {
      warnOfLittleData(texts);
    }
    int stages = model.blocks().size() + (headIsStage() ? 1 : 0);
    journal.begin();
    if (!plan.owls().isEmpty() && journal.finished() < stages) {
      try (Samples samples = samples(texts)) {
        settled.putAll(OwlProfile.of(context, model, plan, samples, report));
      }
    }
    try (Witness witness =
        witnessIds == null ? null : new Witness(context, ops, model, witnessIds)) {
      boolean measures = calibrates && journal.finished() < stages;
      try (Samples samples = measures ? samples(texts) : null;
          Samples dense = measures && plan.followsDense() ? samples(texts) : null) {
        restore(journal, witness, dense);
        if (samples != null && journal.finished() > 0) {
          journal.restore(samples);
        }
        for (int i = journal.finished(); i < model.blocks().size(); i++) {
          compress(model.blocks().get(i), samples, dense, witness, sink);
          journal.finish(i + 1 < stages ? samples : null);
        }
        if (!model.tied() && (!headIsStage() || journal.finished() < stages)) {
          compressHead(samples, dense, sink);
          if (headIsStage()) {
            journal.finish(null);
          }
        }
      }
      if (witness != null) {
        try (Context.Scope scope = context.scope()) {
          witnessLogits = outlive(scope, witness.logits(model));
        }
        Windows.forget(model.head());
      }
    }
  }

  private Samples samples(List<int[]> texts) {
    boolean frugal = memory != null && memory.budget().isPresent();
    long spareBytes = frugal ? Samples.SOME_SPARE_BYTES : Samples.MANY_SPARE_BYTES;
    return new Samples(context, ops, model, texts, listener, spillFolder, spareBytes);
  }

  private boolean headIsStage() {
    return !model.tied() && plan.of(Plan.HEAD).isCompressed();
  }

  /**
   * Puts the linears of finished stages into the model, as they were computed; where blocks do not
   * stay, only until the witness has passed.
   *
   * @param dense texts that pass through the stored linears; null for none
   */
  private void restore(Journal journal, Witness witness, Samples dense) {
    int blocks = Math.min(journal.finished(), model.blocks().size());
    for (Block block : model.blocks().subList(0, blocks)) {
      Map<String, Linear> stored = Map.copyOf(block.linears());
      int kept = owned.size();
      if (dense != null) {
        dense.begin(block);
        block.steps().forEach(dense::advance);
        Windows.forget(block);
      }
      for (String name : List.copyOf(block.linears().keySet())) {
        restored(journal, name, block.linears().get(name)).ifPresent(r -> block.swap(name, r));
      }
      if (witness != null) {
        witness.begin(block);
        block.steps().forEach(witness::advance);
        release(block, stored, kept);
      }
    }
    if (journal.finished() > blocks) {
      restored(journal, Plan.HEAD, model.head()).ifPresent(model::swapHead);
    }
    if (done > 0) {
      String detail = "resumed after " + journal.lastFinished();
      listener.progress("compress", done, plan.compressed(), detail);
    }
  }

  private Optional<Linear> restored(Journal journal, String name, Linear before) {
    PlannedLinear planned = plan.of(name);
    if (!plan.respells(planned, plan.computesAs())) {
      return Optional.empty();
    }
    try (Context.Scope scope = context.scope()) {
      Linear linear = journal.restored(planned, before);
      owned.addAll(scope.releaseAll());
      done += planned.isCompressed() ? 1 : 0;
      return Optional.of(linear);
    }
  }

  private void compress(Block block, Samples samples, Samples dense, Witness witness, Sink sink) {
    Map<String, Linear> stored = Map.copyOf(block.linears());
    int kept = owned.size();
    String first = block.linears().keySet().iterator().next();
    if (samples != null) {
      report.timings().run(Phase.FORWARD, first, () -> samples.begin(block));
    }
    if (dense != null) {
      report.timings().run(Phase.FORWARD, first, () -> dense.begin(block));
    }
    if (witness != null) {
      witness.begin(block);
    }
    for (Step step : block.steps()) {
      try (Context.Scope scope = context.scope()) {
        Statistics statistics =
            samples != null && wants(step)
                ? report
                    .timings()
                    .get(Phase.HESSIAN, first, () -> samples.measure(wantsHessian(step), dense))
                : null;
        if (dense != null) {
          report.timings().run(Phase.FORWARD, first, () -> dense.advance(step));
        }
        compress(block, step, statistics, sink);
      }
      if (samples != null) {
        report.timings().run(Phase.FORWARD, first, () -> samples.advance(step));
      }
      if (witness != null) {
        witness.advance(step);
      }
      Windows.forget(block);
    }
    if (witness != null) {
      release(block, stored, kept);
    }
  }

  /**
   * Gives a block its stored linears back and frees the compressed ones, owned since {@code kept}.
   */
  private void release(Block block, Map<String, Linear> stored, int kept) {
    Windows.forget(block);
    stored.forEach(block::swap);
    List<Storage> finished = owned.subList(kept, owned.size());
    finished.forEach(Storage::close);
    finished.clear();
  }

  /** Receives each compressed linear once it is final, for instance to write it. */
  public interface Sink {
    void accept(String name, Linear linear);
  }

  private boolean wants(Step step) {
    return step.linears().stream()
        .map(plan::of)
        .anyMatch(p -> p.isCompressed() && p.method().needsStatistics());
  }

  private boolean wantsHessian(Step step) {
    return step.linears().stream()
        .map(plan::of)
        .anyMatch(p -> p.isCompressed() && p.method().needsHessian());
  }

  private void compress(Block block, Step step, Statistics statistics, Sink sink) {
    if (statistics == null || memory == null || !memory.laysAside(statistics.width())) {
      for (String name : step.linears()) {
        Solved solved = solve(plan.of(name), block.linears().get(name), statistics);
        finish(solved, linear -> block.swap(name, linear), sink);
      }
      return;
    }
    // All linears are solved from the factor before the sums, and with them the errors, are back.
    String first = step.linears().get(0);
    report.timings().run(Phase.HESSIAN, first, () -> statistics.layAside(spillFolder));
    List<Solved> solved = new ArrayList<>();
    for (String name : step.linears()) {
      solved.add(solve(plan.of(name), block.linears().get(name), statistics));
    }
    report.timings().run(Phase.HESSIAN, first, statistics::takeBack);
    for (Solved each : solved) {
      String name = each.planned().name();
      Solved known = each.isCompressed() ? measured(each, statistics) : each;
      finish(known, linear -> block.swap(name, linear), sink);
    }
  }

  private void finish(Solved solved, Consumer<Linear> swap, Sink sink) {
    String name = solved.planned().name();
    Compaction.Kept kept = compaction.of(solved.planned(), solved.linear());
    record(solved, kept);
    if (kept.linear() != solved.before()) {
      swap.accept(kept.linear());
    }
    report.timings().run(Phase.WRITE, name, () -> sink.accept(name, kept.linear()));
  }

  private void compressHead(Samples samples, Samples dense, Sink sink) {
    PlannedLinear planned = plan.of(Plan.HEAD);
    try (Context.Scope scope = context.scope()) {
      Statistics statistics = null;
      if (samples != null && planned.isCompressed() && planned.method().needsStatistics()) {
        statistics =
            report
                .timings()
                .get(Phase.HESSIAN, Plan.HEAD, () -> measureHead(samples, dense, planned));
      }
      finish(solve(planned, model.head(), statistics), model::swapHead, sink);
    }
  }

  private Statistics measureHead(Samples samples, Samples dense, PlannedLinear planned) {
    samples.normalize(model);
    if (dense != null) {
      dense.normalize(model);
    }
    return samples.measure(planned.method().needsHessian(), dense);
  }

  /**
   * A linear between its solve and the report.
   *
   * @param linear what was made of it, zeros in place; the stored form where nothing is planned
   * @param result null where nothing is planned
   */
  private record Solved(
      PlannedLinear planned, Linear before, Linear linear, LinearResult result, double seconds) {
    boolean isCompressed() {
      return result != null;
    }
  }

  private Solved solve(PlannedLinear written, Linear linear, Statistics statistics) {
    listener.checkCancelled();
    if (!written.isCompressed()) {
      return new Solved(written, linear, linear, null, 0);
    }
    long start = System.nanoTime();
    LinearMethod method = settled.getOrDefault(written.name(), written.method());
    PlannedLinear planned = written.with(method.onto(linear, context));
    if (statistics != null) {
      planned.method().prepare(statistics);
      statistics.settleTarget();
    }
    try (Context.Scope scope = context.scope()) {
      LinearResult result = panels(planned, linear, statistics).solve(panelRows());
      Windows.forget(linear);
      Linear kept = keep(scope, result.linear(), linear);
      double seconds = (System.nanoTime() - start) * 1e-9;
      report.timings().add(Phase.SOLVE, planned.name(), seconds);
      return new Solved(planned, linear, kept, result, seconds);
    }
  }

  private Panels panels(PlannedLinear planned, Linear linear, Statistics statistics) {
    DType stored = linear instanceof Dense dense ? dense.matrix().dtype() : DType.F32;
    ScaleType scaleType = OutputFormat.scaleType(plan.formats(), stored);
    return new Panels(planned, linear, scaleType, statistics, context);
  }

  private long panelRows() {
    return memory == null ? 0 : memory.panelRows();
  }

  /** Returns the same with its errors, which could not be measured while the sums were aside. */
  private Solved measured(Solved solved, Statistics statistics) {
    listener.checkCancelled();
    PlannedLinear planned = solved.planned();
    long start = System.nanoTime();
    LinearResult result =
        panels(planned, solved.before(), statistics)
            .measure((Quantized) solved.linear(), solved.result().events(), panelRows());
    Windows.forget(solved.before());
    double seconds = (System.nanoTime() - start) * 1e-9;
    report.timings().add(Phase.SOLVE, planned.name(), seconds);
    return new Solved(
        planned, solved.before(), solved.linear(), result, solved.seconds() + seconds);
  }

  /** Takes the tensors of a result out of the scope of its solve. */
  private Linear keep(Context.Scope scope, Linear linear, Linear before) {
    if (linear instanceof Dense pruned) {
      boolean turned = before instanceof Dense dense && dense.inOut();
      DType type = before instanceof Dense dense ? dense.matrix().dtype() : DType.F32;
      Tensor values = DenseSpelling.matrix(context, pruned.matrix(), turned, type);
      return new Dense(outlive(scope, values), turned, pruned.bias());
    }
    Quantized result = (Quantized) linear;
    if (plan.dense()) {
      Dense original = (Dense) before;
      DType type = original.matrix().dtype();
      return new Dense(
          outlive(
              scope, DenseSpelling.matrix(context, result.weight(context), original.inOut(), type)),
          original.inOut(),
          result.bias());
    }
    return new Quantized(
        result.scheme(),
        result.inFeatures(),
        outlive(scope, result.codes()),
        outlive(scope, result.scales()),
        result.zeros() == null ? null : outlive(scope, result.zeros()),
        null,
        result.scaleType(),
        result.bias());
  }

  private Tensor outlive(Context.Scope scope, Tensor tensor) {
    scope.release(tensor);
    owned.add(tensor.storage());
    return tensor;
  }

  private void record(Solved solved, Compaction.Kept kept) {
    PlannedLinear planned = solved.planned();
    if (!solved.isCompressed()) {
      report.row(
          LinearRow.untouched(
                  planned.name(),
                  planned.reason(),
                  planned.out() * planned.in(),
                  kept.linear().bitsPerWeight())
              .with(kept.sparsity()));
      return;
    }
    LinearResult result = solved.result();
    // Values of codes in a dense file count as the codes: what other formats of them would take.
    Linear told = plan.dense() && planned.isQuantized() ? result.linear() : kept.linear();
    report.row(
        new LinearRow(
            planned.name(),
            planned.method().name(),
            planned.describe(),
            planned.out() * planned.in(),
            told.bitsPerWeight(),
            result.relativeError(),
            result.nearestError(),
            solved.seconds(),
            Variants.preferred(planned.method().operation()).orElse(null),
            kept.sparsity()));
    result.events().forEach(report::event);
    lastResult =
        String.format(Locale.ROOT, "error %.3g %s", result.relativeError(), planned.name());
    listener.progress("compress", ++done, plan.compressed(), lastResult);
  }

  @Override
  public void close() {
    owned.forEach(Storage::close);
    owned.clear();
  }

  private void warnOfLittleData(List<int[]> texts) {
    long tokens = texts.stream().mapToLong(text -> text.length).sum();
    long widest = plan.widestInput();
    String consequence =
        " for up to "
            + widest
            + " input channels: the Hessians are singular (under-determined) before damping";
    if (tokens < widest) {
      report.event(
          Event.warning(
              "few-tokens",
              "calibration",
              "only "
                  + tokens
                  + (tokens == 1 ? " token" : " tokens")
                  + " of calibration text"
                  + consequence));
      return;
    }
    long distinct = contexts(texts);
    if (distinct < widest) {
      report.event(
          Event.warning(
              "repeated-text",
              "calibration",
              "the calibration texts repeat each other: of "
                  + tokens
                  + " tokens only "
                  + distinct
                  + " differ, or differ in what comes before them,"
                  + consequence));
    }
  }

  /**
   * Returns how many different beginnings the texts have. What a layer reads at a position follows
   * from the ids up to there, so this bounds the rank of every Hessian.
   */
  private static long contexts(List<int[]> texts) {
    Set<Long> seen = new HashSet<>();
    for (int[] text : texts) {
      long hash = 0;
      for (int id : text) {
        hash = (hash + id + 1) * 0x9E3779B97F4A7C15L; // 2^64 / golden ratio: odd, bits well mixed
        hash ^= hash >>> 32;
        seen.add(hash);
      }
    }
    return seen.size();
  }
}
