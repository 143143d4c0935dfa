// SPDX-License-Identifier: Apache-2.0
package espalier.compress;

import espalier.kernel.Eager;
import espalier.kernel.Ops;
import espalier.kernel.Tapped;
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
import espalier.report.Report;
import espalier.tensor.Context;
import espalier.tensor.DType;
import espalier.tensor.Storage;
import espalier.tensor.Tensor;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Locale;
import java.util.Set;

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
  private final Ops ops;
  private final List<Storage> owned = new ArrayList<>();
  private long done;
  private String lastResult = "";

  /** Owns the linears it makes; keep it open as long as the model computes with them. */
  public Compression(Context context, Model model, Plan plan, Report report, Listener listener) {
    this.context = context;
    this.model = model;
    this.plan = plan;
    this.report = report;
    this.listener = listener;
    this.ops = new Eager(context);
  }

  /**
   * Compresses every planned linear of the model in place and hands each finished block to {@code
   * sink}.
   *
   * @param texts calibration token ids, at least one unless the plan needs none
   * @throws EspalierException (INTERRUPTED) when the listener cancels
   */
  public void run(List<int[]> texts, Sink sink) {
    if (!plan.needsCalibration()) {
      for (Block block : model.blocks()) {
        for (Step step : block.steps()) {
          compress(block, step, null, sink);
        }
      }
      compressHead(null, sink);
      return;
    }
    warnOfLittleData(texts);
    try (Samples samples = new Samples(context, ops, model, texts, listener)) {
      for (Block block : model.blocks()) {
        samples.begin(block);
        for (Step step : block.steps()) {
          try (Context.Scope scope = context.scope()) {
            Statistics statistics = wants(step) ? samples.measure() : null;
            compress(block, step, statistics, sink);
          }
          samples.advance(step);
        }
      }
      compressHead(samples, sink);
    }
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

  private void compress(Block block, Step step, Statistics statistics, Sink sink) {
    for (String name : step.linears()) {
      Linear linear = block.linears().get(name);
      Linear result = compress(plan.of(name), linear, statistics);
      if (result != linear) {
        block.swap(name, result);
      }
      sink.accept(name, result);
    }
  }

  private void compressHead(Samples samples, Sink sink) {
    if (model.tied()) {
      return;
    }
    PlannedLinear planned = plan.of(Plan.HEAD);
    try (Context.Scope scope = context.scope()) {
      Statistics statistics = null;
      if (samples != null && planned.isCompressed() && planned.method().needsStatistics()) {
        statistics = new Statistics(context, planned.in());
        Statistics target = statistics;
        Ops tapped = new Tapped(ops, (name, x) -> target.add(x));
        samples.forEachResidual(hidden -> model.logits(tapped, hidden));
      }
      Linear linear = model.head();
      Linear result = compress(planned, linear, statistics);
      if (result != linear) {
        model.swapHead(result);
      }
      sink.accept(Plan.HEAD, result);
    }
  }

  private Linear compress(PlannedLinear planned, Linear linear, Statistics statistics) {
    listener.checkCancelled();
    if (!planned.isCompressed()) {
      report.row(
          new LinearRow(planned.name(), "none", planned.reason(), linear.bitsPerWeight(), 0, 0, 0));
      return linear;
    }
    long start = System.nanoTime();
    if (statistics != null) {
      planned.method().prepare(statistics);
    }
    try (Context.Scope scope = context.scope()) {
      DType stored = linear instanceof Dense dense ? dense.matrix().dtype() : DType.F32;
      LinearInput input =
          new LinearInput(
              planned.name(),
              linear.weight(context),
              linear.bias(),
              planned.scheme(),
              planned.range(),
              OutputFormat.scaleType(plan.formats(), stored),
              statistics);
      LinearResult result = planned.method().apply(input, context);
      Linear kept = keep(scope, result.quantized(), linear);
      double seconds = (System.nanoTime() - start) / 1e9;
      record(planned, result, seconds);
      return kept;
    }
  }

  /** Takes the tensors of a result out of the scope of its solve. */
  private Linear keep(Context.Scope scope, Quantized result, Linear before) {
    if (plan.dense()) {
      Dense original = (Dense) before;
      DType type = original.matrix().dtype();
      return new Dense(
          outlive(scope, DenseSpelling.matrix(context, result, original.inOut(), type)),
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

  private void record(PlannedLinear planned, LinearResult result, double seconds) {
    report.row(
        new LinearRow(
            planned.name(),
            planned.method().name(),
            planned.scheme().toString(),
            result.linear().bitsPerWeight(),
            result.relativeError(),
            result.nearestError(),
            seconds));
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
