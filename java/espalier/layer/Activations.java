// SPDX-License-Identifier: Apache-2.0
package espalier.layer;

/** What a quantized linear does to its input before it multiplies. */
public enum Activations {
  /** Nothing: x stays floating point (W4A16, W8A16). */
  FLOAT,
  /** Every row of x is rounded to int8 with a scale of its own, max|x| / 127.5 (W8A8, W4A8). */
  INT8_PER_TOKEN
}
