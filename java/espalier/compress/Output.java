// SPDX-License-Identifier: Apache-2.0
package espalier.compress;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.node.ObjectNode;
import espalier.checkpoint.Checkpoint;
import espalier.checkpoint.CheckpointWriter;
import espalier.checkpoint.TensorSpec;
import espalier.internal.Json;
import espalier.layer.Linear;
import espalier.model.Model;
import espalier.report.Event;
import espalier.report.Report;
import espalier.tensor.Context;
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
 * visible under the output's name before {@link #publish}.
 */
final class Output implements Compression.Sink, AutoCloseable {
  private final Context context;
  private final Model model;
  private final Plan plan;
  private final Report report;
  private final OutputFormat format;
  private final OutputSpelling spelling;
  private final CheckpointWriter writer;
  private final Set<String> replaced = new LinkedHashSet<>();

  /** Declares every tensor; refuses an output that exists or cannot be written. */
  Output(
      Context context,
      Model model,
      Plan plan,
      OutputFormat format,
      Report report,
      Path folder,
      long shardBytes) {
    this.context = context;
    this.model = model;
    this.plan = plan;
    this.report = report;
    this.format = format;
    this.spelling = OutputSpelling.of(format, plan, model, report::event);
    Map<String, List<TensorSpec>> spellings = spellings();
    this.writer = CheckpointWriter.create(folder, shardBytes);
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
          note(
              Event.info(
                  "copied-verbatim", name, "not part of the model; carried over byte for byte"));
        }
      }
      writer.begin();
      writer.events().forEach(report::event);
    } catch (RuntimeException e) {
      writer.close();
      throw e;
    }
  }

  /** Returns, for every stored weight that changes its spelling, the tensors that replace it. */
  private Map<String, List<TensorSpec>> spellings() {
    Map<String, List<TensorSpec>> spellings = new HashMap<>();
    for (PlannedLinear planned : plan.linears()) {
      if (!planned.isCompressed()) {
        continue;
      }
      String stored = model.storedName(planned.name());
      TensorSpec weight = model.checkpoint().spec(stored + ".weight").orElseThrow();
      spellings.put(weight.name(), spelling.declare(stored, planned, weight));
    }
    return spellings;
  }

  @Override
  public void accept(String name, Linear linear) {
    if (!plan.of(name).isCompressed()) {
      return;
    }
    String stored = model.storedName(name);
    try (Context.Scope scope = context.scope()) {
      TensorSpec weight = model.checkpoint().spec(stored + ".weight").orElseThrow();
      spelling.encode(context, stored, linear, weight).forEach(writer::write);
    }
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
      note(Event.info("file-copied", name, "carried over unchanged"));
    }
    writer.text("config.json", config());
    spelling.files().forEach((name, json) -> writer.text(name, pretty(json)));
    writer.text("README.md", card);
    writer.seal();
  }

  OutputFormat format() {
    return format;
  }

  /** Returns the folder that holds the finished files until they are published. */
  Path sealed() {
    return writer.partial();
  }

  /** Adds the report and gives the folder its name. */
  void publish() {
    writer.text("espalier-report.json", pretty(report.toJson()));
    writer.finish();
  }

  private String config() {
    ObjectNode config = model.checkpoint().json("config.json").orElseThrow().deepCopy();
    ObjectNode quantization = plan.compressed() > 0 ? spelling.config() : null;
    if (quantization != null) {
      config.set("quantization_config", quantization);
    }
    return pretty(config);
  }

  /** Reports what is true of every format's folder once, not once a folder. */
  private void note(Event event) {
    if (format == plan.formats().get(0)) {
      report.event(event);
    }
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
  }
}
