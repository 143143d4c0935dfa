// SPDX-License-Identifier: Apache-2.0
package espalier.recipe;

import espalier.recipe.QuantizationArgs.Dynamic;
import espalier.recipe.QuantizationArgs.Strategy;
import espalier.recipe.QuantizationArgs.Type;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;

/** The schemes that have a name. Names are found in any case of letters. */
public final class Presets {
  /** Every preset by name, in the order of a list for people; groups without name and targets. */
  private static final Map<String, SchemeGroup> ALL = all();

  private static final String MX_SCALES = "uint8"; // the exponent of a power of two
  private static final String NV_SCALES = "float8_e4m3fn";

  private Presets() {}

  /** Returns the names in order. */
  public static List<String> names() {
    return List.copyOf(ALL.keySet());
  }

  /**
   * Returns the preset as a group of that name for those targets; empty if no preset has the name.
   */
  public static Optional<SchemeGroup> find(String preset, String group, List<String> targets) {
    SchemeGroup found = ALL.get(preset.toUpperCase(Locale.ROOT));
    return Optional.ofNullable(found).map(scheme -> scheme.withTargets(group, targets));
  }

  /** Returns the name that {@code preset} was probably meant to be. */
  public static Optional<String> nearest(String preset) {
    return Nearest.of(preset, ALL.keySet());
  }

  private static Map<String, SchemeGroup> all() {
    Map<String, SchemeGroup> presets = new LinkedHashMap<>();
    put(presets, "UNQUANTIZED", null, null);
    for (int bits = 2; bits <= 8; bits++) {
      put(presets, "W" + bits + "A16", grouped(bits, true), null);
    }
    put(presets, "W4A16_ASYM", grouped(4, false), null);
    for (int bits = 2; bits <= 7; bits++) {
      put(presets, "W" + bits + "A8", grouped(bits, true), perToken(8, Type.INT));
    }
    for (int bits = 2; bits <= 4; bits++) {
      put(presets, "W" + bits + "A4", grouped(bits, true), perToken(4, Type.INT));
    }
    QuantizationArgs rows = weights(8, Type.INT, true, null, Strategy.CHANNEL, null, null);
    put(presets, "W8A8", rows, perToken(8, Type.INT));
    put(presets, "INT8", rows, perToken(8, Type.INT));
    put(presets, "W4AFP8", grouped(4, true), perToken(8, Type.FLOAT));
    putFloats(presets);
    return Collections.unmodifiableMap(presets);
  }

  private static void putFloats(Map<String, SchemeGroup> presets) {
    put(
        presets,
        "FP8",
        weights(8, Type.FLOAT, true, null, Strategy.TENSOR, null, null),
        inputs(8, Type.FLOAT, null, Strategy.TENSOR, Dynamic.NO, null));
    put(
        presets,
        "FP8_DYNAMIC",
        weights(8, Type.FLOAT, true, null, Strategy.CHANNEL, null, null),
        perToken(8, Type.FLOAT));
    put(
        presets,
        "FP8_BLOCK",
        weights(8, Type.FLOAT, true, null, Strategy.BLOCK, List.of(128, 128), null),
        inputs(8, Type.FLOAT, 128, Strategy.GROUP, Dynamic.YES, null));
    QuantizationArgs nv = weights(4, Type.FLOAT, true, 16, Strategy.TENSOR_GROUP, null, NV_SCALES);
    put(presets, "NVFP4A16", nv, null);
    put(
        presets,
        "NVFP4",
        nv,
        inputs(4, Type.FLOAT, 16, Strategy.TENSOR_GROUP, Dynamic.LOCAL, NV_SCALES));
    for (int bits = 4; bits <= 8; bits += 4) {
      QuantizationArgs mx = weights(bits, Type.FLOAT, true, 32, Strategy.GROUP, null, MX_SCALES);
      put(presets, "MXFP" + bits + "A16", mx, null);
      put(
          presets,
          "MXFP" + bits,
          mx,
          inputs(bits, Type.FLOAT, 32, Strategy.GROUP, Dynamic.YES, MX_SCALES));
    }
  }

  private static void put(
      Map<String, SchemeGroup> presets,
      String name,
      QuantizationArgs weights,
      QuantizationArgs inputs) {
    presets.put(name, new SchemeGroup("", List.of(), weights, inputs, null, null));
  }

  private static QuantizationArgs grouped(int bits, boolean symmetric) {
    return weights(bits, Type.INT, symmetric, 128, Strategy.GROUP, null, null);
  }

  private static QuantizationArgs perToken(int bits, Type type) {
    return inputs(bits, type, null, Strategy.TOKEN, Dynamic.YES, null);
  }

  private static QuantizationArgs weights(
      int bits,
      Type type,
      boolean symmetric,
      Integer groupSize,
      Strategy strategy,
      List<Integer> blocks,
      String scales) {
    return new QuantizationArgs(
        bits,
        type,
        symmetric,
        groupSize,
        strategy,
        blocks,
        Dynamic.NO,
        null,
        scales,
        null,
        Observers.MEMORYLESS,
        Map.of());
  }

  private static QuantizationArgs inputs(
      int bits, Type type, Integer groupSize, Strategy strategy, Dynamic dynamic, String scales) {
    return new QuantizationArgs(
        bits,
        type,
        true,
        groupSize,
        strategy,
        null,
        dynamic,
        null,
        scales,
        null,
        dynamic == Dynamic.YES ? null : Observers.STATIC,
        Map.of());
  }
}
