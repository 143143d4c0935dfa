// SPDX-License-Identifier: Apache-2.0
package espalier.cli;

import com.fasterxml.jackson.databind.node.ObjectNode;
import espalier.codec.SparseConfig;
import espalier.kernel.Sparse.Matrix;
import espalier.layer.Census;
import espalier.layer.Dense;
import espalier.layer.Linear;
import espalier.layer.Quantized;
import espalier.layer.Sparse;
import espalier.layer.SparseKind;
import espalier.layer.SparseQuantized;
import espalier.tensor.Context;
import java.util.Locale;

/**
 * How one linear is stored, and how full it is.
 *
 * @param name canonical module name
 * @param form kind of values and pattern in words: {@code bf16}, {@code bf16 2:4}, {@code W4
 *     symmetric group 128 bitmask}
 * @param out rows
 * @param in columns
 * @param bitsPerWeight stored bits, scales and places included, over out · in
 * @param stored the share of weights that the file holds, 1 for dense forms
 * @param census what its weights say, null where they were not read
 */
record LinearForm(
    String name,
    String form,
    long out,
    long in,
    double bitsPerWeight,
    double stored,
    Census census) {
  /**
   * Looks at a linear.
   *
   * @param counted whether to read its weights
   */
  static LinearForm of(Context context, String name, Linear linear, boolean counted) {
    return new LinearForm(
        name,
        form(linear),
        linear.outFeatures(),
        linear.inFeatures(),
        linear.bitsPerWeight(),
        stored(linear),
        counted ? Census.of(context, linear) : null);
  }

  private static String form(Linear linear) {
    if (linear instanceof Dense dense) {
      return dense.matrix().dtype().name().toLowerCase(Locale.ROOT);
    }
    if (linear instanceof Quantized quantized) {
      return quantized.scheme().toString();
    }
    if (linear instanceof Sparse sparse) {
      return SparseKind.of(sparse.type()).text() + " " + pattern(sparse.matrix());
    }
    SparseQuantized sparse = (SparseQuantized) linear;
    return sparse.scheme() + " " + pattern(sparse.matrix());
  }

  private static String pattern(Matrix matrix) {
    return SparseConfig.text(matrix.pattern());
  }

  /** Half bytes that only pad a row count as weights: at most one a row. */
  private static double stored(Linear linear) {
    Matrix matrix =
        linear instanceof Sparse sparse
            ? sparse.matrix()
            : linear instanceof SparseQuantized sparse ? sparse.matrix() : null;
    if (matrix == null) {
      return 1;
    }
    double perElement = matrix.values().dtype() == SparseKind.INT4.dtype() ? 2 : 1;
    double weights = (double) matrix.rows() * matrix.columns();
    return Math.min(1, matrix.values().elements() * perElement / weights);
  }

  /** Returns whether there is more to say than type and shape. */
  boolean isSparse() {
    return stored < 1 || census != null;
  }

  /** Adds everything to a JSON object. */
  void fill(ObjectNode row) {
    row.put("name", name).put("form", form).put("out", out).put("in", in);
    row.put("bits_per_weight", bitsPerWeight).put("stored_share", stored);
    if (census != null) {
      row.put("density", census.density());
      row.put("nonzeros", census.nonZeros());
      row.put("pattern", census.pattern());
    }
  }

  /** Returns a line of a table for people, its columns those of {@link #heading}. */
  String line(int width) {
    String counts =
        census == null
            ? String.format(Locale.ROOT, "%8.4f", stored)
            : String.format(Locale.ROOT, "%8.4f  %s", census.density(), census.pattern());
    return String.format(
        Locale.ROOT,
        "%-" + width + "s  %6d x %-6d %8.3f %s  %s",
        name.replaceAll("\\p{Cntrl}", "?"),
        out,
        in,
        bitsPerWeight,
        counts,
        form);
  }

  static String heading(int width, boolean counted) {
    return String.format(
        Locale.ROOT,
        "%-" + width + "s  %15s %8s %8s  %s",
        "linear",
        "out x in    ",
        "bits",
        counted ? "density" : "stored",
        counted ? "pattern, form" : "form");
  }
}
