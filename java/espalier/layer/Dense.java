// SPDX-License-Identifier: Apache-2.0
package espalier.layer;

import espalier.kernel.Convert;
import espalier.kernel.Ops;
import espalier.tensor.Context;
import espalier.tensor.DType;
import espalier.tensor.Tensor;
import java.nio.FloatBuffer;

/**
 * A plain matrix.
 *
 * @param matrix F32, F16 or BF16; [out, in], or [in, out] when {@code inOut} (GPT-2's Conv1D)
 * @param inOut whether the matrix is stored [in, out]
 * @param bias F32 [out], or null
 */
public record Dense(Tensor matrix, boolean inOut, Tensor bias) implements Linear {
  /** Creates a matrix stored [out, in]. */
  public Dense(Tensor matrix, Tensor bias) {
    this(matrix, false, bias);
  }

  @Override
  public long inFeatures() {
    return matrix.dimension(inOut ? 0 : 1);
  }

  @Override
  public long outFeatures() {
    return matrix.dimension(inOut ? 1 : 0);
  }

  @Override
  public Tensor forward(Ops ops, Tensor x) {
    return ops.dense(x, matrix, inOut, bias);
  }

  @Override
  public Tensor weight(Context context) {
    Tensor wide = matrix.dtype() == DType.F32 ? matrix : Convert.toFloat(context, matrix);
    return inOut ? transposed(context, wide) : wide;
  }

  private Tensor transposed(Context context, Tensor wide) {
    int in = Math.toIntExact(inFeatures());
    int out = Math.toIntExact(outFeatures());
    Tensor result = context.allocate(DType.F32, out, in);
    FloatBuffer from = wide.buffer().asFloatBuffer();
    FloatBuffer to = result.buffer().asFloatBuffer();
    for (int row = 0; row < out; row++) {
      for (int column = 0; column < in; column++) {
        to.put(row * in + column, from.get(column * out + row));
      }
    }
    return result;
  }

  @Override
  public double bitsPerWeight() {
    return matrix.dtype().bits();
  }

  @Override
  public Dense withoutBias() {
    return new Dense(matrix, inOut, null);
  }
}
