// SPDX-License-Identifier: Apache-2.0
package espalier.tensor;

import java.util.Optional;

/**
 * Element types, in the order of the safetensors library; the ordinal is the code of the C ABI. The
 * constant's name is the name in safetensors headers.
 */
public enum DType {
  BOOL(8),
  F4(4),
  F6_E2M3(6),
  F6_E3M2(6),
  U8(8),
  I8(8),
  F8_E5M2(8),
  /** The FN variant: largest value 448, no infinity. */
  F8_E4M3(8),
  F8_E8M0(8),
  F8_E4M3FNUZ(8),
  F8_E5M2FNUZ(8),
  I16(16),
  U16(16),
  F16(16),
  BF16(16),
  I32(32),
  U32(32),
  F32(32),
  C64(64),
  F64(64),
  I64(64),
  U64(64);

  private final int bits;

  DType(int bits) {
    this.bits = bits;
  }

  /** Returns the width of one element in bits. */
  public int bits() {
    return bits;
  }

  /** Returns the code of this type in the C ABI. */
  public int code() {
    return ordinal();
  }

  /** Returns whether values are floating point (real; {@code C64} is not). */
  public boolean isFloat() {
    return switch (this) {
      case F4,
          F6_E2M3,
          F6_E3M2,
          F8_E5M2,
          F8_E4M3,
          F8_E8M0,
          F8_E4M3FNUZ,
          F8_E5M2FNUZ,
          F16,
          BF16,
          F32,
          F64 ->
          true;
      default -> false;
    };
  }

  /**
   * Returns the bytes of {@code elements} values, packed.
   *
   * @throws ArithmeticException if the product overflows or is not whole bytes
   */
  public long bytes(long elements) {
    long total = Math.multiplyExact(elements, (long) bits);
    if (total % 8 != 0) {
      throw new ArithmeticException(elements + " elements of " + this + " are not whole bytes");
    }
    return total / 8;
  }

  /** Finds a type by its exact safetensors name. */
  public static Optional<DType> named(String name) {
    for (DType type : values()) {
      if (type.name().equals(name)) {
        return Optional.of(type);
      }
    }
    return Optional.empty();
  }
}
