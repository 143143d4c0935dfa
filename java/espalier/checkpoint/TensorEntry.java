// SPDX-License-Identifier: Apache-2.0
package espalier.checkpoint;

import espalier.tensor.DType;
import espalier.tensor.Shape;

/**
 * A tensor and its place in a file.
 *
 * @param spec name, element type and shape
 * @param offsetBytes the first byte of the data, counted from the start of the file
 */
public record TensorEntry(TensorSpec spec, long offsetBytes) {
  public String name() {
    return spec.name();
  }

  public DType dtype() {
    return spec.dtype();
  }

  public Shape shape() {
    return spec.shape();
  }

  public long sizeBytes() {
    return spec.sizeBytes();
  }

  /** Returns the first byte after the data, counted from the start of the file. */
  public long endBytes() {
    return offsetBytes + sizeBytes();
  }
}
