// SPDX-License-Identifier: Apache-2.0
package espalier.recipe;

import espalier.recipe.QuantizationArgs.Actorder;
import espalier.recipe.QuantizationArgs.Dynamic;
import espalier.recipe.QuantizationArgs.Strategy;
import espalier.recipe.QuantizationArgs.Type;
import espalier.report.Event;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/** Reads one map of quantization arguments and checks that its fields agree. */
final class ArgsReader {
  /** What the arguments describe; it decides defaults and what is allowed. */
  enum Role {
    WEIGHTS,
    INPUTS,
    OUTPUTS,
    CACHE
  }

  private static final int MIN_BITS = 2;

  /** No weight format of ours or of others stores wider codes. */
  private static final int MAX_BITS = 8;

  private static final String[] DTYPES = {
    "float64",
    "float32",
    "float16",
    "bfloat16",
    "half",
    "float",
    "double",
    "float8_e4m3fn",
    "float8_e4m3fnuz",
    "float8_e5m2",
    "float8_e5m2fnuz",
    "float8_e8m0fnu",
    "int8",
    "int16",
    "int32",
    "int64",
    "uint8",
    "uint16",
    "uint32",
    "uint64"
  };

  private static final String[] STRATEGIES =
      Arrays.stream(Strategy.values()).map(Strategy::text).toArray(String[]::new);

  private final Options options;
  private final Role role;

  private ArgsReader(Options options, Role role) {
    this.options = options;
    this.role = role;
  }

  /** Returns the arguments under {@code field}, or null if the field is absent or null. */
  static QuantizationArgs read(Options outer, String field, Role role) {
    Options inner = outer.map(field);
    return inner == null ? null : new ArgsReader(inner, role).read();
  }

  private QuantizationArgs read() {
    int bits = options.integer("num_bits", MAX_BITS);
    Type type = type();
    boolean symmetric = options.flag("symmetric", true);
    Integer groupSize = options.integerOrNull("group_size", null);
    List<Integer> blocks = blockStructure();
    Dynamic dynamic = dynamic();
    Strategy strategy = strategy(groupSize);
    Actorder actorder = actorder(options, "actorder");
    String scaleDtype = dtype("scale_dtype");
    String zeroPointDtype = dtype("zp_dtype");
    String observer = Observers.read(options, "observer");
    Map<String, Object> kwargs = plainMap("observer_kwargs");
    options.finish();

    checkBits(bits, type);
    checkShape(groupSize, strategy, blocks);
    checkDynamic(dynamic, strategy);
    if (role == Role.INPUTS && (strategy == Strategy.CHANNEL || strategy == Strategy.BLOCK)) {
      throw options.error(
          options.given("strategy") ? "strategy" : "group_size",
          "input activations cannot use strategy " + strategy.text());
    }
    if (role != Role.WEIGHTS && actorder != null) {
      throw options.error("actorder", "only weights have an activation order");
    }
    return new QuantizationArgs(
        bits,
        type,
        symmetric,
        groupSize,
        strategy,
        blocks,
        dynamic,
        actorder,
        scaleDtype,
        zeroPointDtype,
        observer == null ? standardObserver(dynamic) : observer,
        kwargs);
  }

  private String standardObserver(Dynamic dynamic) {
    return switch (role) {
      case WEIGHTS -> Observers.MEMORYLESS;
      case CACHE -> null;
      case INPUTS, OUTPUTS -> dynamic == Dynamic.YES ? null : Observers.RUNNING;
    };
  }

  private Type type() {
    String word = options.word("type", Type.INT.text(), true, "int", "float");
    if (word == null) {
      throw options.error("type", "int or float is wanted, nothing was given");
    }
    return word.equals("int") ? Type.INT : Type.FLOAT;
  }

  private Strategy strategy(Integer groupSize) {
    String word = options.word("strategy", null, true, STRATEGIES);
    if (word != null) {
      return Strategy.valueOf(word.toUpperCase(Locale.ROOT));
    }
    if (groupSize == null) {
      return Strategy.TENSOR;
    }
    return groupSize == -1 ? Strategy.CHANNEL : Strategy.GROUP;
  }

  /** Reads an activation order: canonical names, their aliases, and false for none. */
  static Actorder actorder(Options options, String field) {
    if (!options.has(field)) {
      return null;
    }
    if (!options.isText(field)) {
      if (!options.flag(field, false)) {
        return null;
      }
      throw options.error(field, "true is no activation order; write weight, group or null");
    }
    String word = options.word(field, null, false, "weight", "static", "group", "dynamic", "null");
    switch (word) {
      case "null":
        throw options.error(field, "null in quotes is text; write null without them");
      case "weight":
      case "static":
        return Actorder.WEIGHT;
      default:
        options.note(
            Event.Severity.WARNING,
            "deprecated-field",
            field,
            word + " is read as older versions did: groups along the order of importance");
        return Actorder.GROUP;
    }
  }

  private Dynamic dynamic() {
    if (options.isText("dynamic") && options.written("dynamic", "").equalsIgnoreCase("local")) {
      return Dynamic.LOCAL;
    }
    return options.flag("dynamic", false) ? Dynamic.YES : Dynamic.NO;
  }

  private List<Integer> blockStructure() {
    String field = "block_structure";
    if (!options.has(field)) {
      return null;
    }
    List<Integer> sizes;
    if (options.isList(field)) {
      List<Double> numbers = options.numbers(field, List.of());
      if (numbers.stream().anyMatch(n -> n != Math.rint(n) || Math.abs(n) > Integer.MAX_VALUE)) {
        throw options.error(field, "whole numbers are wanted");
      }
      sizes = numbers.stream().map(Double::intValue).toList();
    } else {
      String text = options.text(field, null).strip();
      if (!text.matches("[0-9]{1,9}[xX][0-9]{1,9}")) {
        throw options.error(field, "[rows, columns] or ROWSxCOLUMNS is wanted");
      }
      sizes = Arrays.stream(text.split("[xX]")).map(Integer::valueOf).toList();
    }
    if (sizes.size() != 2 || sizes.get(0) < 1 || sizes.get(1) < 1) {
      throw options.error(field, "two positive numbers are wanted: rows and columns");
    }
    return sizes;
  }

  private String dtype(String field) {
    String written = options.text(field, null);
    if (written == null) {
      return null;
    }
    String name = written.startsWith("torch.") ? written.substring("torch.".length()) : written;
    if (!Arrays.asList(DTYPES).contains(name)) {
      String nearest = RecipeError.didYouMean(Nearest.of(name, Arrays.asList(DTYPES)));
      throw options.error(field, "no dtype is named " + written + nearest);
    }
    return name;
  }

  private Map<String, Object> plainMap(String field) {
    Options map = options.map(field);
    Map<String, Object> values = new LinkedHashMap<>();
    if (map != null) {
      map.keys().forEach(key -> values.put(key, map.plain(key)));
      map.finish();
    }
    return values;
  }

  private void checkBits(int bits, Type type) {
    if (bits < MIN_BITS || bits > MAX_BITS) {
      throw options.error("num_bits", bits + " is out of range: 2 to 8 bits can be stored");
    }
    if (type == Type.FLOAT && bits != 8 && bits != 4) {
      throw options.error("num_bits", "floats have 8 or 4 bits, not " + bits);
    }
  }

  private void checkShape(Integer groupSize, Strategy strategy, List<Integer> blocks) {
    String calledForBy = options.given("strategy") ? "strategy" : "group_size";
    if (groupSize != null && groupSize < -1) {
      throw options.error("group_size", "a positive number, or -1 for whole rows, is wanted");
    }
    if (strategy.isGrouped() && groupSize == null) {
      throw options.missing(
          "group_size", calledForBy, "strategy " + strategy.text() + " needs a group_size");
    }
    if (strategy.isGrouped() && groupSize <= 0 || groupSize != null && groupSize == 0) {
      throw options.error(
          "group_size", "strategy " + strategy.text() + " needs a positive group_size");
    }
    if (groupSize != null && groupSize > 0 && !strategy.isGrouped()) {
      throw options.error(
          "group_size",
          "a positive group_size goes with strategy group or tensor_group, not " + strategy.text());
    }
    if (strategy == Strategy.BLOCK && blocks == null) {
      throw options.missing(
          "block_structure", calledForBy, "strategy block needs a block_structure");
    }
    if (strategy != Strategy.BLOCK && blocks != null) {
      throw options.error("block_structure", "only strategy block has a block_structure");
    }
  }

  private void checkDynamic(Dynamic dynamic, Strategy strategy) {
    if (strategy == Strategy.TOKEN && dynamic != Dynamic.YES) {
      throw options.error("strategy", "strategy token needs dynamic: true");
    }
    boolean able =
        strategy == Strategy.TOKEN || strategy == Strategy.TENSOR || strategy.isGrouped();
    if (dynamic != Dynamic.NO && !able) {
      throw options.error(
          "dynamic",
          "strategy "
              + strategy.text()
              + " cannot be dynamic; token, tensor, group and"
              + " tensor_group can");
    }
    if (dynamic == Dynamic.LOCAL && strategy != Strategy.TENSOR_GROUP) {
      throw options.error("dynamic", "dynamic: local needs strategy tensor_group");
    }
  }
}
