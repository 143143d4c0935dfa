// SPDX-License-Identifier: Apache-2.0
package espalier.recipe;

import espalier.recipe.Reading.Coupling;
import espalier.report.Event;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/** Readers of the modifiers that change a model before it is quantized. */
public final class Transforms {
  private static final String LOG_EQUALIZATION = "log_equalization";
  private static final String[] TRANSFORMS = {"hadamard", "random-hadamard", "random-matrix"};

  private static final Fields SMOOTH =
      Fields.none()
          .share("smoothing_strength", 0.5)
          .with("mappings", Transforms::pairs)
          .with(
              "ignore",
              (options, field) -> Selector.check(options, field, options.list(field, List.of())))
          .integerOrNull("num_calibration_steps")
          .plain("calibration_function");

  private static final Fields AWQ =
      Fields.none()
          .with("mappings", Transforms::namedPairs)
          .with("duo_scaling", Transforms::duoScaling)
          .integer("n_grid", 20, 1)
          .text("offload_device", null)
          .dropped("max_chunk_memory")
          .dropped("sequential_targets");

  private static final Fields ROTATION =
      Fields.none()
          .never("randomize")
          .never("learnable")
          .text("precision", "float64")
          .integerOrNull("transform_block_size")
          .plain("transform_config");

  private Transforms() {}

  /** Reads SmoothQuantModifier. */
  public static Reading smoothQuant(Options options) {
    Map<String, Object> values = SMOOTH.read(options);
    values.put(
        "algorithm",
        options.word("algorithm", "smoothquant", false, "smoothquant", LOG_EQUALIZATION));
    return smooth(options, values);
  }

  /** Reads LogarithmicEqualizationModifier, the older name of SmoothQuant's other algorithm. */
  public static Reading logarithmicEqualization(Options options) {
    Map<String, Object> values = SMOOTH.read(options);
    values.put("algorithm", options.word("algorithm", LOG_EQUALIZATION, false, LOG_EQUALIZATION));
    options.note(
        Event.Severity.WARNING,
        "deprecated-modifier",
        "algorithm",
        "now SmoothQuantModifier with algorithm: log_equalization");
    return smooth(options, values);
  }

  private static Reading smooth(Options options, Map<String, Object> values) {
    for (String step : List.of("start", "end")) {
      Double value = options.numberOrNull(step, null);
      if (value != null && value != 0 && value != -1) {
        throw options.error(step, "smoothing happens once: only null, 0 or -1 is possible");
      }
    }
    List<String> ignore = options.list("ignore", List.of());
    return finish(options, values, List.of(), ignore, true, false);
  }

  /** Reads AWQModifier without the options by which older versions quantized in the same step. */
  public static Reading awq(Options options) {
    Map<String, Object> values = AWQ.read(options);
    values.remove("max_chunk_memory");
    values.remove("sequential_targets");
    return finish(options, values, List.of(), List.of(), true, true);
  }

  /** Reads QuIPModifier. */
  public static Reading quip(Options options) {
    Map<String, Object> values =
        Fields.none()
            .with("rotations", (o, field) -> rotations(o, false, List.of("v"), "v", "u"))
            .word("transform_type", "random-hadamard", TRANSFORMS)
            .entries("targets", List.of("Linear"))
            .entries("ignore", List.of("lm_head"))
            .read(options);
    values.putAll(ROTATION.read(options));
    List<String> targets = options.texts("targets", List.of("Linear"));
    List<String> ignore = options.texts("ignore", List.of("lm_head"));
    return finish(options, values, targets, ignore, false, false);
  }

  /** Reads SpinQuantModifier. */
  public static Reading spinQuant(Options options) {
    Map<String, Object> values =
        Fields.none()
            .with(
                "rotations",
                (o, field) -> rotations(o, true, List.of("R1", "R2"), "R1", "R2", "R3", "R4"))
            .word("transform_type", "hadamard", TRANSFORMS)
            .plain("mappings")
            .plain("norm_mappings")
            .read(options);
    values.putAll(ROTATION.read(options));
    return finish(options, values, List.of(), List.of(), false, false);
  }

  private static Reading finish(
      Options options,
      Map<String, Object> values,
      List<String> targets,
      List<String> ignore,
      boolean data,
      boolean quantizerAfter) {
    QuantizerReader.commonFields(options);
    options.finish();
    return new Reading(
        options.type(), options.group(), values, List.of(), targets, ignore, data, quantizerAfter);
  }

  private static List<String> rotations(
      Options options, boolean upper, List<String> standard, String... known) {
    List<String> names = new ArrayList<>();
    for (String name : options.list("rotations", standard)) {
      String canonical = upper ? name.toUpperCase(Locale.ROOT) : Options.lower(name);
      if (!List.of(known).contains(canonical)) {
        throw options.error(
            "rotations[" + names.size() + "]", name + " is none of " + String.join(", ", known));
      }
      names.add(canonical);
    }
    return names;
  }

  private static Object duoScaling(Options options, String field) {
    return options.isText(field) && options.written(field, "").equalsIgnoreCase("both")
        ? "both"
        : (Object) options.flag(field, true);
  }

  /** Reads SmoothQuant's pairs: a list of balance layers, then one smooth layer. */
  private static List<Coupling> pairs(Options options, String field) {
    if (!options.has(field)) {
      return null;
    }
    if (!(options.plain(field) instanceof List<?> pairs)) {
      throw options.error(field, "a list of pairs is wanted");
    }
    List<Coupling> couplings = new ArrayList<>();
    for (Object pair : pairs) {
      String place = field + "[" + couplings.size() + "]";
      if (!(pair instanceof List<?> two) || two.size() != 2) {
        throw options.error(place, "a pair is [list of balance layers, one smooth layer]");
      }
      if (two.get(0) instanceof String && two.get(1) instanceof List) {
        throw options.error(
            place,
            "a pair is [list of balance layers, one smooth layer]; here they stand the other way"
                + " round");
      }
      List<?> balance = two.get(0) instanceof List<?> list ? list : List.of(two.get(0));
      if (!(two.get(1) instanceof String smooth)
          || balance.isEmpty()
          || !balance.stream().allMatch(String.class::isInstance)) {
        throw options.error(place, "balance layers and smooth layer are text");
      }
      List<String> layers = balance.stream().map(String.class::cast).toList();
      checkEntries(options, place, layers);
      checkEntries(options, place, List.of(smooth));
      couplings.add(new Coupling(layers, smooth, null));
    }
    return List.copyOf(couplings);
  }

  private static void checkEntries(Options options, String place, List<String> texts) {
    Selector.check(options, place, texts);
  }

  /** Reads AWQ's pairs, whose parts are named. */
  private static List<Coupling> namedPairs(Options options, String field) {
    if (!options.has(field)) {
      return null;
    }
    List<Coupling> couplings = new ArrayList<>();
    for (Options pair : options.maps(field)) {
      pair.require("smooth_layer");
      pair.require("balance_layers");
      String smooth = pair.text("smooth_layer", null);
      List<String> balance = pair.list("balance_layers", List.of());
      String hook = pair.text("activation_hook_target", null);
      pair.finish();
      if (balance.isEmpty()) {
        throw pair.error("balance_layers", "at least one layer is wanted");
      }
      Selector.check(pair, "balance_layers", balance);
      Selector.check(pair, "smooth_layer", List.of(smooth));
      couplings.add(new Coupling(balance, smooth, hook));
    }
    return List.copyOf(couplings);
  }
}
