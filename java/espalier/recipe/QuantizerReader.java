// SPDX-License-Identifier: Apache-2.0
package espalier.recipe;

import espalier.recipe.ArgsReader.Role;
import espalier.recipe.QuantizationArgs.Actorder;
import espalier.recipe.QuantizationArgs.Dynamic;
import espalier.recipe.QuantizerOptions.Solver;
import espalier.report.Event;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** Reads the options that quantizers share and resolves them to groups. */
final class QuantizerReader {
  private static final List<String> LINEAR = List.of("Linear");

  /** Fields of a quantizer, which AWQModifier carried too while it quantized by itself. */
  static final List<String> SHARED_FIELDS =
      List.of(
          "config_groups",
          "targets",
          "ignore",
          "scheme",
          "kv_cache_scheme",
          "weight_observer",
          "input_observer",
          "output_observer",
          "observer",
          "bypass_divisibility_checks");

  private static final String[] FORMATS = {
    "dense",
    "pack-quantized",
    "int-quantized",
    "float-quantized",
    "naive-quantized",
    "nvfp4-pack-quantized",
    "mxfp4-pack-quantized",
    "mxfp8-quantized",
    "marlin-24",
    "sparse-bitmask",
    "sparse-24-bitmask"
  };

  private final Options options;

  QuantizerReader(Options options) {
    this.options = options;
  }

  /** Reads the fields of GPTQ, those that were dropped included. */
  Solver solver() {
    int blockSize = options.integer("block_size", 128);
    if (blockSize < 1) {
      throw options.error("block_size", "a positive number of columns is wanted");
    }
    Double dampening = options.numberOrNull("dampening_frac", 0.01);
    if (dampening != null && dampening < 0) {
      throw options.error("dampening_frac", "cannot be negative");
    }
    Actorder actorder =
        options.given("actorder")
            ? ArgsReader.actorder(options, "actorder")
            : Actorder.WEIGHT; // not given means static
    String batched = batched();
    dropped("offload_hessians", "it changed speed and memory only");
    dropped("sequential_targets", "it changed speed and memory only");
    dropped("sequential_update", "it changed speed and memory only");
    dropped("num_calibration_steps", "the number of samples is an option of the run");
    dropped("disable_quantization_observer_epoch", "it belonged to training");
    if (options.has("quantize") && (!options.isScalar("quantize") || !quantize())) {
      throw options.error("quantize", "only true can still be read; leave the field out");
    }
    return new Solver(blockSize, dampening, actorder, batched);
  }

  private boolean quantize() {
    dropped("quantize", "the modifier always quantizes");
    return options.flag("quantize", true);
  }

  private String batched() {
    String field = "batched_quantization";
    if (!options.given(field)) {
      return "auto";
    }
    if (!options.has(field)) {
      return null;
    }
    if (options.isText(field)) {
      return options.word(field, null, false, "auto");
    }
    int layers = options.integer(field, 1);
    if (layers < 1) {
      throw options.error(field, "auto, a positive number or null is wanted");
    }
    return Integer.toString(layers);
  }

  private void dropped(String field, String reason) {
    if (options.given(field)) {
      options.note(
          Event.Severity.WARNING,
          "deprecated-field",
          field,
          "a field of older versions, read and not used: " + reason);
    }
  }

  /**
   * Reads what all quantizers share; {@code solver} may be null, {@code alwaysData} adds a need.
   */
  QuantizerOptions read(Solver solver, boolean alwaysData) {
    commonFields(options);
    List<String> targets = Selector.check(options, "targets", options.texts("targets", LINEAR));
    List<String> ignore = Selector.check(options, "ignore", options.list("ignore", List.of()));
    if (options.has("scheme") && options.has("config_groups")) {
      throw options.errorAtKey("config_groups", "scheme and config_groups exclude each other");
    }
    Map<String, String> observers = observers();
    Map<String, List<String>> schemes = schemes(targets);
    QuantizationArgs cache = ArgsReader.read(options, "kv_cache_scheme", Role.CACHE);
    boolean bypasses = options.flag("bypass_divisibility_checks", false);

    List<SchemeGroup> groups = new ArrayList<>();
    for (SchemeGroup group : groups(schemes, targets)) {
      groups.add(withActorder(observed(group, observers), solver));
    }
    refuseConflicts(groups, schemes);

    boolean configured = options.has("scheme") || options.has("config_groups") || cache != null;
    boolean follows = !configured && targets.equals(LINEAR) && ignore.isEmpty();
    if (follows && !alwaysData) {
      throw options.error(
          "nothing to do: none of scheme, config_groups, kv_cache_scheme, targets and ignore"
              + " is given");
    }
    if (!configured && !follows && !(targets.isEmpty() && ignore.isEmpty())) {
      options.note(
          Event.Severity.WARNING,
          "no-scheme",
          options.has("targets") ? "targets" : "ignore",
          "no scheme is given: what is targeted here loses the scheme of an earlier modifier");
    }
    boolean needsData = alwaysData || cache != null || groups.stream().anyMatch(this::needsData);
    return new QuantizerOptions(
        options.type(),
        options.group(),
        targets,
        ignore,
        schemes,
        List.copyOf(groups),
        cache,
        observers,
        bypasses,
        needsData,
        follows,
        solver);
  }

  /** Reads the fields of every modifier: steps of training and bookkeeping, none of them used. */
  static void commonFields(Options options) {
    if (options.given("group")) {
      throw options.errorAtKey("group", "group is set from the enclosing key and cannot be given");
    }
    options.integerOrNull("index", null);
    options.numberOrNull("start", null);
    options.numberOrNull("end", null);
    options.numberOrNull("update", null);
    if (options.has("requires_calibration_data")) {
      options.flag("requires_calibration_data", false);
    }
  }

  private Map<String, String> observers() {
    Map<String, String> observers = new LinkedHashMap<>();
    for (String part : List.of("weights", "input", "output")) {
      String field = part.equals("weights") ? "weight_observer" : part + "_observer";
      String name = Observers.read(options, field);
      if (name != null) {
        observers.put(part, name);
      }
    }
    if (options.has("observer")) {
      if (!observers.isEmpty()) {
        throw options.error(
            "observer",
            "observer and weight_observer, input_observer, output_observer exclude each other");
      }
      Options map = options.map("observer");
      for (String part : List.of("weights", "input", "output")) {
        String name = Observers.read(map, part);
        if (name != null) {
          observers.put(part, name);
        }
      }
      map.finish();
    }
    return Collections.unmodifiableMap(observers);
  }

  /** Returns the presets as written with their targets. */
  private Map<String, List<String>> schemes(List<String> targets) {
    Map<String, List<String>> schemes = new LinkedHashMap<>();
    if (!options.has("scheme")) {
      return schemes;
    }
    if (options.isScalar("scheme")) {
      String preset = options.text("scheme", null);
      requirePreset(preset, options, "scheme");
      schemes.put(preset, targets);
      return Collections.unmodifiableMap(schemes);
    }
    Options map = options.map("scheme");
    for (String preset : map.keys()) {
      if (List.of("weights", "input_activations", "output_activations").contains(preset)) {
        throw map.errorAtKey(
            preset, "keys of a scheme map are preset names; fields belong into config_groups");
      }
      requirePreset(preset, map, preset);
      schemes.put(preset, Selector.check(map, preset, map.texts(preset, List.of())));
    }
    map.finish();
    return Collections.unmodifiableMap(schemes);
  }

  private void requirePreset(String preset, Options where, String field) {
    if (Presets.find(preset, "", List.of()).isEmpty()) {
      String nearest = RecipeError.didYouMean(Presets.nearest(preset));
      throw where.errorAtKey(field, "no preset scheme is named " + preset + nearest);
    }
  }

  private List<SchemeGroup> groups(Map<String, List<String>> schemes, List<String> targets) {
    List<SchemeGroup> groups = new ArrayList<>();
    for (Map.Entry<String, List<String>> scheme : schemes.entrySet()) {
      String name = "group_" + groups.size();
      groups.add(Presets.find(scheme.getKey(), name, scheme.getValue()).orElseThrow());
    }
    Options map = options.map("config_groups");
    if (map != null) {
      for (String name : map.keys()) {
        groups.add(group(map, name));
      }
      map.finish();
      if (groups.isEmpty()) {
        throw options.error("config_groups", "no group is given");
      }
    } else if (groups.isEmpty()) {
      groups.add(new SchemeGroup("group_0", targets, null, null, null, null));
    }
    return groups;
  }

  private SchemeGroup group(Options map, String name) {
    Options fields = map.map(name);
    if (fields == null) {
      throw map.error(name, "a map with targets is wanted, nothing was given");
    }
    fields.require("targets");
    List<String> targets = Selector.check(fields, "targets", fields.list("targets", List.of()));
    SchemeGroup group =
        new SchemeGroup(
            name,
            targets,
            ArgsReader.read(fields, "weights", Role.WEIGHTS),
            ArgsReader.read(fields, "input_activations", Role.INPUTS),
            ArgsReader.read(fields, "output_activations", Role.OUTPUTS),
            fields.word("format", null, false, FORMATS));
    fields.finish();
    return group;
  }

  private static SchemeGroup observed(SchemeGroup group, Map<String, String> observers) {
    return new SchemeGroup(
        group.name(),
        group.targets(),
        observed(group.weights(), observers.get("weights")),
        observed(group.inputs(), observers.get("input")),
        observed(group.outputs(), observers.get("output")),
        group.format());
  }

  private static QuantizationArgs observed(QuantizationArgs args, String observer) {
    return args == null || observer == null ? args : args.withObserver(observer);
  }

  /**
   * Brings the order of the modifier and of a group together: not given at the modifier, it fills
   * what is null; given, it must agree.
   */
  private SchemeGroup withActorder(SchemeGroup group, Solver solver) {
    if (solver == null || group.weights() == null) {
      return group;
    }
    Actorder own = group.weights().actorder();
    Actorder above = solver.actorder();
    if (own == null) {
      return group.withWeights(group.weights().withActorder(above));
    }
    if (options.given("actorder") && own != above) {
      Options weights = options.map("config_groups").map(group.name()).map("weights");
      throw weights.error(
          "actorder",
          "actorder of modifier ("
              + (above == null ? "null" : above.text())
              + ") and group ("
              + own.text()
              + ") differ");
    }
    return group;
  }

  private void refuseConflicts(List<SchemeGroup> groups, Map<String, List<String>> schemes) {
    Map<String, SchemeGroup> claims = new HashMap<>();
    List<String> presets = List.copyOf(schemes.keySet());
    for (int g = 0; g < groups.size(); g++) {
      SchemeGroup group = groups.get(g);
      for (int i = 0; i < group.targets().size(); i++) {
        SchemeGroup first = claims.putIfAbsent(group.targets().get(i), group);
        if (first == null || first.sameScheme(group)) {
          continue;
        }
        Options place =
            presets.isEmpty()
                ? options.map("config_groups").map(group.name())
                : options.map("scheme");
        String field = presets.isEmpty() ? "targets" : presets.get(g);
        throw place.error(
            place.isList(field) ? field + "[" + i + "]" : field,
            "groups "
                + first.name()
                + " and "
                + group.name()
                + " claim the same target with different schemes");
      }
    }
  }

  private boolean needsData(SchemeGroup group) {
    return group.inputs() != null && group.inputs().needsData()
        || group.outputs() != null && group.outputs().dynamic() == Dynamic.NO
        || group.weights() != null && Observers.needsData(group.weights().observer());
  }
}
