// SPDX-License-Identifier: Apache-2.0
package espalier.codec;

import com.fasterxml.jackson.databind.JsonNode;
import espalier.layer.Scheme;
import espalier.report.EspalierException;
import java.util.ArrayList;
import java.util.List;
import java.util.regex.Pattern;
import java.util.regex.PatternSyntaxException;

/**
 * A GPTQ config, {@code quantization_config} or quantize_config.json: one scheme for all, with
 * {@code dynamic} exceptions by regular expression, the first that matches counts. Checked against
 * GPTQModel 7.7.0.
 */
final class GptqConfig implements ModuleConfig {
  /** An entry of {@code dynamic}: a scheme of its own, or none for a module left alone. */
  private record Exemption(String text, Pattern pattern, Scheme scheme) {}

  private final ConfigObject config;
  private final GptqCodec codec;
  private final Scheme scheme;
  private final List<Exemption> exceptions = new ArrayList<>();

  /**
   * Reads a config.
   *
   * @throws EspalierException (INPUT) for a field that is missing or malformed, (UNSUPPORTED) for
   *     what we cannot read, naming the field
   */
  GptqConfig(ConfigObject config) {
    this.config = config;
    this.scheme = scheme(config, null);
    String format = config.json().path("checkpoint_format").asText("");
    if (format.isEmpty()) {
      format = config.json().path("format").asText(GptqCodec.V1.format());
    }
    if (format.equals(GptqCodec.V1.format())) {
      codec = GptqCodec.V1;
    } else if (format.equals(GptqCodec.V2.format())) {
      codec = GptqCodec.V2;
    } else {
      throw config.unsupported("checkpoint_format", "format");
    }
    for (String field : List.of("is_marlin_format", "adapter", "rotation")) {
      JsonNode value = config.first(field);
      if (value != null && (value.isContainerNode() ? !value.isEmpty() : value.asBoolean(true))) {
        throw config.unsupported(field); // weights stored otherwise, or meaning more than they say
      }
    }
    JsonNode word = config.first("pack_dtype");
    if (word != null && !word.asText().equals("int32")) {
      throw config.unsupported("pack_dtype");
    }
    config.json().path("dynamic").properties().forEach(e -> exception(e.getKey(), e.getValue()));
  }

  /** Reads bits, sym and group_size; what is missing comes from {@code standard} unless null. */
  private static Scheme scheme(ConfigObject config, Scheme standard) {
    JsonNode stated = config.first("bits", "w_bit");
    int bits =
        stated == null && standard != null ? standard.bits() : config.integer("bits", "w_bit");
    if (!GptqCodec.packs(bits)) {
      throw config.unsupported("bits", "w_bit");
    }
    JsonNode size = config.first("group_size");
    int group =
        size == null && standard != null ? standard.groupSize() : config.groupSize("group_size");
    boolean symmetric = config.flag(standard == null || standard.symmetric(), "sym");
    return new Scheme(bits, symmetric, group);
  }

  private void exception(String text, JsonNode overrides) {
    boolean skipped = text.startsWith("-:");
    String expression = skipped || text.startsWith("+:") ? text.substring(2) : text;
    ConfigObject own = new ConfigObject(config.place() + "dynamic." + text + ".", overrides);
    try {
      exceptions.add(
          new Exemption(text, Pattern.compile(expression), skipped ? null : scheme(own, scheme)));
    } catch (PatternSyntaxException e) {
      throw EspalierException.input(
          config.place() + "dynamic: " + text + " is no regular expression", "Correct the file.");
    }
  }

  @Override
  public LinearCodec codec() {
    return codec;
  }

  @Override
  public Scheme scheme(String module) {
    for (JsonNode name : config.json().path("modules_to_not_convert")) {
      if (module.contains(name.asText())) {
        throw config.contradicts("modules_to_not_convert", module);
      }
    }
    for (Exemption exception : exceptions) {
      if (exception.pattern().matcher(module).lookingAt()) {
        if (exception.scheme() == null) {
          throw config.contradicts("dynamic." + exception.text(), module);
        }
        return exception.scheme();
      }
    }
    return scheme;
  }
}
