// SPDX-License-Identifier: Apache-2.0
package espalier.codec;

import espalier.layer.Scheme;

/** A quantization config with one codec for the whole checkpoint: GPTQ's and AWQ's. */
interface ModuleConfig {
  /** Returns how packed modules are spelled. */
  LinearCodec codec();

  /**
   * Returns how a packed module is quantized.
   *
   * @throws espalier.report.EspalierException (INPUT) when the config says that it is not
   */
  Scheme scheme(String module);
}
