// SPDX-License-Identifier: Apache-2.0
package espalier.report;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import espalier.internal.Json;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * The record of one run: facts about it, one row per linear, where the time went, every event.
 * Grows while the run goes; written beside the output as {@code espalier-report.json}, whose shape
 * {@code espalier/report.schema.json} on the class path describes, and as a page for people.
 */
public final class Report {
  /** Version of the JSON below. */
  public static final int SCHEMA = 1;

  private final Map<String, Object> facts = new LinkedHashMap<>();
  private final List<LinearRow> rows = new ArrayList<>();
  private final List<Event> events = new ArrayList<>();
  private final Timings timings = new Timings();
  private final Listener listener;

  /** Creates an empty report whose events are also told to {@code listener}. */
  public Report(Listener listener) {
    this.listener = listener;
  }

  /** Records a fact; values are strings, numbers, booleans, lists and maps of these. */
  public void fact(String name, Object value) {
    facts.put(name, value);
  }

  public void row(LinearRow row) {
    rows.add(row);
  }

  public void event(Event event) {
    events.add(event);
    listener.event(event);
  }

  /** Returns where the time goes, to add to. */
  public Timings timings() {
    return timings;
  }

  /** Returns the facts in the order they became known. */
  public Map<String, Object> facts() {
    return Collections.unmodifiableMap(new LinkedHashMap<>(facts));
  }

  public List<LinearRow> rows() {
    return List.copyOf(rows);
  }

  public List<Event> events() {
    return List.copyOf(events);
  }

  /** Returns the mean relative error of the linears that were compressed, 0 when there are none. */
  public double meanRelativeError() {
    return rows.stream()
        .filter(LinearRow::isCompressed)
        .mapToDouble(LinearRow::relativeError)
        .average()
        .orElse(0);
  }

  private static void fill(ObjectNode node, Sparsity sparsity) {
    node.put("density", sparsity.density());
    node.put("pattern", sparsity.pattern());
    if (sparsity.stored() != null) {
      node.put("stored", sparsity.stored());
    }
    if (!Double.isNaN(sparsity.microseconds())) {
      node.put("token_microseconds", sparsity.microseconds());
      node.put("token_microseconds_dense", sparsity.denseMicroseconds());
    }
  }

  /** Returns the whole report as JSON. */
  public ObjectNode toJson() {
    ObjectNode root = Json.STRICT.createObjectNode();
    root.put("schema", SCHEMA);
    facts.forEach((name, value) -> root.set(name, Json.STRICT.valueToTree(value)));
    root.put("mean_relative_error", meanRelativeError());
    root.set("time", timings.toJson());
    ArrayNode linears = root.putArray("linears");
    for (LinearRow row : rows) {
      ObjectNode node = linears.addObject();
      node.put("name", row.name());
      node.put("method", row.method());
      node.put("scheme", row.scheme());
      if (row.parameters() > 0) {
        node.put("parameters", row.parameters());
      }
      node.put("bits_per_weight", row.bitsPerWeight());
      if (row.isCompressed()) {
        node.put("relative_error", row.relativeError());
        if (!Double.isNaN(row.nearestError())) {
          node.put("relative_error_rtn", row.nearestError());
        }
        node.put("seconds", row.seconds());
        if (row.variant() != null) {
          node.put("variant", row.variant());
        }
      }
      if (row.sparsity() != null) {
        fill(node, row.sparsity());
      }
    }
    ArrayNode list = root.putArray("events");
    for (Event event : events) {
      ObjectNode node = list.addObject();
      node.put("severity", event.severity().name().toLowerCase(java.util.Locale.ROOT));
      node.put("kind", event.kind());
      node.put("where", event.where());
      node.put("message", event.message());
    }
    return root;
  }
}
