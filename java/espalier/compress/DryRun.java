// SPDX-License-Identifier: Apache-2.0
package espalier.compress;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import espalier.checkpoint.TensorSpec;
import espalier.codec.SparseConfig;
import espalier.codec.SparseLayout;
import espalier.internal.Json;
import espalier.layer.Scheme;
import espalier.model.Model;
import espalier.report.Event;
import espalier.tensor.DType;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Locale;
import java.util.Set;

/**
 * What a run would do and cost, from headers alone: every linear with its method and bits, every
 * tensor that stays as it is and why, peak memory, disk, output size to the byte, time.
 */
public final class DryRun {
  /** Version of the JSON below. */
  private static final int SCHEMA = 1;

  private final Model model;
  private final Plan plan;
  private final Workload work;
  private final MemoryPlan memory;
  private final SizePlan sizes;
  private final TimeEstimate time;
  private final String machine;
  private final List<Row> rows = new ArrayList<>();
  private final List<Kept> kept = new ArrayList<>();
  private final List<Event> events = new ArrayList<>();

  /**
   * A linear that is compressed, or stored without its zeros.
   *
   * @param stored how its zeros are left out, null when they are not
   */
  private record Row(PlannedLinear linear, double bitsPerWeight, SparseLayout stored) {
    String method() {
      return linear.isCompressed() ? linear.method().name() : "none";
    }

    String scheme() {
      String scheme = linear.isCompressed() ? linear.describe() : "";
      return stored == null ? scheme : (scheme + " " + SparseConfig.text(stored.pattern())).strip();
    }
  }

  /** A tensor that stays as it is. */
  private record Kept(TensorSpec tensor, String reason) {}

  /** Puts the parts together; all of them must be of one model and plan. */
  public DryRun(
      Model model,
      Plan plan,
      Workload work,
      MemoryPlan memory,
      SizePlan sizes,
      TimeEstimate time,
      String machine) {
    this.model = model;
    this.plan = plan;
    this.work = work;
    this.memory = memory;
    this.sizes = sizes;
    this.time = time;
    this.machine = machine;
    events.addAll(model.events());
    events.addAll(plan.events());
    events.addAll(memory.events());
    sortTensors();
  }

  private void sortTensors() {
    Set<String> replaced = new HashSet<>();
    Set<String> linears = new HashSet<>();
    for (PlannedLinear planned : plan.linears()) {
      String stored = model.storedName(planned.name()) + ".weight";
      TensorSpec weight = model.checkpoint().spec(stored).orElseThrow();
      linears.add(stored);
      SparseLayout layout = plan.sparse(planned.name()).orElse(null);
      if (layout != null) {
        replaced.add(stored);
        rows.add(new Row(planned, layout.bitsPerWeight(), layout));
      } else if (planned.isCompressed()) {
        replaced.add(stored);
        DType type = DenseSpelling.type(weight.dtype());
        int scaleBits = OutputFormat.scaleType(plan.formats(), type).stored().bits();
        Scheme scheme = planned.scheme();
        double bits =
            plan.dense() || scheme == null
                ? type.bits()
                : scheme.bitsPerWeight(planned.in(), scaleBits);
        rows.add(new Row(planned, bits, null));
      } else {
        kept.add(new Kept(weight, planned.reason()));
      }
    }
    Set<String> unknown = Set.copyOf(model.unknownTensors());
    String embedding = model.storedName(model.family().embedding()) + ".weight";
    for (String name : model.checkpoint().names()) {
      if (!linears.contains(name)) {
        TensorSpec tensor = model.checkpoint().spec(name).orElseThrow();
        kept.add(
            new Kept(
                tensor,
                unknown.contains(name)
                    ? "not part of the model"
                    : name.equals(embedding)
                        ? (model.tied() ? "the embedding, and the head" : "the embedding")
                        : "no linear's weight"));
      }
    }
  }

  /** Returns the size of the output, the report aside. */
  public SizePlan sizes() {
    return sizes;
  }

  /** Returns the memory the run would take. */
  public MemoryPlan memory() {
    return memory;
  }

  /** Returns the time it would take. */
  public TimeEstimate time() {
    return time;
  }

  /** Returns what a user should know beforehand. */
  public List<Event> events() {
    return List.copyOf(events);
  }

  /** Returns everything as JSON. */
  public ObjectNode toJson() {
    ObjectNode root = Json.STRICT.createObjectNode();
    root.put("schema", SCHEMA).put("dry_run", true);
    ArrayNode linears = root.putArray("linears");
    for (Row row : rows) {
      ObjectNode node =
          linears
              .addObject()
              .put("name", row.linear().name())
              .put("out", row.linear().out())
              .put("in", row.linear().in())
              .put("method", row.method())
              .put("scheme", row.scheme())
              .put("bits_per_weight", row.bitsPerWeight());
      if (row.stored() != null) {
        node.put("stored", SparseConfig.text(row.stored().pattern()));
      }
    }
    ArrayNode left = root.putArray("left_alone");
    for (Kept each : kept) {
      left.addObject()
          .put("tensor", each.tensor().name())
          .put("dtype", each.tensor().dtype().name())
          .put("bytes", each.tensor().sizeBytes())
          .put("reason", each.reason());
    }
    root.putObject("calibration")
        .put("texts", work.texts())
        .put("tokens", work.tokens())
        .put("exact", work.exact());
    ObjectNode peak =
        root.putObject("memory")
            .put("peak_bytes", memory.peakBytes())
            .put("peak_at", memory.moment())
            .put("states_spilled", memory.spilled())
            .put("panel_rows", memory.panelRows());
    memory.budget().ifPresent(bytes -> peak.put("budget_bytes", bytes));
    root.putObject("disk")
        .put("temporary_bytes", memory.spilledBytes())
        .put("output_bytes", sizes.totalBytes());
    ObjectNode output = root.putObject("output");
    output.put("bytes", sizes.totalBytes());
    ObjectNode files = output.putObject("files");
    sizes.files().forEach(files::put);
    SizePlan.NOT_COUNTED.forEach(output.putArray("not_counted")::add);
    ObjectNode seconds = root.putObject("time");
    seconds.put("seconds", rounded(time.total()));
    ObjectNode parts = seconds.putObject("parts");
    time.seconds().forEach((part, value) -> parts.put(part, rounded(value)));
    seconds.put("machine", machine).put("disk_measured", false);
    ArrayNode list = root.putArray("events");
    for (Event event : events) {
      list.addObject()
          .put("severity", event.severity().name().toLowerCase(Locale.ROOT))
          .put("kind", event.kind())
          .put("where", event.where())
          .put("message", event.message());
    }
    return root;
  }

  private static double rounded(double seconds) {
    return Math.round(seconds * 100) / 100.0;
  }

  /** Returns everything as lines for a person. */
  public List<String> lines() {
    List<String> lines = new ArrayList<>();
    for (Row row : rows) {
      lines.add(
          String.format(
              Locale.ROOT,
              "%-44s %6d x %-6d %-9s %-30s %6.3f bits",
              row.linear().name(),
              row.linear().out(),
              row.linear().in(),
              row.method(),
              row.scheme(),
              row.bitsPerWeight()));
    }
    lines.add("");
    lines.addAll(leftAlone());
    lines.add("");
    lines.add(
        String.format(
            Locale.ROOT,
            "calibration  %s%d tokens in %d texts",
            work.exact() ? "" : "at most ",
            work.tokens(),
            work.texts()));
    lines.add(
        "memory       "
            + MemoryPlan.megabytes(memory.peakBytes())
            + " at most, in "
            + memory.moment()
            + (memory.budget().isPresent()
                ? " (budget " + MemoryPlan.megabytes(memory.budget().getAsLong()) + ")"
                : ""));
    memory.events().forEach(event -> lines.add("             " + event.message()));
    lines.add(
        "disk         "
            + MemoryPlan.megabytes(sizes.totalBytes())
            + " for the output, "
            + MemoryPlan.megabytes(memory.spilledBytes())
            + " temporary");
    lines.add("output       " + sizes.totalBytes() + " bytes, the report aside");
    sizes
        .files()
        .forEach(
            (name, bytes) ->
                lines.add(String.format(Locale.ROOT, "             %14d  %s", bytes, name)));
    lines.add(
        "time         about "
            + duration(time.total())
            + " ("
            + parts()
            + "); machine "
            + machine
            + "; disks are not measured");
    return lines;
  }

  private String parts() {
    List<String> parts = new ArrayList<>();
    time.seconds().forEach((part, seconds) -> parts.add(part + " " + duration(seconds)));
    return String.join(", ", parts);
  }

  /** Linears by name; of the rest, which are many and small, one line for each reason. */
  private List<String> leftAlone() {
    List<String> lines = new ArrayList<>();
    List<String> reasons = kept.stream().map(Kept::reason).distinct().toList();
    for (String reason : reasons) {
      List<TensorSpec> tensors =
          kept.stream().filter(k -> k.reason().equals(reason)).map(Kept::tensor).toList();
      long bytes = tensors.stream().mapToLong(TensorSpec::sizeBytes).sum();
      String which =
          tensors.size() <= 8
              ? String.join(", ", tensors.stream().map(TensorSpec::name).toList())
              : tensors.size() + " tensors such as " + tensors.get(0).name();
      lines.add(
          String.format(
              Locale.ROOT, "left alone   %s: %s (%s)", reason, which, MemoryPlan.megabytes(bytes)));
    }
    return lines;
  }

  private static String duration(double seconds) {
    if (seconds < 100) {
      return String.format(Locale.ROOT, "%.1f s", seconds);
    }
    long minutes = Math.round(seconds / 60);
    return minutes < 120 ? minutes + " min" : String.format(Locale.ROOT, "%.1f h", seconds / 3600);
  }
}
