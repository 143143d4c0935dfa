// SPDX-License-Identifier: Apache-2.0
package espalier.compress;

import espalier.codec.SparseCodec;
import espalier.kernel.Eager;
import espalier.kernel.Ops;
import espalier.layer.Linear;
import espalier.tensor.Context;
import espalier.tensor.DType;
import espalier.tensor.Tensor;

/**
 * How long one token takes in a sparse linear and in the same with its zeros in place: the least of
 * a few turns, taken in turn. A figure for the report, at the context's threads; small matrices
 * stay in a cache, and the machine may be busy.
 *
 * @param microseconds of the sparse form
 * @param denseMicroseconds of the dense or packed form with values of the same kind
 */
record FormSpeed(double microseconds, double denseMicroseconds) {
  private static final int TURNS = 5;

  static FormSpeed of(Context context, Linear sparse) {
    try (Context.Scope scope = context.scope()) {
      Ops ops = new Eager(context);
      Linear dense = SparseCodec.expanded(context, sparse);
      Tensor x = context.allocate(DType.F32, 1, sparse.inFeatures());
      for (int i = 0; i < sparse.inFeatures(); i++) {
        x.buffer(4L * i, 4).putFloat((i % 7 - 3) / 4f);
      }
      double least = Double.MAX_VALUE;
      double leastDense = Double.MAX_VALUE;
      for (int turn = 0; turn < TURNS; turn++) {
        least = Math.min(least, time(context, ops, sparse, x));
        leastDense = Math.min(leastDense, time(context, ops, dense, x));
      }
      return new FormSpeed(least, leastDense);
    }
  }

  private static double time(Context context, Ops ops, Linear linear, Tensor x) {
    try (Context.Scope scope = context.scope()) {
      long begun = System.nanoTime();
      linear.forward(ops, x);
      return (System.nanoTime() - begun) / 1e3;
    }
  }
}
