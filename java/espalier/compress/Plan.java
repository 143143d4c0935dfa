// SPDX-License-Identifier: Apache-2.0
package espalier.compress;

import espalier.codec.ModulePattern;
import espalier.codec.SparseConfig;
import espalier.codec.SparseLayout;
import espalier.kernel.Quantize;
import espalier.layer.Dense;
import espalier.layer.Linear;
import espalier.layer.Scheme;
import espalier.model.Model;
import espalier.recipe.Modifier;
import espalier.recipe.QuantizationArgs;
import espalier.recipe.Recipe;
import espalier.recipe.SchemeGroup;
import espalier.recipe.Targets;
import espalier.recipe.Targets.Assignment;
import espalier.report.EspalierException;
import espalier.report.Event;
import espalier.tensor.Context;
import espalier.tensor.DType;
import java.util.ArrayList;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.TreeSet;

/**
 * A recipe applied to a model: what will happen to every linear. Every fault of the request is
 * raised here, before anything is computed or written.
 */
public final class Plan {
  /** The output head's module name. */
  static final String HEAD = "lm_head";

  private final Map<String, PlannedLinear> linears;
  private final Map<Scheme, List<String>> targets;
  private final Spellings spellings;
  private final List<String> ignored;
  private final List<Event> events;
  private final List<OutputFormat> formats;
  private final String recipeText;
  private final Map<String, SparseLayout> sparse;
  private final boolean followsDense;

  private Plan(
      Map<String, PlannedLinear> linears,
      Map<Scheme, List<String>> targets,
      Spellings spellings,
      List<String> ignored,
      List<Event> events,
      List<OutputFormat> formats,
      String recipeText,
      Map<String, SparseLayout> sparse,
      boolean followsDense) {
    this.linears = linears;
    this.targets = targets;
    this.spellings = spellings;
    this.ignored = ignored;
    this.events = events;
    this.formats = formats;
    this.recipeText = recipeText;
    this.sparse = sparse;
    this.followsDense = followsDense;
  }

  /**
   * Resolves a recipe over a model. Reads headers alone, unless a sparse output has to know of the
   * zeros in the source.
   *
   * @param recipeText the recipe as the user would write it, for report and card
   * @throws EspalierException (USAGE) for what the recipe gets wrong about this model,
   *     (UNSUPPORTED) for what this version cannot do, (INPUT) when the model is quantized already
   */
  public static Plan of(Model model, Recipe recipe, List<OutputFormat> formats, String recipeText) {
    if (model.codecs().quantized()) {
      throw EspalierException.input(
          model.checkpoint().folder()
              + (model.codecs().configKey().equals(SparseConfig.KEY)
                  ? " is already stored without its zeros (it has a "
                  : " is already quantized (it has a ")
              + model.codecs().configKey()
              + ")",
          "Give the dense checkpoint it was made from; quantizing twice loses quality unseen.");
    }
    Targets.Resolution resolution = Targets.resolve(recipe, Modules.of(model));
    List<Event> events = new ArrayList<>(recipe.notes());
    events.addAll(resolution.notes());
    Map<String, PlannedLinear> linears = new LinkedHashMap<>();
    Map<SchemeGroup, Scheme> used = new LinkedHashMap<>();
    IndivisibleGroups.refuse(recipe, model.linears(), resolution);
    resolution.check();
    if (!resolution.attention().isEmpty()) {
      throw EspalierException.unsupported(
          "quantization of attention or of the key-value cache is not built yet",
          "Leave kv_cache_scheme and attention targets out.");
    }
    for (String name : resolution.assigned().keySet()) {
      if (!model.linears().containsKey(name)) {
        throw EspalierException.unsupported(
            name
                + (name.equals(HEAD)
                    ? " shares its weights with the embedding and cannot be quantized on its own"
                    : " is not a linear of its own and cannot be quantized yet"),
            "Add it to the recipe's ignore list.");
      }
    }
    PruningPlan pruning =
        new PruningPlan(recipe, model, Modules.of(model), resolution.assigned(), events);
    model
        .linears()
        .forEach(
            (name, linear) ->
                linears.put(
                    name, pruned(plan(name, linear, resolution, used, events), linear, pruning)));
    if (formats.contains(OutputFormat.SPARSE)) {
      settle(model, linears);
    }
    Spellings spellings = Spellings.of(used);
    Map<String, SparseLayout> sparse =
        formats.contains(OutputFormat.SPARSE)
            ? SparsePlan.of(model, linears.values(), spellings, formats, events)
            : Map.of();
    if (recipe.modifiers().isEmpty() && sparse.isEmpty()) {
      throw EspalierException.usage(
          "no linear of this model has so many zeros that it is smaller without them",
          "Prune it first; espalier inspect MODEL --density counts zeros.");
    }
    if (sparse.isEmpty() && linears.values().stream().noneMatch(PlannedLinear::isCompressed)) {
      throw EspalierException.usage(
          "the recipe compresses nothing in this model", "Check its targets and ignore lists.");
    }
    if (formats.contains(OutputFormat.COMPRESSED_TENSORS)) {
      warnOfConv1d(model, linears, events);
    } else if (!formats.contains(OutputFormat.SPARSE)) {
      Activation.warnOfDense(linears.values(), events);
    }
    boolean follows = recipe.extension().followDense();
    if (follows && !usesHessians(linears.values())) {
      events.add(
          Event.warning(
              "nothing-follows",
              "follow_dense",
              "changes nothing: no method of this recipe solves with a Hessian"));
    }
    Plan plan =
        new Plan(
            linears,
            targets(linears, used),
            spellings,
            ignored(model, resolution, linears),
            List.copyOf(events),
            List.copyOf(formats),
            recipeText,
            sparse,
            follows);
    plan.refuseMisfits(model);
    return plan;
  }

  /** Finds out now which linears are pruned already: their zeros decide how they are laid out. */
  private static void settle(Model model, Map<String, PlannedLinear> linears) {
    try (Context context = Context.cpu(1)) {
      linears.replaceAll(
          (name, planned) ->
              planned.isCompressed()
                  ? planned.with(planned.method().onto(model.linears().get(name), context))
                  : planned);
    }
  }

  /** compressed-tensors knows Linear modules only, so transformers would start ours at random. */
  private static void warnOfConv1d(
      Model model, Map<String, PlannedLinear> linears, List<Event> events) {
    linears.values().stream()
        .filter(PlannedLinear::isQuantized)
        .map(PlannedLinear::name)
        .filter(name -> model.linears().get(name) instanceof Dense dense && dense.inOut())
        .findFirst()
        .ifPresent(
            name ->
                events.add(
                    Event.warning(
                        "conv1d-packed",
                        name,
                        "transformers cannot read packed Conv1D layers (GPT-2) and would start them"
                            + " at random; use --format dense for it")));
  }

  /** Every format must hold the one result exactly: no format rounds again. */
  private void refuseMisfits(Model model) {
    for (PlannedLinear planned : linears.values()) {
      if (!planned.isQuantized()) {
        continue;
      }
      if (formats.stream().anyMatch(OutputFormat::isGptq)) {
        GptqSpelling.require(planned);
      }
      boolean narrow =
          planned.scheme() != null
              && model.linears().get(planned.name()) instanceof Dense dense
              && dense.matrix().dtype() != DType.F32;
      if (narrow && formats.size() > 1 && formats.contains(OutputFormat.DENSE)) {
        throw EspalierException.usage(
            "the dense format of a 16-bit model rounds the quantized weights once more, so that it"
                + " is another model than the packed formats",
            "Write --format dense in a run of its own.");
      }
    }
  }

  private static PlannedLinear plan(
      String name,
      Linear linear,
      Targets.Resolution resolution,
      Map<SchemeGroup, Scheme> used,
      List<Event> events) {
    long out = linear.outFeatures();
    long in = linear.inFeatures();
    Assignment assignment = resolution.assigned().get(name);
    if (assignment == null) {
      return PlannedLinear.untouched(
          name, out, in, resolution.ignored().contains(name) ? "ignored" : "not targeted");
    }
    QuantizationArgs weights = assignment.group().weights();
    if (weights == null) {
      return PlannedLinear.untouched(name, out, in, "its group has no weights");
    }
    refuseUnbuilt(name, assignment.group());
    if (!(assignment.modifier() instanceof WeightModifier modifier)) {
      throw notBuilt(name, assignment.modifier());
    }
    Scheme scheme = scheme(assignment.group());
    Activation.refuseWidth(name, in, scheme);
    used.put(assignment.group(), scheme);
    LinearMethod method = modifier.method(weights);
    if (method instanceof PruningMethod joint) {
      PruningPlan.check(name, linear, joint.pattern(), events);
    }
    return new PlannedLinear(name, out, in, method, scheme, range(name, weights), null, "");
  }

  /** Puts what prunes a linear before what quantizes it. */
  private static PlannedLinear pruned(PlannedLinear planned, Linear linear, PruningPlan pruning) {
    List<LinearMethod> methods = pruning.of(planned.name());
    if (methods.isEmpty()) {
      return planned;
    }
    return new PlannedLinear(
        planned.name(),
        planned.out(),
        planned.in(),
        Sequence.of(methods, planned.method()),
        planned.scheme(),
        planned.range(),
        pruning.owl(planned.name()),
        "");
  }

  private static EspalierException notBuilt(String name, Modifier modifier) {
    return EspalierException.unsupported(
        name + ": " + modifier.type() + " is not built yet",
        "Use GPTQModifier, QuantizationModifier, or a pruning modifier.");
  }

  private static void refuseUnbuilt(String name, SchemeGroup group) {
    QuantizationArgs weights = group.weights();
    String what =
        !Activation.isBuilt(group)
            ? Activation.describe(group)
            : weights.type() != QuantizationArgs.Type.INT
                ? "float codes (group " + group.name() + ")"
                : switch (weights.strategy()) {
                  case CHANNEL, GROUP -> null;
                  default -> "strategy " + weights.strategy().text();
                };
    if (what == null && weights.actorder() == QuantizationArgs.Actorder.GROUP) {
      what = "actorder group, which needs an index that readers refuse";
    }
    if (what == null && weights.dynamic() != QuantizationArgs.Dynamic.NO) {
      what = "dynamic weights";
    }
    if (what != null) {
      throw EspalierException.unsupported(
          name + ": " + what + ": not built yet",
          "Use integer weights per channel or in groups, such as W4A16 or W8A8.");
    }
  }

  private static Scheme scheme(SchemeGroup group) {
    QuantizationArgs weights = group.weights();
    boolean grouped = weights.strategy() == QuantizationArgs.Strategy.GROUP;
    return new Scheme(
        weights.numBits(),
        weights.symmetric(),
        grouped ? weights.groupSize() : 0,
        Activation.of(group));
  }

  private static Quantize.Range range(String name, QuantizationArgs weights) {
    String observer = weights.observer() == null ? "memoryless_minmax" : weights.observer();
    return switch (observer) {
      case "minmax", "static_minmax", "memoryless_minmax" -> Quantize.Range.MIN_MAX;
      case "mse", "memoryless_mse" ->
          new Quantize.Range(
              (int) number(weights, "grid", Quantize.Range.MSE.grid()),
              number(weights, "maxshrink", Quantize.Range.MSE.shrink()),
              number(weights, "norm", Quantize.Range.MSE.norm()),
              (int) number(weights, "patience", Quantize.Range.MSE.patience()));
      default ->
          throw EspalierException.unsupported(
              name + ": observer " + observer + " is not built yet", "Use minmax or mse.");
    };
  }

  private static double number(QuantizationArgs weights, String key, double standard) {
    return weights.observerOptions().get(key) instanceof Number number
        ? number.doubleValue()
        : standard;
  }

  /**
   * Returns the target entries of every scheme for the written config: the recipe's own when a
   * reader would resolve them to the same layers, else the layers by name.
   */
  private static Map<Scheme, List<String>> targets(
      Map<String, PlannedLinear> linears, Map<SchemeGroup, Scheme> used) {
    Map<Scheme, List<String>> own = new LinkedHashMap<>();
    used.forEach(
        (group, scheme) ->
            own.computeIfAbsent(scheme, s -> new ArrayList<>()).addAll(group.targets()));
    boolean agrees =
        linears.values().stream()
            .filter(PlannedLinear::isQuantized)
            .allMatch(planned -> planned.scheme().equals(firstMatch(own, planned.name())));
    if (agrees) {
      return own;
    }
    Map<Scheme, List<String>> byName = new LinkedHashMap<>();
    linears.values().stream()
        .filter(PlannedLinear::isQuantized)
        .forEach(
            planned ->
                byName
                    .computeIfAbsent(planned.scheme(), s -> new ArrayList<>())
                    .add(planned.name()));
    return byName;
  }

  /** Resolves like compressed-tensors: exact name, then expression, then class. */
  private static Scheme firstMatch(Map<Scheme, List<String>> targets, String name) {
    Scheme best = null;
    int specificity = 0;
    for (Map.Entry<Scheme, List<String>> entry : targets.entrySet()) {
      for (String target : entry.getValue()) {
        int match = ModulePattern.of(target).match(name, "Linear");
        if (match > specificity) {
          specificity = match;
          best = entry.getKey();
        }
      }
    }
    return best;
  }

  /** Every linear that is not quantized, by name: loaders fail over a list that forgets one. */
  private static List<String> ignored(
      Model model, Targets.Resolution resolution, Map<String, PlannedLinear> linears) {
    List<String> names = new ArrayList<>();
    for (PlannedLinear planned : linears.values()) {
      if (!planned.isQuantized()) {
        names.add(planned.name());
      }
    }
    if (model.tied() && !names.contains(HEAD)) {
      names.add(HEAD);
    }
    return List.copyOf(names);
  }

  /** Returns what happens to a linear of the model. */
  PlannedLinear of(String name) {
    PlannedLinear planned = linears.get(name);
    if (planned == null) {
      throw new IllegalArgumentException(name + " is not a linear of the planned model");
    }
    return planned;
  }

  Iterable<PlannedLinear> linears() {
    return linears.values();
  }

  /** Returns target entries by scheme, for the config. */
  Map<Scheme, List<String>> targets() {
    return targets;
  }

  /** Returns how linears of every scheme are spelled. */
  Spellings spellings() {
    return spellings;
  }

  /** Returns the linears that stay dense, for the config. */
  List<String> ignored() {
    return ignored;
  }

  List<Event> events() {
    return events;
  }

  String recipeText() {
    return recipeText;
  }

  /** Returns the formats of the output, at least one. */
  List<OutputFormat> formats() {
    return formats;
  }

  /**
   * Returns the format whose form of the linears the run computes with: the sparse one, else one
   * that holds codes, if there is one.
   */
  OutputFormat computesAs() {
    if (formats.contains(OutputFormat.SPARSE)) {
      return OutputFormat.SPARSE;
    }
    return formats.stream()
        .filter(format -> format != OutputFormat.DENSE)
        .findFirst()
        .orElse(OutputFormat.DENSE);
  }

  /** Returns whether the model computes with dense results: there is no packed format. */
  boolean dense() {
    return formats.equals(List.of(OutputFormat.DENSE));
  }

  /** Returns how a sparse output stores a linear; empty when that is not smaller, or not asked. */
  Optional<SparseLayout> sparse(String name) {
    return Optional.ofNullable(sparse.get(name));
  }

  /** Returns whether any linear is stored without its zeros. */
  boolean isSparse() {
    return !sparse.isEmpty();
  }

  /** Returns whether a linear is written otherwise than it was stored. */
  boolean respells(PlannedLinear planned, OutputFormat format) {
    return planned.isCompressed()
        || (format == OutputFormat.SPARSE && sparse.containsKey(planned.name()));
  }

  /** Returns how many linears are compressed. */
  public long compressed() {
    return linears.values().stream().filter(PlannedLinear::isCompressed).count();
  }

  /** Returns whether any algorithm needs calibration text. */
  public boolean needsCalibration() {
    return linears.values().stream()
        .anyMatch(planned -> planned.isCompressed() && planned.method().needsStatistics());
  }

  /**
   * Returns whether linears that are solved with a Hessian are solved for what the dense model's
   * gave, see {@link Statistics#target}.
   */
  boolean followsDense() {
    return followsDense && usesHessians(linears.values());
  }

  private static boolean usesHessians(Collection<PlannedLinear> linears) {
    return linears.stream()
        .anyMatch(planned -> planned.isCompressed() && planned.method().needsHessian());
  }

  /** Returns whether any linear becomes codes. */
  boolean quantizes() {
    return linears.values().stream().anyMatch(PlannedLinear::isQuantized);
  }

  /** Returns the ways in which sparsity is spread over the blocks; mostly none. */
  List<Owl> owls() {
    return linears.values().stream()
        .map(PlannedLinear::owl)
        .filter(Objects::nonNull)
        .distinct()
        .toList();
  }

  /** Returns the widest input of a linear whose Hessian is needed. */
  long widestInput() {
    return linears.values().stream()
        .filter(planned -> planned.isCompressed() && planned.method().needsHessian())
        .mapToLong(PlannedLinear::in)
        .max()
        .orElse(0);
  }

  /** Returns methods and schemes in a few words. */
  String summary() {
    TreeSet<String> words = new TreeSet<>();
    linears.values().stream()
        .filter(PlannedLinear::isCompressed)
        .forEach(
            planned -> words.add((planned.method().name() + " " + planned.describe()).strip()));
    return String.join(", ", words);
  }
}
