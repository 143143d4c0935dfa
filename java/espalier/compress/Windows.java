// SPDX-License-Identifier: Apache-2.0
package espalier.compress;

import espalier.kernel.Sparse.Matrix;
import espalier.layer.Dense;
import espalier.layer.Linear;
import espalier.layer.Quantized;
import espalier.layer.Sparse;
import espalier.layer.SparseQuantized;
import espalier.model.Block;

/**
 * Gives back the pages of mapped weights that were used and are not needed for now. The kernel
 * counts pages of mapped files as resident until somebody says so.
 */
final class Windows {
  private Windows() {}

  static void forget(Linear linear) {
    if (linear instanceof Dense dense) {
      dense.matrix().forget();
    } else if (linear instanceof Quantized quantized) {
      quantized.codes().forget();
    } else if (linear instanceof Sparse sparse) {
      forget(sparse.matrix());
    } else if (linear instanceof SparseQuantized quantized) {
      forget(quantized.matrix());
    }
  }

  private static void forget(Matrix matrix) {
    matrix.places().forget();
    matrix.values().forget();
  }

  static void forget(Block block) {
    block.linears().values().forEach(Windows::forget);
  }
}
