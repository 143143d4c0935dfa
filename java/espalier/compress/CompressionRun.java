// SPDX-License-Identifier: Apache-2.0
package espalier.compress;

import espalier.internal.Version;
import espalier.kernel.Convert;
import espalier.kernel.Eager;
import espalier.kernel.Ops;
import espalier.model.Model;
import espalier.model.Past;
import espalier.report.EspalierException;
import espalier.report.Event;
import espalier.report.Listener;
import espalier.report.Report;
import espalier.tensor.Context;
import espalier.tensor.Tensor;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;

/**
 * A plan carried out: checks, block loop, output, and the proof that the output is what was
 * computed.
 */
public final class CompressionRun {
  /** Tokens of the text on which the reopened output is compared. */
  private static final int PROOF_TOKENS = 64;

  private final Context context;
  private final Model model;
  private final Plan plan;
  private final Report report;
  private final Listener listener;

  public CompressionRun(Context context, Model model, Plan plan, Report report, Listener listener) {
    this.context = context;
    this.model = model;
    this.plan = plan;
    this.report = report;
    this.listener = listener;
  }

  /**
   * Compresses the model and writes it to {@code folder}, which must not exist.
   *
   * @param texts calibration token ids; may be empty when the plan needs none
   * @return the report, complete
   */
  public Report to(Path folder, long shardBytes, List<int[]> texts) {
    model.events().forEach(report::event);
    plan.events().forEach(report::event);
    requireFinite();
    describe(folder);
    try (Outputs outputs = new Outputs(context, model, plan, report, folder, shardBytes);
        Compression compression = new Compression(context, model, plan, report, listener)) {
      compression.run(texts, outputs);
      outputs.complete(
          format ->
              ModelCard.of(
                  model.checkpoint(),
                  plan.summary(),
                  format,
                  plan.recipeText(),
                  Version.TEXT,
                  hashes()));
      for (Path sealed : outputs.sealed()) {
        prove(sealed, texts);
      }
      outputs.publish();
      return report;
    }
  }

  private void describe(Path folder) {
    report.fact("espalier_version", Version.TEXT);
    report.fact("source", lastName(model.checkpoint().folder()));
    report.fact("output", lastName(folder));
    report.fact("source_sha256", hashes());
    report.fact("recipe", plan.recipeText());
    report.fact("format", plan.formats().stream().map(OutputFormat::text).collect(Collectors.joining(",")));
    report.fact("state_dtype", model.stateType().name());
    report.fact("compute_precision", "fp32");
    report.fact("threads", context.threads());
    report.fact("cpu_features", Context.cpuFeatures());
    report.fact("linears_compressed", plan.compressed());
  }

  /** Returns the name a folder goes by, also when it is given as "." or "..". */
  private static String lastName(Path folder) {
    Path name = folder.toAbsolutePath().normalize().getFileName();
    return name == null ? "/" : name.toString();
  }

  private Map<String, String> hashes() {
    Map<String, String> hashes = new LinkedHashMap<>();
    hashes.put("weight headers", model.checkpoint().headersSha256());
    hashes.put("config.json", model.checkpoint().sha256("config.json"));
    return hashes;
  }

  /** A NaN poisons every statistic after it, so it must not get in. */
  private void requireFinite() {
    model
        .damage(context, listener::checkCancelled)
        .ifPresent(
            fault -> {
              throw fault;
            });
    // What the model does not read does no harm (old attention masks hold infinities on purpose).
    for (String name : model.unknownTensors()) {
      Tensor tensor = model.checkpoint().get(name);
      if (tensor.dtype().isFloat() && Convert.firstNonFinite(context, tensor) >= 0) {
        report.event(
            Event.warning(
                "unused-not-finite", name, "holds NaN or infinity; the model does not read it"));
      }
    }
  }

  /** Reopens what was written and compares its logits with those of the model in memory. */
  private void prove(Path folder, List<int[]> texts) {
    int[] text = texts.isEmpty() ? proofText() : texts.get(0);
    int[] ids = java.util.Arrays.copyOf(text, Math.min(text.length, PROOF_TOKENS));
    Ops ops = new Eager(context);
    try (Model reopened = Model.open(folder, context);
        Context.Scope scope = context.scope()) {
      Tensor tokens = context.ints(ids, ids.length);
      float[] expected = model.forward(ops, tokens, Past.NONE).toFloats();
      float[] found = reopened.forward(ops, tokens, Past.NONE).toFloats();
      double worst = 0;
      for (int i = 0; i < expected.length; i++) {
        worst = Math.max(worst, Math.abs((double) expected[i] - found[i]));
        if (Float.isNaN(expected[i]) != Float.isNaN(found[i])) {
          worst = Double.POSITIVE_INFINITY;
        }
      }
      report.fact("reopened_logits_max_difference", worst);
      // The same kernels on the same bytes: anything but zero means the file is not the model.
      if (worst > 0) {
        throw EspalierException.failed(
            folder + ": logits of the written files differ from the model in memory by " + worst,
            "This is a fault of ours; please report it with the recipe.");
      }
    }
  }

  /** Spreads ids over the vocabulary when there is no text. */
  private int[] proofText() {
    int count = Math.min(PROOF_TOKENS / 2, model.contextLength());
    int[] ids = new int[count];
    for (int i = 0; i < count; i++) {
      ids[i] = (int) ((i * 7919L + 1) % model.vocabulary());
    }
    return ids;
  }
}
