// SPDX-License-Identifier: Apache-2.0
package espalier.kernel;

import static espalier.kernel.Checks.optional;
import static espalier.kernel.Checks.require;
import static espalier.kernel.Checks.shaped;

import espalier.internal.GradientAbi;
import espalier.internal.Native;
import espalier.tensor.Context;
import espalier.tensor.DType;
import espalier.tensor.Tensor;

/**
 * Gradients of the operations of {@link Ops}. Every gradient d… is F32 of its tensor's shape and is
 * added to what is there; null where nobody wants it. Sums over tokens have one order for any
 * number of threads.
 */
public final class Backward {
  private Backward() {}

  /** Overwrites an F32 tensor with zeros. */
  public static void zero(Context context, Tensor y) {
    require(y.dtype() == DType.F32, "y", y, "F32");
    Native.check(GradientAbi.esp_zero(context.handle(), y.elements(), y.address()));
  }

  /** Adds x to y; F32 of one shape. */
  public static void accumulate(Context context, Tensor x, Tensor y) {
    shaped("x", x, DType.F32, y.shape().toArray());
    long n = x.elements();
    Native.check(
        GradientAbi.esp_accumulate(context.handle(), 1, n, x.address(), n, y.address(), n));
  }

  /** Adds dy [rows, width] to the columns of dx from {@code from} on. */
  public static void columns(Context context, Tensor dy, long from, Tensor dx) {
    long width = dy.dimension(1);
    shaped("dy", dy, DType.F32, dx.dimension(0), width);
    require(from >= 0 && from + width <= dx.dimension(1), "from", from, "columns of " + dx);
    Native.check(
        GradientAbi.esp_accumulate(
            context.handle(),
            dy.dimension(0),
            width,
            dy.address(),
            width,
            dx.address() + from * Float.BYTES,
            dx.dimension(1)));
  }

  /** Adds a · b, element by element, to y: the gradient of a product by either factor. */
  public static void multiply(Context context, Tensor a, Tensor b, Tensor y) {
    shaped("b", b, DType.F32, a.shape().toArray());
    shaped("y", y, DType.F32, a.shape().toArray());
    Native.check(
        GradientAbi.esp_multiply_add(
            context.handle(), a.elements(), a.address(), b.address(), y.address()));
  }

  /** Of {@link Elementwise#siluMultiply}; both gradients are wanted. */
  public static void siluMultiply(
      Context context, Tensor gate, Tensor up, Tensor dy, Tensor dgate, Tensor dup) {
    for (Tensor like : new Tensor[] {up, dy, dgate, dup}) {
      shaped("operand", like, DType.F32, gate.shape().toArray());
    }
    Native.check(
        GradientAbi.esp_silu_mul_backward(
            context.handle(),
            gate.elements(),
            gate.address(),
            up.address(),
            dy.address(),
            dgate.address(),
            dup.address()));
  }

  /** Of {@link Elementwise#apply}. */
  public static void activation(
      Context context, Elementwise.Function function, Tensor x, Tensor dy, Tensor dx) {
    shaped("dy", dy, DType.F32, x.shape().toArray());
    shaped("dx", dx, DType.F32, x.shape().toArray());
    Native.check(
        GradientAbi.esp_activation_backward(
            context.handle(),
            x.elements(),
            function.ordinal(),
            x.address(),
            dy.address(),
            dx.address()));
  }

  /**
   * Of {@link Norm#rms} and, {@code centred}, of {@link Norm#layer}.
   *
   * @param x F32, rows of width |weight|
   * @param statistics F64 with two elements for every row, overwritten
   */
  public static void norm(
      Context context,
      boolean centred,
      Tensor x,
      Tensor weight,
      float eps,
      Tensor dy,
      Tensor statistics,
      Tensor dx,
      Tensor dweight,
      Tensor dbias) {
    long width = weight.elements();
    long rows = width == 0 ? 0 : x.elements() / width;
    shaped("dy", dy, DType.F32, x.shape().toArray());
    shaped("statistics", statistics, DType.F64, rows, 2);
    Native.check(
        GradientAbi.esp_norm_backward(
            context.handle(),
            rows,
            width,
            centred ? 1 : 0,
            x.address(),
            weight.address(),
            eps,
            dy.address(),
            statistics.address(),
            optional(dx),
            optional(dweight),
            optional(dbias)));
  }

  /** Of {@link Elementwise#embed}: adds every row of dy to the row of its id. */
  public static void embed(Context context, Tensor ids, Tensor dy, Tensor dtable) {
    shaped("dy", dy, DType.F32, ids.elements(), dtable.dimension(1));
    Native.check(
        GradientAbi.esp_embedding_backward(
            context.handle(),
            ids.elements(),
            dtable.dimension(0),
            dtable.dimension(1),
            ids.address(),
            dy.address(),
            dtable.address()));
  }

  /**
   * Of {@link MatMul#dense} and, {@code inOut}, of {@link MatMul#denseInOut}.
   *
   * @param x F32 [m, k]
   * @param weight F32, F16 or BF16, [n, k] or [k, n]
   * @param dy F32 [m, n]
   */
  public static void linear(
      Context context,
      Tensor x,
      Tensor weight,
      boolean inOut,
      Tensor dy,
      Tensor dx,
      Tensor dweight,
      Tensor dbias) {
    long m = x.dimension(0);
    long k = x.dimension(1);
    long n = weight.dimension(inOut ? 1 : 0);
    require(weight.dimension(inOut ? 0 : 1) == k, "weight", weight, k + " inputs");
    shaped("dy", dy, DType.F32, m, n);
    if (dweight != null) {
      shaped("dweight", dweight, DType.F32, weight.shape().toArray());
    }
    Native.check(
        GradientAbi.esp_linear_backward(
            context.handle(),
            m,
            n,
            k,
            inOut ? 1 : 0,
            x.address(),
            weight.dtype().code(),
            weight.address(),
            dy.address(),
            optional(dx),
            optional(dweight),
            optional(dbias)));
  }

  /**
   * The sequences of a batch, one after the other, and how their attention is shaped.
   *
   * @param queryStarts I64 [sequences + 1]: the first query of every sequence, and their number
   * @param keyStarts the same for keys; a sequence's queries are its last positions
   * @param window keys a query may see, 0 for all
   */
  public record Sequences(
      Tensor queryStarts, Tensor keyStarts, long heads, long keyHeads, long window, float scale) {}

  /**
   * Writes the attention of a batch, and the log of every row's sum that its gradient needs.
   *
   * @param q F32 [queries, heads · headWidth]
   * @param keys F32 [keys, keyHeads · headWidth]; values alike
   * @param y F32 like q
   * @param logSum F32 [queries, heads]
   */
  public static void attend(
      Context context, Sequences s, Tensor q, Tensor keys, Tensor values, Tensor y, Tensor logSum) {
    check(s, q, keys, values, logSum);
    shaped("y", y, DType.F32, q.shape().toArray());
    Native.check(
        GradientAbi.esp_attention_sequences(
            context.handle(),
            s.queryStarts().elements() - 1,
            s.queryStarts().address(),
            s.keyStarts().address(),
            s.heads(),
            s.keyHeads(),
            q.dimension(1) / s.heads(),
            s.window(),
            s.scale(),
            q.address(),
            keys.address(),
            values.address(),
            y.address(),
            logSum.address()));
  }

  /** Of {@link #attend}, from y and logSum alone; all three gradients are wanted. */
  public static void attention(
      Context context,
      Sequences s,
      Tensor q,
      Tensor keys,
      Tensor values,
      Tensor y,
      Tensor logSum,
      Tensor dy,
      Tensor dq,
      Tensor dkeys,
      Tensor dvalues) {
    check(s, q, keys, values, logSum);
    shaped("y", y, DType.F32, q.shape().toArray());
    shaped("dy", dy, DType.F32, q.shape().toArray());
    shaped("dq", dq, DType.F32, q.shape().toArray());
    shaped("dkeys", dkeys, DType.F32, keys.shape().toArray());
    shaped("dvalues", dvalues, DType.F32, keys.shape().toArray());
    Native.check(
        GradientAbi.esp_attention_backward(
            context.handle(),
            s.queryStarts().elements() - 1,
            s.queryStarts().address(),
            s.keyStarts().address(),
            s.heads(),
            s.keyHeads(),
            q.dimension(1) / s.heads(),
            s.window(),
            s.scale(),
            q.address(),
            keys.address(),
            values.address(),
            y.address(),
            logSum.address(),
            dy.address(),
            dq.address(),
            dkeys.address(),
            dvalues.address()));
  }

  private static void check(Sequences s, Tensor q, Tensor keys, Tensor values, Tensor logSum) {
    Checks.matrix("q", q, DType.F32);
    long width = q.dimension(1) / s.heads();
    shaped("keys", keys, DType.F32, keys.dimension(0), s.keyHeads() * width);
    shaped("values", values, DType.F32, keys.shape().toArray());
    shaped("logSum", logSum, DType.F32, q.dimension(0), s.heads());
    shaped("keyStarts", s.keyStarts(), DType.I64, s.queryStarts().elements());
    requireEnd("queryStarts", s.queryStarts(), q);
    requireEnd("keyStarts", s.keyStarts(), keys);
  }

  /** The last start is where native code ends. */
  private static void requireEnd(String name, Tensor starts, Tensor rows) {
    require(starts.dtype() == DType.I64 && starts.elements() > 0, name, starts, "I64 [n + 1]");
    long end = starts.buffer((starts.elements() - 1) * Long.BYTES, Long.BYTES).getLong(0);
    require(end == rows.dimension(0), name, "ending at " + end, "the rows of " + rows);
  }
}
