// SPDX-License-Identifier: Apache-2.0
package espalier.compress;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.node.ObjectNode;
import espalier.checkpoint.Checkpoint;
import espalier.checkpoint.CheckpointWriter;
import espalier.checkpoint.PartialFolder;
import espalier.checkpoint.TensorSpec;
import espalier.codec.SparseCodec;
import espalier.internal.Json;
import espalier.layer.Linear;
import espalier.model.Model;
import espalier.report.Event;
import espalier.report.HtmlReport;
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
 * visible under the output's name before the folder it writes into is published.
 */
final class Output implements DurableSink, AutoCloseable {
  private final Context context;
  private final Model model;
  private final Plan plan;
  private final Report report;
  private final OutputFormat format;
  private final OutputSpelling spelling;
  private final CheckpointWriter writer;
  private final Set<String> replaced = new LinkedHashSet<>();
  private Checkpoint earlier;

  /**
   * Declares every tensor.
   *
   * @param folder to write into: its payload, or a folder of the format's name in it where there
   *     are several formats; not owned
   * @param written checksums of the tensors that an earlier process left there, null to begin anew
   */
  Output(
      Context context,
      Model model,
      Plan plan,
      OutputFormat format,
      Report report,
      PartialFolder folder,
      long shardBytes,
      Map<String, Long> written) {
    this.context = context;
    this.model = model;
    this.plan = plan;
    this.report = report;
    this.format = format;
    this.spelling = OutputSpelling.of(format, plan, model, report::event);
    Map<String, List<TensorSpec>> spellings = spellings(model, plan, format, spelling);
    this.writer =
        CheckpointWriter.in(folder, plan.formats().size() > 1 ? format.text() : "", shardBytes);
    try {
      spelling.metadata().forEach(writer::metadata);
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
  static Map<String, List<TensorSpec>> spellings(
      Model model, Plan plan, OutputFormat format, OutputSpelling spelling) {
    Map<String, List<TensorSpec>> spellings = new HashMap<>();
    for (PlannedLinear planned : plan.linears()) {
      if (!plan.respells(planned, format)) {
        continue;
      }
      String stored = model.storedName(planned.name());
      TensorSpec weight = model.checkpoint().spec(stored + ".weight").orElseThrow();
      spellings.put(weight.name(), spelling.declare(stored, planned, weight));
    }
    return spellings;
  }

  OutputFormat format() {
    return format;
  }

  @Override
  public void accept(String name, Linear linear) {
    if (!plan.respells(plan.of(name), format)) {
      return;
    }
    String stored = model.storedName(name);
    try (Context.Scope scope = context.scope()) {
      TensorSpec weight = model.checkpoint().spec(stored + ".weight").orElseThrow();
      Linear spelled =
          format == OutputFormat.SPARSE ? linear : SparseCodec.expanded(context, linear);
      spelling.encode(context, stored, spelled, weight).forEach(writer::write);
    }
  }

  @Override
  public Linear restored(PlannedLinear planned, Linear before) {
    return spelling.decode(context, earlier, model.storedName(planned.name()), planned, before);
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
      note(Event.info("file-copied", name, "carried over unchanged"));
    }
    writer.text("config.json", config(model, plan, spelling));
    spelling.files().forEach((name, json) -> writer.text(name, pretty(json)));
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
  static String config(Model model, Plan plan, OutputSpelling spelling) {
    ObjectNode config = model.checkpoint().json("config.json").orElseThrow().deepCopy();
    // What says of a dense checkpoint that it is pruned makes vLLM refuse it: zeros speak for
    // themselves.
    config.remove("quantization_config");
    ObjectNode block = plan.compressed() > 0 || plan.isSparse() ? spelling.config() : null;
    if (block != null) {
      config.set(spelling.configKey(), block);
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
    if (earlier != null) {
      earlier.close();
    }
  }
}
