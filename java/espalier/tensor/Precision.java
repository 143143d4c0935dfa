// SPDX-License-Identifier: Apache-2.0
package espalier.tensor;

/** How exact the products of a {@link Context} must be. The order mirrors esp_precision. */
public enum Precision {
  /** As fp32 arithmetic on the operands. */
  FP32,
  /** Operations may round activations once, by less than bf16 would. */
  BF16;

  /** Returns the name in reports: {@code fp32}, {@code bf16}. */
  @Override
  public String toString() {
    return this == FP32 ? "fp32" : "bf16";
  }
}
