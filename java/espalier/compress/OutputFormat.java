// SPDX-License-Identifier: Apache-2.0
package espalier.compress;

import espalier.report.EspalierException;

/** How compressed linears are spelled in the output. */
public enum OutputFormat {
  /**
   * compressed-tensors {@code pack-quantized} or {@code int-quantized}: really small, read by vLLM,
   * transformers and us.
   */
  COMPRESSED_TENSORS,
  /** Plain dense tensors that hold the quantized values: read by everything, not smaller. */
  DENSE;

  /**
   * Finds a format by the name users type.
   *
   * @throws EspalierException (USAGE) naming the known ones
   */
  public static OutputFormat named(String name) {
    return switch (name) {
      case "compressed-tensors", "pack-quantized" -> COMPRESSED_TENSORS;
      case "dense" -> DENSE;
      default ->
          throw EspalierException.usage(
              "unknown output format '" + name + "'", "Use compressed-tensors or dense.");
    };
  }
}
