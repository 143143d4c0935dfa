// SPDX-License-Identifier: Apache-2.0
package espalier;

import espalier.compress.Compression;
import espalier.compress.Modifiers;
import espalier.compress.OutputFormat;
import espalier.compress.Plan;
import espalier.kernel.Loss;
import espalier.kernel.Ops;
import espalier.model.Model;
import espalier.model.Past;
import espalier.recipe.Recipe;
import espalier.report.Listener;
import espalier.report.Report;
import espalier.tensor.Context;
import espalier.tensor.DType;
import espalier.tensor.Storage;
import espalier.tensor.Tensor;
import espalier.text.TextData;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Function;

/**
 * One model measured under many methods: texts are read once, and the dense logits of the documents
 * that KL divergence is taken over are kept.
 */
final class QualityBench implements AutoCloseable {
  private static final int CALIBRATION_DOCUMENTS = 128;
  private static final int KL_DOCUMENTS = 50;
  private static final String FOLLOW = ".follow";

  /** What a method left of a model. */
  record Figures(double perplexity, double kl, double top1) {}

  private final String name;
  private final String file;
  private final int first;
  private final int last;
  private Espalier dense;
  private List<int[]> calibration;
  private List<int[]> evaluation;
  private final List<Tensor> denseLogits = new ArrayList<>();
  private final Map<String, Figures> measured = new HashMap<>();

  /** Measures on the evaluation texts, as golden/quality.json does. */
  QualityBench(String name) {
    this(name, "data/tinystories_eval.jsonl", 0, Integer.MAX_VALUE);
  }

  /** Measures on the documents {@code first} to {@code last} (exclusive) of a file of texts. */
  QualityBench(String name, String file, int first, int last) {
    this.name = name;
    this.file = file;
    this.first = first;
    this.last = last;
  }

  private void open() {
    if (dense != null) {
      return;
    }
    dense = Espalier.open(folder(), 1);
    calibration = documents("data/tinystories_calib.jsonl", CALIBRATION_DOCUMENTS);
    List<int[]> texts = documents(file, last);
    evaluation = texts.subList(first, texts.size());
    for (int[] ids : evaluation.subList(0, KL_DOCUMENTS)) {
      try (Context.Scope scope = dense.context().scope()) {
        denseLogits.add(scope.release(logits(dense, ids)));
      }
    }
  }

  private Path folder() {
    return Shared.path("models/" + name);
  }

  private List<int[]> documents(String file, int limit) {
    TextData data = dense.texts(Shared.path(file));
    return Arrays.asList(data.documents(limit, dense.model().contextLength()).ids());
  }

  private static Tensor logits(Espalier espalier, int[] ids) {
    Ops ops = espalier.ops();
    Tensor tokens = espalier.context().ints(Arrays.copyOf(ids, ids.length - 1), ids.length - 1);
    return espalier.model().forward(ops, tokens, Past.NONE);
  }

  /** Returns the figures of a key of quality.json, measured once. */
  synchronized Figures figures(String key) {
    return measured.computeIfAbsent(key, this::run);
  }

  /** Returns the figures of a recipe. */
  synchronized Figures figuresOf(String text) {
    return run("recipe", model -> text);
  }

  /** Compresses a fresh copy of the model by a key of quality.json and measures it. */
  private Figures run(String key) {
    return run(key, model -> recipe(key, model));
  }

  private Figures run(String source, Function<Model, String> recipeOf) {
    open();
    try (Espalier espalier = Espalier.open(folder(), 1)) {
      Model model = espalier.model();
      String text = recipeOf.apply(model);
      Recipe recipe = Recipe.parse(text, source, Modifiers.REGISTRY);
      Plan plan = Plan.of(model, recipe, List.of(OutputFormat.COMPRESSED_TENSORS), text);
      Report report = new Report(Listener.NONE);
      try (Compression compression =
          new Compression(espalier.context(), model, plan, report, Listener.NONE)) {
        compression.run(calibration, (module, linear) -> {});
        return measure(espalier);
      }
    }
  }

  private Figures measure(Espalier espalier) {
    Context context = espalier.context();
    double nats = 0;
    double kl = 0;
    long same = 0;
    long positions = 0;
    long predictions = 0;
    for (int document = 0; document < evaluation.size(); document++) {
      int[] ids = evaluation.get(document);
      int rows = ids.length - 1;
      try (Context.Scope scope = context.scope()) {
        Tensor logits = logits(espalier, ids);
        Tensor targets = context.ints(Arrays.copyOfRange(ids, 1, ids.length), rows);
        nats += Arrays.stream(Loss.crossEntropy(context, logits, targets).toDoubles()).sum();
        predictions += rows;
        if (document < KL_DOCUMENTS) {
          Tensor divergence = context.allocate(DType.F64, rows);
          Tensor sameTop = context.allocate(DType.U8, rows);
          Loss.divergence(context, denseLogits.get(document), logits, divergence, sameTop);
          kl += Arrays.stream(divergence.toDoubles()).sum();
          for (byte flag : sameTop.toBytes()) {
            same += flag;
          }
          positions += rows;
        }
      }
    }
    return new Figures(Math.exp(nats / predictions), kl / positions, (double) same / positions);
  }

  /**
   * Returns the recipe of a key such as gptq.b4.sym.g64.act or gptq.b3.asym.g64.act.mse; layers the
   * group does not divide go per channel. A joint solve may name its damping: joint.2of4…@0.01.
   * With .follow at its end the key's linears are solved for what the dense model's gave.
   */
  private static String recipe(String key, Model model) {
    if (key.endsWith(FOLLOW)) {
      String plain = recipe(key.substring(0, key.length() - FOLLOW.length()), model);
      return "espalier: {follow_dense: true}\n" + plain;
    }
    int damping = key.indexOf('@');
    String[] parts = (damping < 0 ? key : key.substring(0, damping)).split("\\.");
    if (!parts[0].equals("rtn") && !parts[0].equals("gptq")) {
      return pruning(parts, damping < 0 ? "0.01" : key.substring(damping + 1));
    }
    boolean gptq = parts[0].equals("gptq");
    int group = Integer.parseInt(parts[3].substring(1));
    List<String> options = List.of(parts).subList(4, parts.length);
    String common =
        "num_bits: " + parts[1].substring(1) + ", symmetric: " + parts[2].equals("sym") + ", ";
    if (options.contains("mse")) {
      common += "observer: memoryless_mse, ";
    }
    List<String> whole =
        model.linears().entrySet().stream()
            .filter(e -> group > 0 && e.getValue().inFeatures() % group != 0)
            .map(e -> "'" + e.getKey() + "'")
            .toList();
    String grouped = group == 0 ? "strategy: channel" : "strategy: group, group_size: " + group;
    StringBuilder yaml = new StringBuilder("quant_stage:\n  quant_modifiers:\n");
    yaml.append(gptq ? "    GPTQModifier:\n" : "    QuantizationModifier:\n");
    if (gptq) {
      yaml.append("      actorder: ")
          .append(options.contains("act") ? "static" : "null")
          .append('\n');
    }
    yaml.append("      ignore: [lm_head]\n      config_groups:\n");
    yaml.append("        group_0: {targets: [Linear], weights: {");
    yaml.append(common).append(grouped).append("}}\n");
    if (!whole.isEmpty()) {
      yaml.append("        group_1: {targets: [").append(String.join(", ", whole));
      yaml.append("], weights: {").append(common).append("strategy: channel}}\n");
    }
    return yaml.toString();
  }

  /** Returns the recipe of a key such as wanda.2of4 or joint.50.b4.sym.g0, split at its dots. */
  private static String pruning(String[] parts, String damping) {
    String[] pattern = parts[1].split("of");
    boolean structured = pattern.length == 2;
    double sparsity =
        structured
            ? Double.parseDouble(pattern[0]) / Double.parseDouble(pattern[1])
            : Integer.parseInt(parts[1]) / 100.0;
    String mask = structured ? "mask_structure: '" + pattern[0] + ":" + pattern[1] + "', " : "";
    String common = "{sparsity: " + sparsity + ", " + mask + "ignore: [lm_head]";
    String stage = "prune_stage:\n  prune_modifiers:\n    ";
    if (parts[0].equals("magnitude")) {
      return stage
          + "MagnitudePruningModifier: {init_sparsity: 0.0, final_sparsity: "
          + sparsity
          + ", "
          + mask
          + "targets: ['re:(?!lm_head).*']}\n";
    }
    if (parts.length == 2) {
      String type = parts[0].equals("wanda") ? "WandaPruningModifier" : "SparseGPTModifier";
      return stage + type + ": " + common + "}\n";
    }
    String weights =
        "config_groups: {group_0: {targets: [Linear], weights: {num_bits: "
            + parts[2].substring(1)
            + ", symmetric: true, strategy: channel}}}}\n";
    return parts[0].equals("joint")
        ? stage
            + "SparseGPTQuantizationModifier: "
            + common
            + ", dampening_frac: "
            + damping
            + ", "
            + weights
        : stage
            + ("SparseGPTModifier: " + common + "}\n")
            + ("    QuantizationModifier: {ignore: [lm_head], " + weights);
  }

  @Override
  public synchronized void close() {
    denseLogits.stream().map(Tensor::storage).forEach(Storage::close);
    denseLogits.clear();
    if (dense != null) {
      dense.close();
      dense = null;
    }
  }
}
