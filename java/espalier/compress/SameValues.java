// SPDX-License-Identifier: Apache-2.0
package espalier.compress;

import espalier.layer.Dense;
import espalier.layer.Linear;
import espalier.model.Model;
import espalier.report.EspalierException;
import espalier.tensor.Context;
import espalier.tensor.DType;
import espalier.tensor.Tensor;
import java.nio.ByteBuffer;
import java.nio.FloatBuffer;
import java.nio.file.Path;
import java.util.Map;

/**
 * The proof of an output in another form than the run computed with: its linears hold the same
 * values. Logits would prove less: products of every form add in an order of their own.
 */
final class SameValues {
  /** Bytes compared at a time: a whole matrix may not fit into one buffer. */
  private static final long BAND_BYTES = 64L << 20;

  private SameValues() {}

  /**
   * Compares every linear of two finished folders. A zero may have either sign: a form without
   * zeros keeps none.
   *
   * @param computed the folder in the form that the run computed with
   * @throws EspalierException (FAILED) naming the first linear that differs
   */
  static void require(Context context, Path written, Path computed) {
    try (Model found = Model.open(written, context);
        Model expected = Model.open(computed, context)) {
      Map<String, Linear> values = found.linears();
      for (Map.Entry<String, Linear> entry : expected.linears().entrySet()) {
        if (!same(context, values.get(entry.getKey()), entry.getValue())) {
          throw EspalierException.failed(
              written + ": " + entry.getKey() + " has other values than in " + computed,
              "This is a fault of ours; please report it with the recipe.");
        }
      }
    }
  }

  private static boolean same(Context context, Linear found, Linear expected) {
    try (Context.Scope scope = context.scope()) {
      boolean same = same(values(context, found, found), values(context, expected, found));
      Windows.forget(found);
      Windows.forget(expected);
      return same;
    }
  }

  /** Returns the weights as the written linear has them where it is dense, else F32 [out, in]. */
  private static Tensor values(Context context, Linear linear, Linear written) {
    if (!(written instanceof Dense dense)) {
      return linear.weight(context);
    }
    boolean stored =
        linear instanceof Dense plain
            && plain.inOut() == dense.inOut()
            && plain.matrix().dtype() == dense.matrix().dtype();
    return stored
        ? ((Dense) linear).matrix()
        : DenseSpelling.matrix(
            context, linear.weight(context), dense.inOut(), dense.matrix().dtype());
  }

  private static boolean same(Tensor a, Tensor b) {
    long rows = a.dimension(0);
    long band = Math.max(1, BAND_BYTES / (a.sizeBytes() / rows));
    boolean same = a.shape().equals(b.shape());
    for (long from = 0; same && from < rows; from += band) {
      long to = Math.min(rows, from + band);
      same = sameBand(a.rows(from, to), b.rows(from, to));
    }
    return same;
  }

  private static boolean sameBand(Tensor a, Tensor b) {
    ByteBuffer left = a.buffer();
    ByteBuffer right = b.buffer();
    if (a.dtype() != DType.F32) {
      return sameHalves(left, right);
    }
    FloatBuffer found = left.asFloatBuffer();
    FloatBuffer expected = right.asFloatBuffer();
    for (int at = 0, next; (next = mismatch(found, expected, at)) >= 0; at = next + 1) {
      if (!(found.get(next) == 0 && expected.get(next) == 0)) {
        return false;
      }
    }
    return true;
  }

  private static boolean sameHalves(ByteBuffer left, ByteBuffer right) {
    for (int at = 0, next; (next = mismatch(left, right, at)) >= 0; at = next / 2 * 2 + 2) {
      int half = next / 2 * 2;
      if ((left.getShort(half) & 0x7fff) != 0 || (right.getShort(half) & 0x7fff) != 0) {
        return false;
      }
    }
    return true;
  }

  private static int mismatch(FloatBuffer a, FloatBuffer b, int from) {
    int next = a.slice(from, a.limit() - from).mismatch(b.slice(from, b.limit() - from));
    return next < 0 ? next : from + next;
  }

  private static int mismatch(ByteBuffer a, ByteBuffer b, int from) {
    int next = a.slice(from, a.limit() - from).mismatch(b.slice(from, b.limit() - from));
    return next < 0 ? next : from + next;
  }
}
