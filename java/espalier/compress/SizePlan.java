// SPDX-License-Identifier: Apache-2.0
package espalier.compress;

import espalier.checkpoint.Checkpoint;
import espalier.checkpoint.ShardPlan;
import espalier.checkpoint.TensorSpec;
import espalier.internal.Version;
import espalier.model.Model;
import espalier.report.EspalierException;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Every file of an output with its size in bytes, known from headers alone. The report is left out,
 * as data and as a page: it holds times and errors, and its length is known when they are.
 *
 * @param files relative name to bytes: weights, index, config, card, what is carried over
 */
public record SizePlan(Map<String, Long> files) {
  /** The files whose size depends on what the run finds. */
  public static final List<String> NOT_COUNTED =
      List.of("espalier-report.json", "espalier-report.html");

  /**
   * Lays the output out.
   *
   * @param shardBytes the most tensor data in one weight file
   */
  public static SizePlan of(Model model, Plan plan, long shardBytes) {
    Map<String, Long> files = new LinkedHashMap<>();
    for (OutputFormat format : plan.formats()) {
      String place = plan.formats().size() > 1 ? format.text() + "/" : "";
      files(model, plan, format, shardBytes).forEach((name, size) -> files.put(place + name, size));
    }
    return new SizePlan(files);
  }

  private static Map<String, Long> files(
      Model model, Plan plan, OutputFormat format, long shardBytes) {
    Checkpoint source = model.checkpoint();
    OutputSpelling spelling = OutputSpelling.of(format, plan, model, event -> {});
    Map<String, List<TensorSpec>> spellings = Output.spellings(model, plan, format, spelling);
    List<TensorSpec> specs = new ArrayList<>();
    for (String name : source.names()) {
      List<TensorSpec> replacing = spellings.get(name);
      specs.addAll(replacing == null ? List.of(source.spec(name).orElseThrow()) : replacing);
    }
    Map<String, Long> files =
        new LinkedHashMap<>(ShardPlan.of(specs, "model", shardBytes, spelling.metadata()).sizes());
    files.put("config.json", bytes(Output.config(model, plan, spelling)));
    files.put(
        "README.md",
        bytes(
            ModelCard.of(
                source,
                plan.summary(),
                format,
                plan.recipeText(),
                Version.TEXT,
                CompressionRun.hashes(model))));
    for (Path companion : source.companions()) {
      files.put(source.folder().relativize(companion).toString(), size(companion));
    }
    spelling.files().forEach((name, json) -> files.put(name, bytes(Output.pretty(json))));
    return files;
  }

  /** Returns the size of the whole output but for {@link #NOT_COUNTED}. */
  public long totalBytes() {
    return files.values().stream().mapToLong(Long::longValue).sum();
  }

  private static long bytes(String text) {
    return text.getBytes(StandardCharsets.UTF_8).length;
  }

  private static long size(Path file) {
    try {
      return Files.size(file);
    } catch (IOException e) {
      throw EspalierException.input(file + ": cannot be read", "Check the path.");
    }
  }
}
