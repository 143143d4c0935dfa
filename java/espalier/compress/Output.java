// SPDX-License-Identifier: Apache-2.0
package espalier.compress;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import espalier.checkpoint.Checkpoint;
import espalier.checkpoint.CheckpointWriter;
import espalier.checkpoint.PartialFolder;
import espalier.checkpoint.TensorSpec;
import espalier.codec.ActivationArgs;
import espalier.internal.Json;
import espalier.layer.Dense;
import espalier.layer.Linear;
import espalier.layer.Quantized;
import espalier.layer.Scheme;
import espalier.model.Model;
import espalier.report.Event;
import espalier.report.HtmlReport;
import espalier.report.Report;
import espalier.tensor.Context;
import espalier.tensor.DType;
import espalier.tensor.Tensor;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * The folder a run leaves: compressed linears in their new spelling, every other tensor and file as
 * it was, a config that says how to read them. Tensors are written as they become final; nothing is
 * visible under the output's name before the folder it writes into is published.
 */
final class Output implements DurableSink, AutoCloseable {
  /** The version of compressed-tensors whose config and layout we write. */
  private static final String FORMAT_VERSION = "0.20.0";

  private final Context context;
  private final Model model;
  private final Plan plan;
  private final Report report;
  private final CheckpointWriter writer;
  private final Set<String> replaced = new LinkedHashSet<>();
  private Checkpoint earlier;

  /**
   * Declares every tensor.
   *
   * @param folder to write into; not owned
   * @param written checksums of the tensors that an earlier process left there, null to begin anew
   */
  Output(
      Context context,
      Model model,
      Plan plan,
      Report report,
      PartialFolder folder,
      long shardBytes,
      Map<String, Long> written) {
    this.context = context;
    this.model = model;
    this.plan = plan;
    this.report = report;
    Map<String, List<TensorSpec>> spellings = spellings(model, plan);
    this.writer = CheckpointWriter.in(folder, "", shardBytes);
    try {
      Checkpoint source = model.checkpoint();
      Set<String> unknown = Set.copyOf(model.unknownTensors());
      for (String name : source.names()) {
        List<TensorSpec> spelling = spellings.get(name);
        if (spelling == null) {
          writer.declare(source.spec(name).orElseThrow());
        } else {
          spelling.forEach(writer::declare);
          replaced.add(name);
        }
        if (unknown.contains(name)) {
          report.event(
              Event.info(
                  "copied-verbatim", name, "not part of the model; carried over byte for byte"));
        }
      }
      if (written == null) {
        writer.begin();
      } else {
        writer.resume(written);
        earlier = Checkpoint.open(writer.partial());
      }
    } catch (RuntimeException e) {
      writer.close();
      throw e;
    }
  }

  /** Returns, for every stored weight that changes its spelling, the tensors that replace it. */
  static Map<String, List<TensorSpec>> spellings(Model model, Plan plan) {
    Map<String, List<TensorSpec>> spellings = new HashMap<>();
    for (PlannedLinear planned : plan.linears()) {
      if (!planned.isCompressed()) {
        continue;
      }
      String stored = model.storedName(planned.name());
      TensorSpec weight = model.checkpoint().spec(stored + ".weight").orElseThrow();
      spellings.put(
          weight.name(),
          plan.dense()
              ? List.of(new TensorSpec(weight.name(), denseType(weight.dtype()), weight.shape()))
              : plan.spellings()
                  .of(planned.scheme())
                  .declare(
                      stored,
                      planned.scheme(),
                      planned.out(),
                      planned.in(),
                      scaleType(weight.dtype())));
    }
    return spellings;
  }

  /** Returns the type the model computes with: what the kernels cannot read was widened to F32. */
  static DType scaleType(DType stored) {
    return switch (stored) {
      case F16, BF16 -> stored;
      default -> DType.F32;
    };
  }

  private static DType denseType(DType stored) {
    return scaleType(stored);
  }

  @Override
  public void accept(String name, Linear linear) {
    if (!plan.of(name).isCompressed()) {
      return;
    }
    String stored = model.storedName(name);
    try (Context.Scope scope = context.scope()) {
      if (linear instanceof Quantized quantized) {
        plan.spellings()
            .of(quantized.scheme())
            .encode(context, stored, quantized)
            .forEach(writer::write);
      } else if (linear instanceof Dense dense) {
        writer.write(stored + ".weight", dense.matrix());
      }
    }
  }

  @Override
  public Linear restored(PlannedLinear planned, Linear before) {
    String stored = model.storedName(planned.name());
    if (plan.dense()) {
      return new Dense(earlier.get(stored + ".weight"), ((Dense) before).inOut(), before.bias());
    }
    return plan.spellings()
        .of(planned.scheme())
        .decode(context, earlier, stored, planned.scheme(), before.bias());
  }

  @Override
  public void sync() {
    writer.sync();
  }

  @Override
  public Map<String, Long> checksums() {
    return writer.checksums();
  }

  /** Writes everything else, then the config, the card and the report; nothing is published yet. */
  void complete(String card) {
    Checkpoint source = model.checkpoint();
    for (String name : source.names()) {
      if (!replaced.contains(name)) {
        Tensor tensor = source.get(name);
        writer.write(name, tensor);
        tensor.forget();
      }
    }
    writer.copyCompanions(source);
    for (Path companion : source.companions()) {
      String name = source.folder().relativize(companion).toString();
      report.event(Event.info("file-copied", name, "carried over unchanged"));
    }
    writer.text("config.json", config(model, plan));
    writer.text("README.md", card);
    writer.seal();
  }

  /** Returns the folder that holds the finished files until they are published. */
  Path sealed() {
    return writer.partial();
  }

  /** Adds the report, which tells of all that went before; the folder may be published then. */
  void addReport() {
    ObjectNode record = report.toJson();
    writer.text("espalier-report.json", pretty(record));
    writer.text("espalier-report.html", HtmlReport.of(record));
  }

  /** Returns the text of config.json. */
  static String config(Model model, Plan plan) {
    ObjectNode config = model.checkpoint().json("config.json").orElseThrow().deepCopy();
    if (!plan.dense() && plan.compressed() > 0) {
      config.set("quantization_config", quantization(plan));
    }
    return pretty(config);
  }

  /**
   * Returns the config entry as compressed-tensors writes it: sorted keys, only fields that matter.
   */
  private static ObjectNode quantization(Plan plan) {
    ObjectNode root = Json.STRICT.createObjectNode();
    ObjectNode groups = root.putObject("config_groups");
    int index = 0;
    for (Map.Entry<Scheme, List<String>> entry : plan.targets().entrySet()) {
      Scheme scheme = entry.getKey();
      ObjectNode group = groups.putObject("group_" + index++);
      group.put("format", plan.spellings().of(scheme).format());
      ActivationArgs.put(scheme, group);
      group.putNull("output_activations");
      ArrayNode targets = group.putArray("targets");
      entry.getValue().forEach(targets::add);
      ObjectNode weights = group.putObject("weights");
      weights.put("dynamic", false);
      if (scheme.groupSize() == 0) {
        weights.putNull("group_size");
      } else {
        weights.put("group_size", scheme.groupSize());
      }
      weights.put("num_bits", scheme.bits());
      weights.put("strategy", scheme.groupSize() == 0 ? "channel" : "group");
      weights.put("symmetric", scheme.symmetric());
      weights.put("type", "int");
    }
    root.put("format", plan.spellings().format());
    root.putNull("global_compression_ratio");
    ArrayNode ignore = root.putArray("ignore");
    plan.ignored().forEach(ignore::add);
    root.putNull("kv_cache_scheme");
    root.put("quant_method", "compressed-tensors");
    root.put("quantization_status", "compressed");
    root.putObject("sparsity_config");
    root.putObject("transform_config");
    root.put("version", FORMAT_VERSION);
    return root;
  }

  static String pretty(ObjectNode node) {
    try {
      return Json.pretty().writeValueAsString(node) + "\n";
    } catch (JsonProcessingException e) {
      throw new IllegalStateException("a tree of ours cannot be written", e);
    }
  }

  @Override
  public void close() {
    writer.close();
    if (earlier != null) {
      earlier.close();
    }
  }
}
