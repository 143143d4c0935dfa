// SPDX-License-Identifier: Apache-2.0
package espalier.model;

import espalier.checkpoint.Checkpoint;
import espalier.codec.Codecs;
import espalier.kernel.Convert;
import espalier.layer.Linear;
import espalier.layer.Quantized;
import espalier.layer.Sparse;
import espalier.layer.SparseQuantized;
import espalier.report.EspalierException;
import espalier.report.Event;
import espalier.tensor.Context;
import espalier.tensor.DType;
import espalier.tensor.Shape;
import espalier.tensor.Tensor;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * Takes the weights of one model out of its checkpoint, checks every shape against the config, and
 * keeps account of what was taken. New tensors belong to the context's current scope.
 */
final class StoredWeights implements ModelFamily.Weights {
  private static final Pattern LAYER = Pattern.compile("(?:.*\\.)?(?:layers|h)\\.(\\d{1,9})\\..*");
  private static final int SHOWN = 5;

  private final Context context;
  private final Checkpoint checkpoint;
  private final Codecs codecs;
  private final ModelFamily family;
  private final boolean bare;
  private final boolean outline;
  private final Map<String, Tensor> vectors = new LinkedHashMap<>();
  private final Set<String> taken = new HashSet<>();
  private final List<Event> events = new ArrayList<>();
  private DType stateType;
  private ModelConfig config;
  private RotaryTables rotary;

  /**
   * Creates an empty account.
   *
   * @param outline whether shapes are all that will be asked for: then no data is read, and vectors
   *     stay as they are stored
   */
  StoredWeights(
      Context context, Checkpoint checkpoint, Codecs codecs, ModelFamily family, boolean outline) {
    this.outline = outline;
    this.context = context;
    this.checkpoint = checkpoint;
    this.codecs = codecs;
    this.family = family;
    String embedding = family.embedding() + ".weight";
    this.bare =
        checkpoint.find(embedding).isEmpty()
            && checkpoint.find(embedding.substring(family.prefix().length())).isPresent();
  }

  /** Sets the config that shapes are checked against; before that only {@link #rows} works. */
  void expect(ModelConfig expected) {
    config = expected;
    rotary = expected.rope().map(r -> new RotaryTables(r, expected.contextLength())).orElse(null);
  }

  /** Returns how this checkpoint spells a canonical name: bare ones leave the prefix out. */
  String storedName(String canonical) {
    return bare && canonical.startsWith(family.prefix())
        ? canonical.substring(family.prefix().length())
        : canonical;
  }

  /** Returns the output features of a linear stored [out, in], before the config is known. */
  long rows(String module) {
    String name = storedName(module);
    if (!codecs.has(name)) {
      throw missing(name + ".weight", "which every layer needs");
    }
    return codecs.read(context, name, false).outFeatures();
  }

  /** Returns a table [rows, width] in a type the kernels read. */
  Tensor table(String module, long rows, String rowsField, long width) {
    refuseUnreadSpelling(storedName(module));
    String name = storedName(module) + ".weight";
    Tensor stored =
        checkpoint
            .find(name)
            .orElseThrow(() -> missing(name, "which holds the rows of " + rowsField));
    requireShape(name, stored, rowsField + " and the hidden size", rows, width);
    taken.add(name);
    if (direct(stored.dtype())) {
      return stored;
    }
    requireFloat(name, stored);
    noteWidened(name, stored.dtype());
    return outline ? stored : Convert.toFloat(context, stored);
  }

  /**
   * Loads the norms of a layer, always into memory of our own, so that methods may rescale them.
   */
  void load(List<VectorSpec> specs, String why) {
    for (VectorSpec spec : specs) {
      String name = storedName(spec.name());
      Tensor stored = checkpoint.find(name).orElseThrow(() -> missing(name, why));
      requireShape(name, stored, spec.field(), spec.length());
      requireFloat(name, stored);
      taken.add(name);
      vectors.put(spec.name(), outline ? stored : Convert.toFloat(context, stored));
    }
  }

  /** Returns a linear of the shape the config asks for. */
  Linear linear(LinearSpec spec, String why) {
    String name = storedName(spec.name());
    refuseUnreadSpelling(name);
    if (!codecs.has(name)) {
      throw missing(name + ".weight", why);
    }
    checkpoint
        .find(name + ".weight")
        .filter(stored -> !direct(stored.dtype()) && !codecs.spells(name))
        .ifPresent(
            stored -> {
              requireFloat(name + ".weight", stored);
              noteWidened(name + ".weight", stored.dtype());
            });
    Linear linear = codecs.read(context, name, spec.inOut());
    if (linear.inFeatures() != spec.in() || linear.outFeatures() != spec.out()) {
      throw EspalierException.input(
          String.format(
              "%s: %s maps %d to %d features, config.json asks for %d (%s) to %d (%s)",
              checkpoint.folder(),
              name,
              linear.inFeatures(),
              linear.outFeatures(),
              spec.in(),
              spec.inField(),
              spec.out(),
              spec.outField()),
          "Check that config.json belongs to these weights.");
    }
    taken.addAll(codecs.tensorNames(name));
    return withExpectedBias(spec, name, linear);
  }

  /** A weight whose scales are passed over gives numbers, but not the model's. */
  private void refuseUnreadSpelling(String module) {
    codecs
        .unreadSpelling(module)
        .ifPresent(
            name -> {
              throw EspalierException.unsupported(
                  checkpoint.folder()
                      + ": "
                      + name
                      + " says that "
                      + module
                      + " is quantized, and config.json does not say how to read it",
                  "Use the dense checkpoint, or restore its quantization_config.");
            });
  }

  private Linear withExpectedBias(LinearSpec spec, String name, Linear linear) {
    if (spec.bias()) {
      if (linear.bias() == null) {
        throw missing(name + ".bias", "which the config's biases ask for");
      }
      requireShape(name + ".bias", linear.bias(), spec.outField(), spec.out());
      requireFloat(name + ".bias", checkpoint.get(name + ".bias"));
      return linear;
    }
    if (linear.bias() == null) {
      return linear;
    }
    // The model class has no place for it: transformers and vLLM drop it too, silently.
    taken.remove(name + ".bias");
    events.add(
        Event.warning(
            "unused-bias", name + ".bias", "the config gives this linear no bias; it is ignored"));
    return linear.withoutBias();
  }

  @Override
  public NamedLinears linears(List<LinearSpec> specs) {
    Map<String, Linear> linears = new LinkedHashMap<>();
    for (LinearSpec spec : specs) {
      Linear linear = linear(spec, layersWanted());
      linears.put(spec.name(), linear);
      mergeStateType(spec, linear);
    }
    return new NamedLinears(linears);
  }

  /** Returns the reason to give when a layer's tensor is missing. */
  String layersWanted() {
    return "but config.json asks for " + config.layers() + " layers";
  }

  private void mergeStateType(LinearSpec spec, Linear linear) {
    DType type =
        checkpoint.find(storedName(spec.name()) + ".weight").map(Tensor::dtype).orElse(null);
    if (linear instanceof Quantized quantized) {
      type = quantized.scaleType();
    } else if (linear instanceof SparseQuantized quantized) {
      type = quantized.scaleType();
    } else if (linear instanceof Sparse sparse) {
      type = sparse.type();
    }
    if (type != DType.F16 && type != DType.BF16) {
      type = DType.F32;
    }
    // Two half types have no common one but F32.
    stateType = stateType == null || stateType == type ? type : DType.F32;
  }

  /** Returns the narrowest type that holds every linear's values: F32, F16 or BF16. */
  DType stateType() {
    return stateType;
  }

  @Override
  public Normalization norm(String module, boolean centred) {
    Tensor bias = centred ? vectors.get(module + ".bias") : null;
    return new Normalization(centred, vectors.get(module + ".weight"), bias, config.normEps());
  }

  @Override
  public RotaryTables rotary() {
    return rotary;
  }

  /** Returns the norms' weights and biases by canonical tensor name. */
  Map<String, Tensor> vectors() {
    return vectors;
  }

  /** Returns whether nothing may read data. */
  boolean outline() {
    return outline;
  }

  /** Notes that a tensor is accounted for though nothing reads it. */
  void take(String name) {
    taken.add(name);
  }

  void note(Event event) {
    events.add(event);
  }

  /** Returns the tensors nothing asked for, with an event that names the first of them. */
  List<String> unknown() {
    List<String> unknown =
        checkpoint.names().stream().filter(name -> !taken.contains(name)).toList();
    List<String> leftOver = unknown.stream().filter(this::pastLastLayer).toList();
    List<String> others = unknown.stream().filter(name -> !pastLastLayer(name)).toList();
    if (!leftOver.isEmpty()) {
      events.add(
          Event.warning(
              "leftover-layers",
              checkpoint.folder().toString(),
              "num_hidden_layers is "
                  + config.layers()
                  + "; unused tensors of later layers: "
                  + shown(leftOver)));
    }
    if (!others.isEmpty()) {
      events.add(
          Event.info(
              "unknown-tensors",
              checkpoint.folder().toString(),
              "not part of this model and unused: " + shown(others)));
    }
    return unknown;
  }

  private boolean pastLastLayer(String name) {
    Matcher layer = LAYER.matcher(name);
    return layer.matches() && Integer.parseInt(layer.group(1)) >= config.layers();
  }

  private static String shown(List<String> names) {
    String first = String.join(", ", names.subList(0, Math.min(SHOWN, names.size())));
    return names.size() > SHOWN ? first + " and " + (names.size() - SHOWN) + " more" : first;
  }

  List<Event> events() {
    return events;
  }

  EspalierException missing(String name, String why) {
    return EspalierException.input(
        checkpoint.folder() + ": no tensor " + name + ", " + why,
        "Check that config.json belongs to these weights and that no file is missing.");
  }

  private void requireShape(String name, Tensor stored, String fields, long... dimensions) {
    if (!stored.shape().equals(Shape.of(dimensions))) {
      throw EspalierException.input(
          String.format(
              "%s: %s is %s, config.json asks for %s (%s)",
              checkpoint.folder(), name, stored, Arrays.toString(dimensions), fields),
          "Check that config.json belongs to these weights.");
    }
  }

  private void requireFloat(String name, Tensor stored) {
    if (!stored.dtype().isFloat()) {
      throw EspalierException.unsupported(
          checkpoint.folder() + ": " + name + " is " + stored + ", expected a floating-point type",
          "Use a checkpoint whose quantization_config says how its weights are stored.");
    }
  }

  private void noteWidened(String name, DType type) {
    events.add(Event.info("widened", name, type + " is widened to F32 when the model is opened"));
  }

  private static boolean direct(DType type) {
    return type == DType.F32 || type == DType.F16 || type == DType.BF16;
  }
}
