// SPDX-License-Identifier: Apache-2.0
package espalier.recipe;

import espalier.report.Event;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** Readers of pruning by magnitude, of kept masks and of experts. */
public final class Pruners {
  private static final Fields MAGNITUDE =
      Fields.none()
          .share("init_sparsity", null)
          .share("final_sparsity", null)
          .text("update_scheduler", "cubic")
          .with(
              "scheduler_args",
              (options, field) -> options.has(field) ? options.plain(field) : Map.of())
          .with("mask_structure", Pruners::structure)
          .with("leave_enabled", Pruners::leaveEnabled)
          .never("apply_globally");

  private Pruners() {}

  /** Reads MagnitudePruningModifier. */
  public static Reading magnitude(Options options) {
    return masked(options, MAGNITUDE);
  }

  /** Reads ConstantPruningModifier. */
  public static Reading constant(Options options) {
    return masked(options, Fields.none());
  }

  private static Reading masked(Options options, Fields fields) {
    Map<String, Object> values = new LinkedHashMap<>();
    for (String step : List.of("start", "end", "update")) {
      values.put(step, options.numberOrNull(step, null));
    }
    options.require("targets");
    List<String> targets = Selector.check(options, "targets", options.texts("targets", List.of()));
    if (targets.contains("__ALL__")) {
      throw options.error(
          "targets", "__ALL__ is not read any more; did you mean __ALL_PRUNABLE__?");
    }
    values.put("targets", targets);
    values.putAll(fields.read(options));
    QuantizerReader.commonFields(options);
    options.finish();
    return new Reading(
        options.type(), options.group(), values, List.of(), targets, List.of(), false, false);
  }

  /** Reads REAPPruningModifier. */
  public static Reading experts(Options options) {
    Map<String, Object> values = new LinkedHashMap<>();
    options.require("sparsity");
    double sparsity = options.has("sparsity") ? options.number("sparsity", 0) : 0.5;
    if (sparsity <= 0 || sparsity >= 1) {
      throw options.error("sparsity", "sparsity must lie strictly between 0 and 1");
    }
    values.put("sparsity", sparsity);
    List<String> ignore = Selector.check(options, "ignore", options.list("ignore", List.of()));
    values.put("ignore", ignore);
    String report = options.text("report_path", null);
    if (report != null && !report.endsWith(".json")) {
      throw options.error("report_path", "a name that ends in .json is wanted");
    }
    values.put("report_path", report);
    QuantizerReader.commonFields(options);
    options.finish();
    return new Reading(
        options.type(), options.group(), values, List.of(), List.of(), ignore, true, false);
  }

  private static String structure(Options options, String field) {
    String text = options.text(field, "unstructured");
    if (text == null
        || !text.matches("unstructured|channel|filter|block_[0-9]+|row|[0-9]+:[0-9]+")) {
      throw options.error(
          field, "unstructured, channel, filter, block_N, or (ours) row or N:M is wanted");
    }
    if (text.contains(":")) {
      PrunerOptions.pattern(options, field, text);
    }
    return text;
  }

  private static boolean leaveEnabled(Options options, String field) {
    if (options.flag(field, false)) {
      options.note(
          Event.Severity.WARNING, "deprecated-field", field, "read as false; masks end with it");
    }
    return false;
  }
}
