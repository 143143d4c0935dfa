// SPDX-License-Identifier: Apache-2.0
package espalier.layer;

import espalier.tensor.Context;
import espalier.tensor.DType;
import espalier.tensor.Tensor;
import java.nio.ByteBuffer;
import java.util.Locale;

/**
 * How many weights of a linear are 0, and where: counted, so that it holds whatever a config says.
 *
 * @param weights out · in
 * @param nonZeros weights other than 0 and −0
 * @param fullest the most of them in any 4, 8, 16 and 32 columns that begin at a multiple of that
 */
public record Census(long weights, long nonZeros, Fullest fullest, long inFeatures) {
  /** The most weights other than 0 in any whole group of 4, 8, 16 and 32 columns. */
  public record Fullest(int of4, int of8, int of16, int of32) {
    private int of(int columns) {
      return switch (columns) {
        case 4 -> of4;
        case 8 -> of8;
        case 16 -> of16;
        default -> of32;
      };
    }
  }

  /** The share of zeros from which a matrix counts as pruned at all. */
  private static final double PRUNED = 0.01;

  /** Weights of codes that are widened at a time. */
  private static final long PANEL_WEIGHTS = 1L << 22;

  /** Columns looked at together: an int of bits. */
  private static final int WIDTH = 32;

  /** Counts a linear; reads every weight once, mapped ones a row at a time. */
  public static Census of(Context context, Linear linear) {
    Counter counter = new Counter();
    if (linear instanceof Dense dense && !dense.inOut()) {
      counter.count(dense.matrix());
    } else if (linear instanceof Quantized quantized && quantized.groupIndex() == null) {
      long rows = Math.max(1, PANEL_WEIGHTS / Math.max(1, linear.inFeatures()));
      for (long from = 0; from < linear.outFeatures(); from += rows) {
        try (Context.Scope scope = context.scope()) {
          Quantized panel = quantized.rows(from, Math.min(linear.outFeatures(), from + rows));
          counter.count(panel.weight(context));
        }
      }
    } else {
      try (Context.Scope scope = context.scope()) {
        counter.count(linear.weight(context));
      }
    }
    return counter.census(linear);
  }

  /** Returns the share of weights that are not 0. */
  public double density() {
    return weights == 0 ? 1 : nonZeros / (double) weights;
  }

  /** Returns whether of every four columns at most two are not 0, and there are whole fours. */
  public boolean fitsTwoOfFour() {
    return inFeatures % 4 == 0 && fullest.of4() <= 2;
  }

  /**
   * Returns {@code dense}, {@code n:m} (n zeros in every m columns, for m of 4, 8, 16 or 32) or
   * {@code unstructured}. A pattern that a sparse matrix only happens to keep, most of its groups
   * having more zeros, is none.
   */
  public String pattern() {
    if (density() > 1 - PRUNED) {
      return "dense";
    }
    for (int m = 4; m <= WIDTH && inFeatures % m == 0; m *= 2) {
      int most = fullest.of(m);
      if (most < m && nonZeros >= 0.9 * most * (weights / m)) {
        return String.format(Locale.ROOT, "%d:%d", m - most, m);
      }
    }
    return "unstructured";
  }

  /** Looks at one matrix after another. */
  private static final class Counter {
    private long weights;
    private long nonZeros;
    private int of4;
    private int of8;
    private int of16;
    private int of32;

    void count(Tensor matrix) {
      long rows = matrix.dimension(0);
      int columns = Math.toIntExact(matrix.dimension(1));
      long bytes = matrix.dtype().bytes(columns);
      weights += rows * columns;
      for (long row = 0; row < rows; row++) {
        ByteBuffer values = matrix.buffer(row * bytes, bytes);
        for (int from = 0; from < columns; from += WIDTH) {
          int count = Math.min(WIDTH, columns - from);
          count(bits(values, matrix.dtype(), from, count), count);
        }
      }
      matrix.forget();
    }

    /** Returns a bit for every weight that is not 0. */
    private static int bits(ByteBuffer row, DType type, int from, int count) {
      int bits = 0;
      for (int i = 0; i < count; i++) {
        int at = from + i;
        boolean kept =
            switch (type) {
              case F32 -> row.getInt(4 * at) << 1 != 0;
              case F16, BF16 -> (row.getShort(2 * at) & 0x7FFF) != 0;
              default -> throw new IllegalArgumentException("weights of " + type);
            };
        bits |= kept ? 1 << i : 0;
      }
      return bits;
    }

    private void count(int bits, int columns) {
      nonZeros += Integer.bitCount(bits);
      for (int at = 0; at + 4 <= columns; at += 4) {
        of4 = Math.max(of4, Integer.bitCount(bits >>> at & 0xF));
      }
      for (int at = 0; at + 8 <= columns; at += 8) {
        of8 = Math.max(of8, Integer.bitCount(bits >>> at & 0xFF));
      }
      for (int at = 0; at + 16 <= columns; at += 16) {
        of16 = Math.max(of16, Integer.bitCount(bits >>> at & 0xFFFF));
      }
      if (columns == WIDTH) {
        of32 = Math.max(of32, Integer.bitCount(bits));
      }
    }

    Census census(Linear linear) {
      return new Census(weights, nonZeros, new Fullest(of4, of8, of16, of32), linear.inFeatures());
    }
  }
}
