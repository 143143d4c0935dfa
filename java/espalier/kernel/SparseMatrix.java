// SPDX-License-Identifier: Apache-2.0
package espalier.kernel;

import static espalier.kernel.Checks.require;
import static espalier.kernel.Checks.shaped;

import espalier.tensor.DType;
import espalier.tensor.Tensor;

/**
 * A matrix [rows, columns] of which only kept weights are stored, as kernels read it and files hold
 * it. Shapes are checked here; that the bits of {@code places} agree with {@code rowOffsets} and
 * {@code values} is checked by whoever reads them from a file, and kernels rely on it.
 *
 * @param pattern which weights may be kept
 * @param rows of the matrix
 * @param columns of the matrix; a multiple of 4 for 2:4
 * @param places U8 [rows, ⌈columns/8⌉]. Bitmask: bit c mod 8 of byte c div 8 says that column c is
 *     kept. 2:4: bits 2(j mod 4) of byte j div 4 are the place of kept weight j in its four columns.
 *     Bits past the end are 0
 * @param rowOffsets I64 [rows], kept weights before each row; null for 2:4
 * @param values BF16, F16, F32 or signed I8 codes, or U8 for 4-bit codes: [kept], or [rows,
 *     columns/2] for 2:4; 4-bit codes + 8, low half of a byte first, every row beginning a byte
 * @param scales F32 [rows, columns/group] of codes; null for floating-point values
 * @param group columns that share a scale; 0 without scales
 */
public record SparseMatrix(
    Pattern pattern,
    long rows,
    long columns,
    Tensor places,
    Tensor rowOffsets,
    Tensor values,
    Tensor scales,
    long group) {
  /** Which weights are kept. */
  public enum Pattern {
    /** Any. */
    BITMASK("bitmask"),
    /** Two of every four columns that follow each other. */
    TWO_OF_FOUR("2:4");

    private final String text;

    Pattern(String text) {
      this.text = text;
    }

    /** Returns the name that configs and reports use. */
    public String text() {
      return text;
    }
  }

  /** How kept weights are stored; the ordinal is the code of the C ABI. */
  public enum Kind {
    BF16(DType.BF16, 16),
    F16(DType.F16, 16),
    F32(DType.F32, 32),
    /** Signed codes, a byte each. */
    INT8(DType.I8, 8),
    /** Codes + 8, two a byte. */
    INT4(DType.U8, 4);

    private final DType dtype;
    private final int bits;

    Kind(DType dtype, int bits) {
      this.dtype = dtype;
      this.bits = bits;
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

    /** Returns the name that configs use. */
    public String text() {
      return name().toLowerCase(java.util.Locale.ROOT);
    }

    /**
     * Finds the kind by the type of its tensor.
     *
     * @throws IllegalArgumentException when no kind is stored so
     */
    public static Kind of(DType dtype) {
      for (Kind kind : values()) {
        if (kind.dtype == dtype) {
          return kind;
        }
      }
      throw new IllegalArgumentException("sparse values of " + dtype);
    }
  }

  public SparseMatrix {
    Kind kind = Kind.of(values.dtype());
    shaped("places", places, DType.U8, rows, (columns + 7) / 8);
    if (pattern == Pattern.BITMASK) {
      shaped("row offsets", rowOffsets, DType.I64, rows);
      require(values.shape().rank() == 1, "values", values, "a list");
    } else {
      require(columns % 4 == 0, "columns", columns, "a multiple of 4 for 2:4");
      require(rowOffsets == null, "row offsets", rowOffsets, "none for 2:4");
      long width = kind == Kind.INT4 ? (columns + 3) / 4 : columns / 2;
      shaped("values", values, kind.dtype(), rows, width);
    }
    require(kind.isCode() == (scales != null), "scales", scales, "for codes and only for them");
    if (scales != null) {
      require(group > 0 && columns % group == 0, "group", group, "a divisor of " + columns);
      shaped("scales", scales, DType.F32, rows, columns / group);
    }
  }

  /** Returns how kept weights are stored. */
  public Kind kind() {
    return Kind.of(values.dtype());
  }

  /** Returns how many weights are kept, those that are 0 included. */
  public long kept() {
    if (pattern == Pattern.TWO_OF_FOUR) {
      return rows * columns / 2;
    }
    if (kind() != Kind.INT4) {
      return values.elements();
    }
    // Rows are padded to whole bytes, so only the mask knows what the last one keeps.
    return rows == 0 ? 0 : rowOffsets.buffer((rows - 1) * Long.BYTES, Long.BYTES).getLong() + tail();
  }

  private long tail() {
    long width = places.dimension(1);
    java.nio.ByteBuffer mask = places.buffer((rows - 1) * width, width);
    long kept = 0;
    while (mask.hasRemaining()) {
      kept += Integer.bitCount(mask.get() & 0xFF);
    }
    return kept;
  }

  /** Tells the system that pages of a mapped matrix are not needed for now. */
  public void forget() {
    places.forget();
    values.forget();
  }

  /** Returns the bytes of places, offsets and values; scales are the owner's to count. */
  public long storedBytes() {
    return places.sizeBytes()
        + (rowOffsets == null ? 0 : rowOffsets.sizeBytes())
        + values.sizeBytes();
  }
}
