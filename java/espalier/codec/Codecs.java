// SPDX-License-Identifier: Apache-2.0
package espalier.codec;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import espalier.checkpoint.Checkpoint;
import espalier.kernel.Convert;
import espalier.layer.Dense;
import espalier.layer.Linear;
import espalier.layer.Scheme;
import espalier.report.EspalierException;
import espalier.tensor.Context;
import espalier.tensor.DType;
import espalier.tensor.Tensor;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.regex.PatternSyntaxException;

/**
 * Reads the linears of one checkpoint, dense or in the spelling its {@code quantization_config}
 * names.
 */
public final class Codecs {
  /** Every spelling of a quantized linear that we read and write. */
  public static final List<LinearCodec> ALL =
      List.of(new PackQuantized(), new IntQuantized(), GptqCodec.V1, GptqCodec.V2, new AwqCodec());

  /** Those that compressed-tensors has, told apart by the names of their tensors. */
  private static final List<LinearCodec> COMPRESSED_TENSORS = ALL.subList(0, 2);

  /**
   * What other tools store beside (fp8, bitsandbytes) or instead of (GPTQ, AWQ) a weight that only
   * means something together with it.
   */
  private static final List<String> FOREIGN =
      List.of(
          ".weight_scale",
          ".weight_scale_inv",
          ".weight_scale_2",
          ".scale_weight",
          ".weight.absmax",
          ".SCB",
          ".qweight",
          ".bitmask",
          ".positions");

  /** A config group: which modules, how. */
  private record Group(List<ModulePattern> targets, Scheme scheme, LinearCodec codec) {}

  private final Checkpoint checkpoint;
  private final boolean quantized;
  private final boolean outline;
  private final String configKey;
  private final String place;
  private final ModuleConfig modules; // null unless GPTQ or AWQ
  private final SparseConfig sparse; // null unless in our sparse format
  private final List<LinearReader> codecs;
  private final List<Group> groups = new ArrayList<>();

  private Codecs(
      Checkpoint checkpoint, QuantizationFiles files, SparseConfig sparse, boolean outline) {
    this.checkpoint = checkpoint;
    this.outline = outline;
    this.sparse = sparse;
    this.configKey = sparse == null ? files.declared() : SparseConfig.KEY;
    this.place = files.object().place();
    JsonNode quantization = files.object().json();
    this.modules =
        switch (QuantizationFiles.method(quantization)) {
          case "gptq" -> new GptqConfig(files.object());
          case "awq" -> new AwqConfig(files.object());
          default -> null;
        };
    boolean stated = !quantization.isMissingNode() && !quantization.isNull();
    LinearReader legacy =
        stated && modules == null ? LegacySparse.of(files.object()).orElse(null) : null;
    List<LinearReader> readers = new ArrayList<>();
    if (modules != null) {
      readers.add(modules.codec());
    } else {
      if (sparse != null) {
        readers.add(new SparseCodec(sparse));
      } else if (legacy != null) {
        readers.add(legacy);
      }
      readers.addAll(COMPRESSED_TENSORS);
    }
    this.codecs = List.copyOf(readers);
    if (stated && modules == null) {
      readGroups(quantization);
    }
    this.quantized = sparse != null || modules != null || legacy != null || !groups.isEmpty();
  }

  /**
   * Reads {@code quantization_config} of a config, or the file beside it that stands for it.
   *
   * @throws EspalierException (INPUT) when it is malformed or contradicts the file beside it;
   *     (UNSUPPORTED) when the checkpoint is quantized in a way we cannot read
   */
  public static Codecs of(Checkpoint checkpoint, ObjectNode config) {
    return of(checkpoint, config, false);
  }

  /**
   * Does the same for a model that will not compute.
   *
   * @param outline whether dense weights and biases keep their stored type, so that no data is read
   */
  public static Codecs of(Checkpoint checkpoint, ObjectNode config, boolean outline) {
    SparseConfig sparse = SparseConfig.of(checkpoint, config).orElse(null);
    return new Codecs(checkpoint, QuantizationFiles.of(checkpoint, config), sparse, outline);
  }

  /** Finds a codec of compressed-tensors by the name of its format. */
  public static Optional<LinearCodec> named(String format) {
    return COMPRESSED_TENSORS.stream().filter(codec -> codec.format().equals(format)).findFirst();
  }

  /** Returns whether the checkpoint says that it is quantized, or stored without its zeros. */
  public boolean quantized() {
    return quantized;
  }

  /** Returns the field of config.json that says so, or the name of the file beside it. */
  public String configKey() {
    return configKey;
  }

  private void readGroups(JsonNode quantization) {
    String method = quantization.path("quant_method").asText("");
    if (!method.equals("compressed-tensors")) {
      throw unsupported("quant_method \"" + method + "\"");
    }
    String global = quantization.path("format").asText("");
    for (var entry : quantization.path("config_groups").properties()) {
      JsonNode group = entry.getValue();
      String where = "config_groups." + entry.getKey();
      JsonNode weights = group.path("weights");
      String stated = group.path("format").asText(global);
      // One layout under two names, the other being that of weights alone.
      String format = stated.equals("naive-quantized") ? "int-quantized" : stated;
      LinearCodec codec =
          named(format).orElseThrow(() -> unsupported(where + " of format \"" + format + "\""));
      if (!weights.path("type").asText("int").equals("int")) {
        throw unsupported(where + ".weights.type \"" + weights.path("type").asText() + "\"");
      }
      Scheme scheme = ActivationArgs.apply(scheme(where, weights), group, where, this::unsupported);
      groups.add(new Group(patterns(where, group.path("targets")), scheme, codec));
    }
  }

  private List<ModulePattern> patterns(String where, JsonNode targets) {
    List<ModulePattern> patterns = new ArrayList<>();
    for (JsonNode target : targets) {
      try {
        patterns.add(ModulePattern.of(target.asText()));
      } catch (PatternSyntaxException e) {
        throw EspalierException.input(
            config() + where + ".targets: " + target + " is no regular expression",
            "Correct the file.");
      }
    }
    return patterns;
  }

  private Scheme scheme(String where, JsonNode weights) {
    int bits = weights.path("num_bits").asInt(8);
    int size = weights.path("group_size").asInt(-1);
    String strategy = weights.path("strategy").asText(size > 0 ? "group" : "channel");
    if (bits < 2 || bits > 8) {
      throw unsupported(where + ".weights.num_bits " + bits);
    }
    return switch (strategy) {
      // One scale for the whole matrix is decoded as the same scale for every row.
      case "channel", "tensor" -> new Scheme(bits, weights.path("symmetric").asBoolean(true), 0);
      case "group" -> {
        if (size <= 0) {
          throw EspalierException.input(
              config() + where + ".weights: strategy group needs a group_size",
              "State the group_size the weights were packed with.");
        }
        yield new Scheme(bits, weights.path("symmetric").asBoolean(true), size);
      }
      default -> throw unsupported(where + ".weights.strategy \"" + strategy + "\"");
    };
  }

  private String config() {
    return place;
  }

  private EspalierException unsupported(String what) {
    return EspalierException.unsupported(
        config() + what + " cannot be read by this version",
        "Use a gptq, AWQ GEMM, compressed-tensors pack-quantized or int-quantized, or a dense"
            + " checkpoint.");
  }

  /**
   * Returns a tensor that belongs to a quantized spelling of this module which nothing here reads:
   * then the stored weight, if there is one, is not the weight.
   */
  public Optional<String> unreadSpelling(String module) {
    if (spells(module)) {
      return Optional.empty();
    }
    return FOREIGN.stream()
        .map(suffix -> module + suffix)
        .filter(name -> checkpoint.find(name).isPresent())
        .findFirst();
  }

  /** Returns whether the checkpoint holds a weight for the module, in any spelling we know. */
  public boolean has(String module) {
    return checkpoint.find(module + ".weight").isPresent() || spells(module);
  }

  /** Returns whether the checkpoint holds the module in a quantized spelling we know. */
  public boolean spells(String module) {
    return codecs.stream().anyMatch(codec -> codec.accepts(checkpoint, module));
  }

  /**
   * Reads a linear with its bias, if it has one. New tensors belong to the context's current scope.
   *
   * @param inOut whether a dense matrix is stored [in, out]; quantized forms are always [out, in]
   * @throws EspalierException (INPUT) naming the missing tensor
   */
  public Linear read(Context context, String module, boolean inOut) {
    Tensor bias =
        checkpoint.find(module + ".bias").map(stored -> widened(context, stored)).orElse(null);
    for (LinearReader codec : codecs) {
      if (codec.accepts(checkpoint, module)) {
        return codec.decode(context, checkpoint, module, schemeOf(module, codec), bias);
      }
    }
    Tensor weight = checkpoint.get(module + ".weight");
    if (weight.shape().rank() != 2) {
      throw EspalierException.input(
          checkpoint.folder() + ": " + module + ".weight is " + weight + ", expected a matrix",
          "Check that the weights belong to this config.json.");
    }
    boolean direct =
        switch (weight.dtype()) {
          case F32, F16, BF16 -> true;
          default -> false;
        };
    return new Dense(direct ? weight : widened(context, weight), inOut, bias);
  }

  private Tensor widened(Context context, Tensor stored) {
    return stored.dtype() == DType.F32 || outline ? stored : Convert.toFloat(context, stored);
  }

  private Scheme schemeOf(String module, LinearReader codec) {
    if (modules != null) {
      return modules.scheme(module);
    }
    if (sparse != null) {
      return sparse.module(module).scheme();
    }
    Group best = null;
    int specificity = 0;
    for (Group group : groups) {
      for (ModulePattern target : group.targets()) {
        int match = target.match(module, "Linear");
        if (match > specificity) {
          specificity = match;
          best = group;
        }
      }
    }
    if (codec instanceof LegacySparse) {
      return best == null ? null : best.scheme(); // sparse on top of what the group says
    }
    if (best == null || best.codec() != codec) {
      throw EspalierException.input(
          config() + "config_groups: no group describes " + module + ", which is packed",
          "Check that config.json belongs to these weights.");
    }
    return best.scheme();
  }

  /** Returns the names of the tensors that {@link #read} uses for a module. */
  public List<String> tensorNames(String module) {
    Set<String> names = new LinkedHashSet<>();
    for (LinearReader codec : codecs) {
      names.addAll(codec.names(checkpoint, module));
    }
    for (String suffix : List.of(".weight", ".bias")) {
      if (checkpoint.find(module + suffix).isPresent()) {
        names.add(module + suffix);
      }
    }
    return List.copyOf(names);
  }

  /**
   * Returns the parameters of the model, from headers and shape tensors alone: every weight behind
   * packed codes counts as one; scales, zero points and indices do not count.
   *
   * @throws EspalierException (INPUT) when a packed module is not described
   */
  public long parameters() {
    Set<String> counted = new HashSet<>();
    long sum = 0;
    for (String name : checkpoint.names()) {
      int dot = name.lastIndexOf('.');
      String module = dot < 0 ? "" : name.substring(0, dot);
      for (LinearReader codec : codecs) {
        if (codec.accepts(checkpoint, module) && counted.add(module)) {
          sum += codec.weights(checkpoint, module, schemeOf(module, codec));
          counted.addAll(codec.names(checkpoint, module));
        }
      }
      sum += counted.contains(name) ? 0 : checkpoint.spec(name).orElseThrow().shape().elements();
    }
    return sum;
  }
}
