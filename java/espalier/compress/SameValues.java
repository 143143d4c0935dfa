// SPDX-License-Identifier: Apache-2.0
package espalier.compress;

import espalier.layer.Dense;
import espalier.layer.Linear;
import espalier.layer.Quantized;
import espalier.model.Model;
import espalier.report.EspalierException;
import espalier.tensor.Context;
import espalier.tensor.Tensor;
import java.nio.file.Path;
import java.util.Map;

/**
 * The proof of a dense output beside a packed one: its linears hold what the packed files decode
 * to, to the bit. Logits would prove less: dense and packed products add in different orders.
 */
final class SameValues {
  private SameValues() {}

  /**
   * Compares every linear of two finished folders.
   *
   * @throws EspalierException (FAILED) naming the first linear that differs
   */
  static void require(Context context, Path dense, Path packed) {
    try (Model plain = Model.open(dense, context);
        Model coded = Model.open(packed, context)) {
      Map<String, Linear> values = plain.linears();
      for (Map.Entry<String, Linear> entry : coded.linears().entrySet()) {
        if (entry.getValue() instanceof Quantized codes
            && !same(context, (Dense) values.get(entry.getKey()), codes)) {
          throw EspalierException.failed(
              dense + ": " + entry.getKey() + " differs from what the packed files decode to",
              "This is a fault of ours; please report it with the recipe.");
        }
      }
    }
  }

  private static boolean same(Context context, Dense dense, Quantized codes) {
    try (Context.Scope scope = context.scope()) {
      Tensor written = dense.matrix();
      Tensor decoded = DenseSpelling.matrix(context, codes, dense.inOut(), written.dtype());
      boolean same = written.buffer().mismatch(decoded.buffer()) < 0;
      Windows.forget(dense);
      Windows.forget(codes);
      return same;
    }
  }
}
