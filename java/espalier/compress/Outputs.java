// SPDX-License-Identifier: Apache-2.0
package espalier.compress;

import espalier.layer.Linear;
import espalier.model.Model;
import espalier.report.Report;
import espalier.tensor.Context;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Function;

/**
 * The folders a run leaves, one a format, filled from the same solve: OUT itself when there is one
 * format, else OUT/FORMAT for each. All are complete and checked before the first gets its name.
 */
final class Outputs implements Compression.Sink, AutoCloseable {
  private final List<Output> outputs = new ArrayList<>();
  private final Path parent; // of several; null for one

  /** Claims every folder; refuses one that exists or cannot be written. */
  Outputs(Context context, Model model, Plan plan, Report report, Path folder, long shardBytes) {
    parent = plan.formats().size() > 1 ? folder : null;
    try {
      for (OutputFormat format : plan.formats()) {
        Path own = parent == null ? folder : parent.resolve(format.text());
        outputs.add(new Output(context, model, plan, format, report, own, shardBytes));
      }
    } catch (RuntimeException e) {
      close();
      throw e;
    }
  }

  @Override
  public void accept(String name, Linear linear) {
    outputs.forEach(output -> output.accept(name, linear));
  }

  /** Writes everything else, with the card of each format; nothing is published yet. */
  void complete(Function<OutputFormat, String> card) {
    outputs.forEach(output -> output.complete(card.apply(output.format())));
  }

  /** Returns the folders that hold the finished files until they are published. */
  List<Path> sealed() {
    return outputs.stream().map(Output::sealed).toList();
  }

  /** Adds the report to every folder and gives it its name. */
  void publish() {
    outputs.forEach(Output::publish);
  }

  @Override
  public void close() {
    outputs.forEach(Output::close);
    if (parent != null && Files.isDirectory(parent)) {
      try (var left = Files.list(parent)) {
        if (left.findAny().isEmpty()) {
          Files.delete(parent);
        }
      } catch (IOException e) {
        // An empty folder that cannot be removed harms nobody; the fault being reported matters.
      }
    }
  }
}
