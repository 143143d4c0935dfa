// SPDX-License-Identifier: Apache-2.0
package espalier.report;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import espalier.internal.Json;
import java.util.EnumMap;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.function.Supplier;

/** Where the seconds of a run went: by phase, and by block where a phase works on one. */
public final class Timings {
  private final long begun = System.nanoTime();
  private final Map<Phase, Double> whole = new EnumMap<>(Phase.class);
  private final Map<String, Map<Phase, Double>> blocks = new LinkedHashMap<>();

  /**
   * Adds to a phase.
   *
   * @param linear full module name of a linear in the block at work, or empty for none
   */
  public void add(Phase phase, String linear, double seconds) {
    whole.merge(phase, seconds, Double::sum);
    if (!linear.isEmpty()) {
      blocks
          .computeIfAbsent(LinearRow.blockOf(linear), name -> new EnumMap<>(Phase.class))
          .merge(phase, seconds, Double::sum);
    }
  }

  /** Runs a body and adds its time, also when it fails. */
  public void run(Phase phase, String linear, Runnable body) {
    get(
        phase,
        linear,
        () -> {
          body.run();
          return null;
        });
  }

  /** Runs a body, adds its time and returns its result. */
  public <T> T get(Phase phase, String linear, Supplier<T> body) {
    long start = System.nanoTime();
    try {
      return body.get();
    } finally {
      add(phase, linear, (System.nanoTime() - start) * 1e-9);
    }
  }

  /** Returns the seconds since the report was begun. */
  public double total() {
    return (System.nanoTime() - begun) * 1e-9;
  }

  /** Returns seconds by phase, by block, and since the report was begun. */
  ObjectNode toJson() {
    ObjectNode root = Json.STRICT.createObjectNode();
    root.put("total_seconds", rounded(total()));
    put(root.putObject("phases"), whole);
    ArrayNode list = root.putArray("blocks");
    blocks.forEach(
        (name, phases) -> {
          ObjectNode block = list.addObject().put("block", name);
          put(block, phases);
        });
    return root;
  }

  private static void put(ObjectNode node, Map<Phase, Double> phases) {
    phases.forEach((phase, seconds) -> node.put(phase.key(), rounded(seconds)));
  }

  /** Microseconds are more than a clock among other processes can tell. */
  private static double rounded(double seconds) {
    return Math.round(seconds * 1e6) / 1e6;
  }
}
