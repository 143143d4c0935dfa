// SPDX-License-Identifier: Apache-2.0
package espalier.layer;

import espalier.kernel.Convert;
import espalier.kernel.Ops;
import espalier.kernel.Sparse.Matrix;
import espalier.tensor.Context;
import espalier.tensor.DType;
import espalier.tensor.Tensor;

/**
 * Symmetric integer codes with a scale per group of which only kept ones are stored: W = scale · q,
 * and 0 elsewhere. Codes of up to 4 bits take half a byte, wider ones a byte.
 *
 * @param scheme bits and group; symmetric, with floating-point activations
 * @param matrix [out, in], with codes and their scales
 * @param scaleType the type the scales are stored in: F32, F16 or BF16
 * @param bias F32 [out], or null
 */
public record SparseQuantized(Scheme scheme, Matrix matrix, DType scaleType, Tensor bias)
    implements Linear {
  public SparseQuantized {
    if (!canHold(scheme) || matrix.values().dtype() != SparseKind.of(scheme).dtype()) {
      throw new IllegalArgumentException(scheme + " stored as " + matrix.values().dtype());
    }
  }

  /** Returns whether linears of this scheme have a sparse form: 0 must be code 0. */
  public static boolean canHold(Scheme scheme) {
    return scheme.symmetric() && scheme.activations() == Activations.FLOAT;
  }

  @Override
  public long inFeatures() {
    return matrix.columns();
  }

  @Override
  public long outFeatures() {
    return matrix.rows();
  }

  @Override
  public Tensor forward(Ops ops, Tensor x) {
    return ops.sparse(x, matrix, bias);
  }

  @Override
  public Tensor weight(Context context) {
    return Sparse.expanded(context, matrix);
  }

  /** Returns the scales in the type they are stored in, in the context's current scope. */
  public Tensor storedScales(Context context) {
    return scaleType == DType.F32
        ? matrix.scales()
        : Convert.fromFloat(context, matrix.scales(), scaleType);
  }

  @Override
  public double bitsPerWeight() {
    double scales = (double) matrix.scales().elements() * scaleType.bits();
    return (Sparse.storedBits(matrix) + scales) / ((double) matrix.rows() * matrix.columns());
  }

  @Override
  public SparseQuantized withoutBias() {
    return new SparseQuantized(scheme, matrix, scaleType, null);
  }
}
