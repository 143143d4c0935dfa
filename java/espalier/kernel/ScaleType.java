// SPDX-License-Identifier: Apache-2.0
package espalier.kernel;

import espalier.tensor.DType;

/** The numbers a scale may be: it is rounded to one of them before anything uses it. */
public enum ScaleType {
  F32(DType.F32, DType.F32.code()),
  F16(DType.F16, DType.F16.code()),
  BF16(DType.BF16, DType.BF16.code()),
  /**
   * BF16 values that are F16 values too: all of BF16 from 2⁻¹⁷ to 65280, and between 0 and 2⁻¹⁷ the
   * multiples of 2⁻²⁴.
   */
  BF16_AND_F16(DType.BF16, 64); // ESP_BF16_AND_F16

  private final DType stored;
  private final int code;

  ScaleType(DType stored, int code) {
    this.stored = stored;
    this.code = code;
  }

  /** Returns the scales of one stored type. */
  public static ScaleType of(DType stored) {
    return switch (stored) {
      case F16 -> F16;
      case BF16 -> BF16;
      default -> F32;
    };
  }

  /** Returns a type that holds these numbers exactly. */
  public DType stored() {
    return stored;
  }

  /** Returns the code of this type in the C ABI. */
  int code() {
    return code;
  }
}
