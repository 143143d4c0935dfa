// SPDX-License-Identifier: Apache-2.0
package espalier.codec;

import com.fasterxml.jackson.databind.JsonNode;
import espalier.layer.Scheme;
import espalier.report.EspalierException;
import java.util.Locale;

/**
 * An AWQ config, transformers' spelling or AutoAWQ's own. Modules of {@code modules_to_not_convert}
 * (parts of names) stay dense.
 */
final class AwqConfig implements ModuleConfig {
  private final ConfigObject config;
  private final Scheme scheme;

  /**
   * Reads a config.
   *
   * @throws EspalierException (INPUT) for a field that is missing or malformed, (UNSUPPORTED) for
   *     what we cannot read, naming the field
   */
  AwqConfig(ConfigObject config) {
    this.config = config;
    if (config.integer("bits", "w_bit") != 4) {
      throw config.unsupported("bits", "w_bit");
    }
    JsonNode version = config.first("version", "checkpoint_format", "format");
    if (version != null && !version.asText().toLowerCase(Locale.ROOT).equals("gemm")) {
      throw config.unsupported("version", "checkpoint_format", "format");
    }
    if (!config.flag(true, "zero_point")) {
      throw config.unsupported("zero_point");
    }
    scheme = new Scheme(4, false, config.groupSize("group_size", "q_group_size"));
  }

  @Override
  public LinearCodec codec() {
    return new AwqCodec();
  }

  @Override
  public Scheme scheme(String module) {
    for (JsonNode name : config.json().path("modules_to_not_convert")) {
      if (module.contains(name.asText())) {
        throw config.contradicts("modules_to_not_convert", module);
      }
    }
    return scheme;
  }
}
