// SPDX-License-Identifier: Apache-2.0
package espalier.shapes;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Locale;
import java.util.Map;

/**
 * Puts what {@code --dry-run} foretold of a compression beside what its report and its folder tell.
 * Run by {@code tests/bench/loop}.
 *
 * <pre>Foretold DRY_RUN.json OUT [RESULT.json]</pre>
 */
public final class Foretold {
  private static final ObjectMapper JSON = new ObjectMapper();

  private Foretold() {}

  public static void main(String[] words) throws IOException {
    JsonNode plan = JSON.readTree(Path.of(words[0]).toFile());
    Path out = Path.of(words[1]);
    JsonNode report = JSON.readTree(out.resolve("espalier-report.json").toFile());
    ObjectNode result = compared(plan, report, out);
    print(result);
    if (words.length > 2) {
      Files.writeString(Path.of(words[2]), result.toPrettyString() + "\n");
    }
  }

  private static ObjectNode compared(JsonNode plan, JsonNode report, Path out) throws IOException {
    ObjectNode root = JSON.createObjectNode();
    root.put("schema", "espalier-loop-1").put("model", report.path("source").asText());
    root.put("cpu_features", report.path("cpu_features").asText());
    root.put("threads", report.path("threads").asInt());
    root.put("calibration_tokens", report.path("calibration_tokens").asLong());
    root.putObject("memory")
        .put("budget_bytes", report.path("memory_budget_bytes").asLong())
        .put("foretold_peak_bytes", plan.path("memory").path("peak_bytes").asLong())
        .put("foretold_at", plan.path("memory").path("peak_at").asText())
        .put("kernel_peak_bytes", report.path("peak_resident_bytes").asLong());
    ObjectNode output = root.putObject("output");
    long foretold = 0;
    long found = 0;
    ObjectNode wrong = JSON.createObjectNode();
    for (Map.Entry<String, JsonNode> file : plan.path("output").path("files").properties()) {
      long size = Files.size(out.resolve(file.getKey()));
      foretold += file.getValue().asLong();
      found += size;
      if (size != file.getValue().asLong()) {
        wrong.put(file.getKey(), size - file.getValue().asLong());
      }
    }
    output.put("foretold_bytes", foretold).put("found_bytes", found).set("differ_by", wrong);
    ObjectNode time = root.putObject("seconds");
    time.set("foretold", plan.path("time"));
    time.set("measured", report.path("time").path("phases"));
    time.put("measured_total", report.path("time").path("total_seconds").asDouble());
    time.set("blocks", report.path("time").path("blocks"));
    return root;
  }

  private static void print(ObjectNode result) {
    JsonNode memory = result.path("memory");
    System.out.printf(
        Locale.ROOT,
        "memory  budget %.2f GB, foretold %.2f GB, counted by the kernel %.2f GB (%.0f %% of the"
            + " budget)%n",
        memory.path("budget_bytes").asLong() / 1e9,
        memory.path("foretold_peak_bytes").asLong() / 1e9,
        memory.path("kernel_peak_bytes").asLong() / 1e9,
        100.0 * memory.path("kernel_peak_bytes").asLong() / memory.path("budget_bytes").asLong());
    JsonNode output = result.path("output");
    System.out.printf(
        Locale.ROOT,
        "output  foretold %d bytes, found %d%n",
        output.path("foretold_bytes").asLong(),
        output.path("found_bytes").asLong());
    JsonNode seconds = result.path("seconds");
    System.out.printf(
        Locale.ROOT,
        "time    foretold %.0f s %s%n        measured %.0f s %s%n",
        seconds.path("foretold").path("seconds").asDouble(),
        seconds.path("foretold").path("parts"),
        seconds.path("measured_total").asDouble(),
        seconds.path("measured"));
    seconds.path("blocks").forEach(block -> System.out.println("        " + block));
  }
}
