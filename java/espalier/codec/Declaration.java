// SPDX-License-Identifier: Apache-2.0
package espalier.codec;

import espalier.tensor.DType;
import espalier.tensor.Shape;

/** A tensor that will be written: enough to plan a file to the byte before any data exists. */
public record Declaration(String name, DType dtype, Shape shape) {
  public long sizeBytes() {
    return dtype.bytes(shape.elements());
  }
}
