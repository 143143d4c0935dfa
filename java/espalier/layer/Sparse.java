// SPDX-License-Identifier: Apache-2.0
package espalier.layer;

import espalier.kernel.Ops;
import espalier.kernel.Sparse.Matrix;
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
public record Sparse(Matrix matrix, Tensor bias) implements Linear {
  public Sparse {
    if (SparseKind.of(matrix.values().dtype()).isCode()) {
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
    return expanded(context, matrix);
  }

  /** Returns a matrix with its zeros in place, F32 [rows, columns], in the current scope. */
  static Tensor expanded(Context context, Matrix matrix) {
    Tensor dense = context.allocate(DType.F32, matrix.rows(), matrix.columns());
    espalier.kernel.Sparse.expand(context, matrix, dense);
    return dense;
  }

  /** Returns the bits of places, offsets and values. */
  static double storedBits(Matrix matrix) {
    long offsets = matrix.rowOffsets() == null ? 0 : matrix.rowOffsets().sizeBytes();
    return 8.0 * (matrix.places().sizeBytes() + offsets + matrix.values().sizeBytes());
  }

  @Override
  public double bitsPerWeight() {
    return storedBits(matrix) / ((double) matrix.rows() * matrix.columns());
  }

  @Override
  public Sparse withoutBias() {
    return new Sparse(matrix, null);
  }
}
