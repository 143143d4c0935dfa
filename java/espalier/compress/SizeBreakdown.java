// SPDX-License-Identifier: Apache-2.0
package espalier.compress;

import espalier.checkpoint.Checkpoint;
import espalier.checkpoint.TensorSpec;
import espalier.model.Model;
import espalier.report.EspalierException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** Where the bytes of a checkpoint lie, before and after: read off the headers of both. */
final class SizeBreakdown {
  /** Parts a stored tensor may belong to, in the order reports show them. */
  private static final List<String> PARTS =
      List.of("compressed linears", "linears left alone", "embeddings and tables", "vectors");

  private SizeBreakdown() {}

  /**
   * Returns bytes as {@code parts} (part, before, after), and {@code total}: the weight files with
   * their headers.
   */
  static Map<String, Object> of(Model model, Plan plan, Path written) {
    Map<String, String> modules = new HashMap<>();
    OutputFormat first = plan.formats().get(0);
    for (PlannedLinear planned : plan.linears()) {
      modules.put(
          model.storedName(planned.name()), PARTS.get(plan.respells(planned, first) ? 0 : 1));
    }
    try (Checkpoint after = Checkpoint.open(written)) {
      Map<String, Long> old = parts(model.checkpoint(), modules);
      Map<String, Long> now = parts(after, modules);
      List<Map<String, Object>> rows =
          PARTS.stream()
              .filter(part -> old.containsKey(part) || now.containsKey(part))
              .map(part -> row(part, old.getOrDefault(part, 0L), now.getOrDefault(part, 0L)))
              .toList();
      Map<String, Object> size = new LinkedHashMap<>();
      size.put("before_bytes", fileBytes(model.checkpoint()));
      size.put("after_bytes", fileBytes(after));
      size.put("parts", rows);
      return size;
    }
  }

  private static Map<String, Object> row(String part, long before, long after) {
    Map<String, Object> row = new LinkedHashMap<>();
    row.put("part", part);
    row.put("before_bytes", before);
    row.put("after_bytes", after);
    return row;
  }

  private static Map<String, Long> parts(Checkpoint checkpoint, Map<String, String> modules) {
    Map<String, Long> bytes = new HashMap<>();
    for (String name : checkpoint.names()) {
      TensorSpec spec = checkpoint.spec(name).orElseThrow();
      String part = modules.get(name.substring(0, Math.max(0, name.lastIndexOf('.'))));
      if (part == null) {
        part = PARTS.get(spec.shape().rank() > 1 ? 2 : 3);
      }
      bytes.merge(part, spec.dtype().bytes(spec.shape().elements()), Long::sum);
    }
    return bytes;
  }

  private static long fileBytes(Checkpoint checkpoint) {
    long bytes = 0;
    for (Path file : checkpoint.weightFiles()) {
      try {
        bytes += Files.size(file);
      } catch (IOException e) {
        throw EspalierException.input(file + ": cannot be read again", "Check the file.");
      }
    }
    return bytes;
  }
}
