// SPDX-License-Identifier: Apache-2.0
package espalier.compress;

/** How compressed linears are spelled in the output. */
public enum OutputFormat {
  /** compressed-tensors {@code pack-quantized}: really small, read by vLLM, transformers and us. */
  COMPRESSED_TENSORS,
  /** Plain dense tensors that hold the quantized values: read by everything, not smaller. */
  DENSE
}
