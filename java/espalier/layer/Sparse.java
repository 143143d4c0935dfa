// SPDX-License-Identifier: Apache-2.0
package espalier.layer;

import espalier.kernel.Ops;
import espalier.kernel.SparseMatrix;
import espalier.tensor.Context;
import espalier.tensor.DType;
import espalier.tensor.Tensor;

/**
 * A matrix of which only kept weights are stored, in floating point; the tensors are those of the
 * file.
 *
 * @param matrix [out, in], with BF16, F16 or F32 values
 * @param bias F32 [out], or null
 */
public record Sparse(SparseMatrix matrix, Tensor bias) implements Linear {
  public Sparse {
    if (matrix.kind().isCode()) {
      throw new IllegalArgumentException("values are codes of a quantized matrix");
    }
  }

  @Override
  public long inFeatures() {
    return matrix.columns();
  }

  @Override
  public long outFeatures() {
    return matrix.rows();
  }

  /** Returns the type of the values. */
  public DType type() {
    return matrix.values().dtype();
  }

  @Override
  public Tensor forward(Ops ops, Tensor x) {
    return ops.sparse(x, matrix, bias);
  }

  @Override
  public Tensor weight(Context context) {
    return espalier.kernel.Sparse.expand(context, matrix);
  }

  @Override
  public double bitsPerWeight() {
    return 8.0 * matrix.storedBytes() / (matrix.rows() * (double) matrix.columns());
  }

  @Override
  public Sparse withoutBias() {
    return new Sparse(matrix, null);
  }
}
