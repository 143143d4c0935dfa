// SPDX-License-Identifier: Apache-2.0
package espalier.codec;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import espalier.checkpoint.Checkpoint;
import espalier.report.EspalierException;
import java.util.List;
import java.util.Locale;

/**
 * Where a checkpoint says how it is quantized: {@code quantization_config} of config.json, its name
 * before 2025, or the file GPTQ and AWQ tools put beside config.json.
 *
 * @param declared what holds it, for "has a …" in messages
 * @param object the config; its json is missing or null when the checkpoint is not quantized
 */
record QuantizationFiles(String declared, ConfigObject object) {
  private static final List<String> KEYS = List.of("quantization_config", "compression_config");
  private static final List<String> FILES = List.of("quantize_config.json", "quant_config.json");

  /** What must agree when config.json and a file beside it both speak. */
  private static final List<List<String>> SHARED =
      List.of(
          List.of("bits", "w_bit"),
          List.of("group_size", "q_group_size"),
          List.of("sym"),
          List.of("desc_act"),
          List.of("zero_point"),
          List.of("checkpoint_format"));

  /**
   * Finds the config.
   *
   * @throws EspalierException (INPUT) when two files contradict each other
   */
  static QuantizationFiles of(Checkpoint checkpoint, ObjectNode config) {
    String key =
        config.hasNonNull(KEYS.get(0)) || !config.hasNonNull(KEYS.get(1))
            ? KEYS.get(0)
            : KEYS.get(1);
    JsonNode inside = config.path(key);
    String folder = checkpoint.folder().resolve("config.json") + ": " + key + ".";
    boolean stated = !inside.isMissingNode() && !inside.isNull();
    if (stated && !List.of("gptq", "awq").contains(method(inside))) {
      return new QuantizationFiles(key, new ConfigObject(folder, inside));
    }
    for (String file : FILES) {
      ObjectNode beside = checkpoint.json(file).orElse(null);
      if (beside == null) {
        continue;
      }
      ConfigObject other = new ConfigObject(checkpoint.folder().resolve(file) + ": ", beside);
      if (!stated) {
        return new QuantizationFiles(file, other);
      }
      requireAgreement(new ConfigObject(folder, inside), other);
    }
    return new QuantizationFiles(key, new ConfigObject(folder, inside));
  }

  private static void requireAgreement(ConfigObject one, ConfigObject other) {
    for (List<String> field : SHARED) {
      String[] names = field.toArray(String[]::new);
      JsonNode first = one.first(names);
      JsonNode second = other.first(names);
      if (first != null && second != null && !first.equals(second)) {
        throw EspalierException.input(
            one.place()
                + names[0]
                + " is "
                + first
                + ", but "
                + other.place()
                + names[0]
                + " is "
                + second,
            "Keep the file that belongs to these weights.");
      }
    }
  }

  /** Returns the method a config names, in lower case; GPTQ where an old file leaves it out. */
  static String method(JsonNode config) {
    JsonNode named =
        config.hasNonNull("quant_method") ? config.get("quant_method") : config.path("method");
    if (!named.isTextual() && (config.has("w_bit") || config.has("zero_point"))) {
      return "awq";
    }
    if (!named.isTextual() && config.has("desc_act")) {
      return "gptq";
    }
    return named.asText("").toLowerCase(Locale.ROOT);
  }
}
