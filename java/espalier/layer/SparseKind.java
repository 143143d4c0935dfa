// SPDX-License-Identifier: Apache-2.0
package espalier.layer;

import espalier.tensor.DType;
import java.util.Locale;

/** How the kept weights of a sparse matrix are stored. */
public enum SparseKind {
  BF16(DType.BF16, 16),
  F16(DType.F16, 16),
  F32(DType.F32, 32),
  /** Signed codes, a byte each. */
  INT8(DType.I8, 8),
  /** Codes + 8, two a byte, the low half first. */
  INT4(DType.U8, 4);

  private final DType dtype;
  private final int bits;

  SparseKind(DType dtype, int bits) {
    this.dtype = dtype;
    this.bits = bits;
  }

  /**
   * Finds the kind by the type of its tensor.
   *
   * @throws IllegalArgumentException when no kind is stored so
   */
  public static SparseKind of(DType dtype) {
    for (SparseKind kind : values()) {
      if (kind.dtype == dtype) {
        return kind;
      }
    }
    throw new IllegalArgumentException("sparse values of " + dtype);
  }

  /** Returns how codes of a scheme are stored. */
  public static SparseKind of(Scheme scheme) {
    return scheme.bits() <= INT4.bits ? INT4 : INT8;
  }

  /** Returns the type of the values' tensor. */
  public DType dtype() {
    return dtype;
  }

  /** Returns the bits of one kept weight. */
  public int bits() {
    return bits;
  }

  /** Returns whether values are codes that need scales. */
  public boolean isCode() {
    return this == INT8 || this == INT4;
  }

  /** Returns the elements of the values' tensor that one row of so many kept weights takes. */
  public long elements(long kept) {
    return this == INT4 ? (kept + 1) / 2 : kept;
  }

  /** Returns the name that configs use. */
  public String text() {
    return name().toLowerCase(Locale.ROOT);
  }
}
