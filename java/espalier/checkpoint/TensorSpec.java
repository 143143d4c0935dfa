// SPDX-License-Identifier: Apache-2.0
package espalier.checkpoint;

import espalier.tensor.DType;
import espalier.tensor.Shape;

/**
 * What a stored tensor is, without its data.
 *
 * @param name the full name in the checkpoint
 * @param dtype the element type
 * @param shape the dimensions in elements, outermost first
 */
public record TensorSpec(String name, DType dtype, Shape shape) {
  private static final int QUOTED_LENGTH = 200;

  /**
   * Returns the bytes of the data.
   *
   * @throws ArithmeticException if they overflow 64 bits or are not whole bytes
   */
  public long sizeBytes() {
    return dtype.bytes(shape.elements());
  }

  /**
   * Returns a name from a file as a message may show it: quoted, cut, without control characters.
   */
  static String quoted(String name) {
    StringBuilder text = new StringBuilder("'");
    for (int i = 0; i < Math.min(name.length(), QUOTED_LENGTH); i++) {
      char c = name.charAt(i);
      if (Character.isISOControl(c)) {
        text.append(String.format("\\u%04x", (int) c));
      } else {
        text.append(c);
      }
    }
    return text.append(name.length() > QUOTED_LENGTH ? "…'" : "'").toString();
  }

  @Override
  public String toString() {
    return quoted(name) + " " + dtype + shape;
  }
}
