// SPDX-License-Identifier: Apache-2.0
package espalier.compress;

import espalier.checkpoint.PartialFolder;
import espalier.layer.Linear;
import espalier.model.Model;
import espalier.report.Report;
import espalier.tensor.Context;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Function;

/**
 * The checkpoints a run leaves, one a format, filled from the same solve: the payload itself when
 * there is one format, else a folder of each format's name in it. All are complete and checked
 * before the whole gets its name.
 */
final class Outputs implements DurableSink, AutoCloseable {
  private final Plan plan;
  private final List<Output> outputs = new ArrayList<>();

  /**
   * Declares the tensors of every format.
   *
   * @param written {@link #checksums} of an earlier process, null to begin anew
   */
  Outputs(
      Context context,
      Model model,
      Plan plan,
      Report report,
      PartialFolder folder,
      long shardBytes,
      Map<String, Long> written) {
    this.plan = plan;
    try {
      for (OutputFormat format : plan.formats()) {
        Map<String, Long> own = written == null ? null : of(format, written);
        outputs.add(new Output(context, model, plan, format, report, folder, shardBytes, own));
      }
    } catch (RuntimeException e) {
      close();
      throw e;
    }
  }

  private static Map<String, Long> of(OutputFormat format, Map<String, Long> all) {
    String prefix = format.text() + "/";
    Map<String, Long> own = new LinkedHashMap<>();
    all.forEach(
        (name, sum) -> {
          if (name.startsWith(prefix)) {
            own.put(name.substring(prefix.length()), sum);
          }
        });
    return own;
  }

  @Override
  public void accept(String name, Linear linear) {
    outputs.forEach(output -> output.accept(name, linear));
  }

  @Override
  public void sync() {
    outputs.forEach(Output::sync);
  }

  /** Returns the checksums of every format, each name led by the format's. */
  @Override
  public Map<String, Long> checksums() {
    Map<String, Long> all = new LinkedHashMap<>();
    for (Output output : outputs) {
      output.checksums().forEach((name, sum) -> all.put(output.format().text() + "/" + name, sum));
    }
    return all;
  }

  /** Takes the linear from the format that the run computes with, see {@link Plan#computesAs}. */
  @Override
  public Linear restored(PlannedLinear planned, Linear before) {
    return computed().restored(planned, before);
  }

  /** Writes everything else, with the card of each format. */
  void complete(Function<OutputFormat, String> card) {
    outputs.forEach(output -> output.complete(card.apply(output.format())));
  }

  /** Returns the folders that hold the finished files until they are published, in order. */
  Map<OutputFormat, Path> sealed() {
    Map<OutputFormat, Path> folders = new LinkedHashMap<>();
    outputs.forEach(output -> folders.put(output.format(), output.sealed()));
    return folders;
  }

  private Output computed() {
    return outputs.stream()
        .filter(output -> output.format() == plan.computesAs())
        .findFirst()
        .orElseThrow();
  }

  /** Adds the report to every folder; the whole may be published then. */
  void addReport() {
    outputs.forEach(Output::addReport);
  }

  @Override
  public void close() {
    outputs.forEach(Output::close);
  }
}
