// SPDX-License-Identifier: Apache-2.0
package espalier.layer;

import espalier.kernel.Convert;
import espalier.kernel.Ops;
import espalier.kernel.SparseMatrix;
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
public record SparseQuantized(Scheme scheme, SparseMatrix matrix, DType scaleType, Tensor bias)
    implements Linear {
  public SparseQuantized {
    if (!canHold(scheme) || matrix.kind() != kind(scheme)) {
      throw new IllegalArgumentException(scheme + " stored as " + matrix.kind());
    }
  }

  /** Returns whether linears of this scheme have a sparse form: 0 must be code 0. */
  public static boolean canHold(Scheme scheme) {
    return scheme.symmetric() && scheme.activations() == Activations.FLOAT;
  }

  /** Returns how codes of this scheme are stored. */
  public static SparseMatrix.Kind kind(Scheme scheme) {
    return scheme.bits() <= 4 ? SparseMatrix.Kind.INT4 : SparseMatrix.Kind.INT8;
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
    return espalier.kernel.Sparse.expand(context, matrix);
  }

  /** Returns the scales in the type they are stored in, in the context's current scope. */
  public Tensor storedScales(Context context) {
    return scaleType == DType.F32
        ? matrix.scales()
        : Convert.fromFloat(context, matrix.scales(), scaleType);
  }

  @Override
  public double bitsPerWeight() {
    double bits = 8.0 * matrix.storedBytes() + matrix.scales().elements() * scaleType.bits();
    return bits / (matrix.rows() * (double) matrix.columns());
  }

  @Override
  public SparseQuantized withoutBias() {
    return new SparseQuantized(scheme, matrix, scaleType, null);
  }
}
