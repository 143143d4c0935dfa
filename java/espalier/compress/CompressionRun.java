// SPDX-License-Identifier: Apache-2.0
package espalier.compress;

import espalier.checkpoint.Checkpoint;
import espalier.checkpoint.PartialFolder;
import espalier.internal.Version;
import espalier.kernel.Eager;
import espalier.kernel.Ops;
import espalier.kernel.Variants;
import espalier.model.Block;
import espalier.model.Model;
import espalier.model.Past;
import espalier.report.EspalierException;
import espalier.report.Event;
import espalier.report.Listener;
import espalier.report.Phase;
import espalier.report.Report;
import espalier.tensor.Context;
import espalier.tensor.Tensor;
import java.nio.FloatBuffer;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Consumer;
import java.util.stream.Collectors;

/**
 * A plan carried out: checks, block loop, output, and the proof that the output is what was
 * computed.
 */
public final class CompressionRun {
  /** Tokens of the text on which the reopened output is compared. */
  static final int PROOF_TOKENS = 64;

  /**
   * Nothing here draws random numbers yet; what will, begins with this, and a resume compares it.
   */
  private static final long SEED = 0;

  private final Context context;
  private final Model model;
  private final Plan plan;
  private final Report report;
  private final Listener listener;
  private MemoryPlan memory;
  private boolean restart;
  private Consumer<Path> inspection = folder -> {};

  public CompressionRun(Context context, Model model, Plan plan, Report report, Listener listener) {
    this.context = context;
    this.model = model;
    this.plan = plan;
    this.report = report;
    this.listener = listener;
  }

  /** Keeps the run within a memory plan. */
  public CompressionRun within(MemoryPlan plan) {
    memory = plan;
    return this;
  }

  /** Makes the run begin anew whatever an earlier one left for it. */
  public CompressionRun restart(boolean value) {
    restart = value;
    return this;
  }

  /**
   * Sets who looks at the finished files before they get their name, to add to the report; what it
   * throws ends the run.
   */
  public CompressionRun inspect(Consumer<Path> visitor) {
    inspection = visitor;
    return this;
  }

  /**
   * Compresses the model and writes it to {@code folder}, which must not exist. Killed at any
   * moment, the same call goes on after the last finished block, from what lies in the folder of
   * that name with {@code .partial} added; the files of the output are the same then, byte for
   * byte, except for the report, which tells of it.
   *
   * @param texts calibration token ids; may be empty when the plan needs none
   * @return the report, complete
   */
  public Report to(Path folder, long shardBytes, List<int[]> texts) {
    model.events().forEach(report::event);
    plan.events().forEach(report::event);
    try (PartialFolder partial = PartialFolder.open(folder)) {
      if (partial.found() && restart) {
        partial.clear();
        report.event(
            Event.info(
                "restarted", lastName(partial.path()), "what an earlier run had done was removed"));
      }
      Journal[] journal = new Journal[1];
      try {
        describe(folder);
        Map<String, Long> checksums = report.timings().get(Phase.CHECK, "", this::checksums);
        RunInputs inputs =
            RunInputs.of(
                context, model, plan, new RunInputs.Request(shardBytes, SEED, texts), checksums);
        journal[0] = Journal.open(partial, model.blocks().size(), inputs, report);
        write(partial, shardBytes, texts, journal[0]);
        return report;
      } catch (RuntimeException | Error e) {
        if (partial.found() || isWorthKeeping(e, journal[0])) {
          partial.leave();
        }
        if (e instanceof EspalierException known && journal[0] != null) {
          throw explained(known, journal[0]);
        }
        throw e;
      }
    }
  }

  private void write(PartialFolder partial, long shardBytes, List<int[]> texts, Journal journal) {
    try (Outputs outputs =
            new Outputs(context, model, plan, report, partial, shardBytes, journal.tensors());
        Compression compression = new Compression(context, model, plan, report, listener)) {
      journal.attach(outputs, report);
      int[] proofText = proofText(texts);
      if (memory != null) {
        memory.events().forEach(report::event);
        compression.within(memory, partial.path(), proofText);
      }
      compression.run(texts, outputs, journal);
      listener.checkCancelled();
      outputs.complete(
          format ->
              ModelCard.of(
                  model.checkpoint(),
                  plan.summary(),
                  format,
                  plan.recipeText(),
                  Version.TEXT,
                  hashes(model)));
      listener.checkCancelled();
      Map<OutputFormat, Path> sealed = outputs.sealed();
      Path first = sealed.values().iterator().next();
      Path computed = sealed.get(plan.computesAs());
      sealed.forEach(
          (format, place) ->
              report
                  .timings()
                  .run(
                      Phase.PROVE,
                      "",
                      () -> {
                        if (format.sumsAs(plan.computesAs())) {
                          prove(place, proofText, compression.witnessLogits());
                        } else {
                          SameValues.require(context, place, computed);
                        }
                      }));
      report.fact("size", SizeBreakdown.of(model, plan, first));
      inspection.accept(first);
      report.fact("peak_resident_bytes", Resident.peakBytes());
      outputs.addReport();
    }
    partial.publish();
  }

  /**
   * A run that was stopped, or ran out of something, is gone on with. One that met a fault of its
   * input would meet it again; any other failure keeps what it has, if it has anything.
   */
  private static boolean isWorthKeeping(Throwable failure, Journal journal) {
    if (journal == null) {
      return false;
    }
    if (failure instanceof EspalierException known) {
      return switch (known.kind()) {
        case INTERRUPTED, RESOURCE -> true;
        case USAGE, INPUT, UNSUPPORTED -> false;
        case FAILED -> journal.finished() > 0;
      };
    }
    return journal.finished() > 0;
  }

  /** Tells the user of a run that can be gone on with how to do it. */
  private static EspalierException explained(EspalierException failure, Journal journal) {
    String again =
        journal.finished() == 0
            ? "Run the same command again; no block was finished."
            : "Run the same command again: it goes on after " + journal.lastFinished() + ".";
    return switch (failure.kind()) {
      case INTERRUPTED ->
          new EspalierException(failure.kind(), failure.getMessage(), again, failure);
      case RESOURCE ->
          new EspalierException(
              failure.kind(), failure.getMessage(), failure.advice() + " " + again, failure);
      default -> failure;
    };
  }

  private void describe(Path folder) {
    report.fact("espalier_version", Version.TEXT);
    report.fact("source", lastName(model.checkpoint().folder()));
    report.fact("output", lastName(folder));
    report.fact("source_sha256", hashes(model));
    report.fact("recipe", plan.recipeText());
    report.fact(
        "format", plan.formats().stream().map(this::described).collect(Collectors.joining(", ")));
    report.fact("state_dtype", model.stateType().name());
    report.fact("compute_precision", "fp32");
    report.fact("threads", context.threads());
    report.fact("cpu_features", Context.cpuFeatures());
    report.fact("kernel_variants", Variants.preferred());
    report.fact("linears_compressed", plan.compressed());
    if (memory != null) {
      report.fact("predicted_peak_bytes", memory.peakBytes());
      memory.budget().ifPresent(bytes -> report.fact("memory_budget_bytes", bytes));
    }
  }

  private String described(OutputFormat format) {
    return format == OutputFormat.COMPRESSED_TENSORS
        ? format.text() + " " + plan.spellings().format()
        : format.text();
  }

  /** Returns the name a folder goes by, also when it is given as "." or "..". */
  private static String lastName(Path folder) {
    Path name = folder.toAbsolutePath().normalize().getFileName();
    return name == null ? "/" : name.toString();
  }

  /** Returns what identifies the inputs, by name. */
  static Map<String, String> hashes(Model model) {
    Map<String, String> hashes = new LinkedHashMap<>();
    hashes.put("weight headers", model.checkpoint().headersSha256());
    hashes.put("config.json", model.checkpoint().sha256("config.json"));
    return hashes;
  }

  /**
   * Returns the checksum of every stored tensor, and refuses NaN, which would poison every
   * statistic after it. Reads every weight file once.
   */
  private Map<String, Long> checksums() {
    Checkpoint source = model.checkpoint();
    Map<String, Long> checksums = new HashMap<>();
    model
        .damage(
            context,
            name -> {
              checksums.put(name, RunInputs.checksum(source.get(name)));
              listener.checkCancelled();
            })
        .ifPresent(
            fault -> {
              throw fault;
            });
    // What the model does not read does no harm (old attention masks hold infinities on purpose).
    for (String name : model.unknownTensors()) {
      Tensor tensor = source.get(name);
      checksums.put(name, RunInputs.checksum(tensor));
      if (Model.firstNotFinite(context, tensor) >= 0) {
        report.event(
            Event.warning(
                "unused-not-finite", name, "holds NaN or infinity; the model does not read it"));
      }
      tensor.forget();
    }
    return checksums;
  }

  /**
   * Reopens what was written and compares its logits with those of the model in memory.
   *
   * @param known those logits where the run has computed them already, else null
   */
  private void prove(Path folder, int[] ids, Tensor known) {
    Ops ops = new Eager(context);
    try (Model reopened = Model.open(folder, context);
        Context.Scope scope = context.scope()) {
      Tensor tokens = context.ints(ids, ids.length);
      Tensor expected = known != null ? known : model.forward(ops, tokens, Past.NONE);
      double worst = worstGap(expected, forward(reopened, ops, tokens));
      report.fact("reopened_logits_max_difference", worst);
      // The same kernels on the same bytes: anything but zero means the file is not the model.
      if (worst > 0) {
        throw EspalierException.failed(
            folder + ": logits of the written files differ from the model in memory by " + worst,
            "This is a fault of ours; please report it with the recipe.");
      }
    }
  }

  /** A forward pass that leaves no block's pages behind. */
  private Tensor forward(Model reopened, Ops ops, Tensor tokens) {
    Tensor hidden = reopened.embed(ops, tokens, 0);
    reopened.embedding().forget();
    for (Block block : reopened.blocks()) {
      try (Context.Scope scope = context.scope()) {
        hidden = scope.keep(block.forward(ops, hidden, Past.NONE));
      }
      Windows.forget(block);
    }
    return reopened.logits(ops, hidden);
  }

  private static double worstGap(Tensor expected, Tensor found) {
    FloatBuffer a = expected.buffer().asFloatBuffer();
    FloatBuffer b = found.buffer().asFloatBuffer();
    double worst = 0;
    for (int i = 0; i < a.limit(); i++) {
      worst = Math.max(worst, Math.abs((double) a.get(i) - b.get(i)));
      if (Float.isNaN(a.get(i)) != Float.isNaN(b.get(i))) {
        worst = Double.POSITIVE_INFINITY;
      }
    }
    return worst;
  }

  /** Takes the beginning of the first text, or spreads ids over the vocabulary without one. */
  private int[] proofText(List<int[]> texts) {
    int[] text = texts.isEmpty() ? proofText() : texts.get(0);
    return Arrays.copyOf(text, Math.min(text.length, PROOF_TOKENS));
  }

  private int[] proofText() {
    int count = Math.min(PROOF_TOKENS / 2, model.contextLength());
    int[] ids = new int[count];
    for (int i = 0; i < count; i++) {
      ids[i] = (int) ((i * 7919L + 1) % model.vocabulary());
    }
    return ids;
  }
}
