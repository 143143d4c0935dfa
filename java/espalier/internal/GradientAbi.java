// SPDX-License-Identifier: Apache-2.0
package espalier.internal;

import org.bytedeco.javacpp.Loader;
import org.bytedeco.javacpp.annotation.Cast;
import org.bytedeco.javacpp.annotation.NoException;
import org.bytedeco.javacpp.annotation.Platform;

/**
 * The training section of {@code native/include/espalier.h}, line by line, apart from {@link Abi}
 * for the length of that file alone. Only {@code espalier.kernel} may call it.
 */
@Platform(include = "espalier.h", link = "espalier")
@NoException
public final class GradientAbi {
  static {
    Loader.load();
  }

  private GradientAbi() {}

  public static native int esp_zero(@Cast("esp_context*") long ctx, long n, @Cast("float*") long y);

  public static native int esp_accumulate(
      @Cast("esp_context*") long ctx,
      long rows,
      long cols,
      @Cast("const float*") long x,
      long ldx,
      @Cast("float*") long y,
      long ldy);

  public static native int esp_multiply_add(
      @Cast("esp_context*") long ctx,
      long n,
      @Cast("const float*") long a,
      @Cast("const float*") long b,
      @Cast("float*") long y);

  public static native int esp_silu_mul_backward(
      @Cast("esp_context*") long ctx,
      long n,
      @Cast("const float*") long gate,
      @Cast("const float*") long up,
      @Cast("const float*") long dy,
      @Cast("float*") long dgate,
      @Cast("float*") long dup);

  public static native int esp_activation_backward(
      @Cast("esp_context*") long ctx,
      long n,
      int kind,
      @Cast("const float*") long x,
      @Cast("const float*") long dy,
      @Cast("float*") long dx);

  public static native int esp_norm_backward(
      @Cast("esp_context*") long ctx,
      long rows,
      long cols,
      int centred,
      @Cast("const float*") long x,
      @Cast("const float*") long weight,
      float eps,
      @Cast("const float*") long dy,
      @Cast("double*") long statistics,
      @Cast("float*") long dx,
      @Cast("float*") long dweight,
      @Cast("float*") long dbias);

  public static native int esp_embedding_backward(
      @Cast("esp_context*") long ctx,
      long tokens,
      long vocabulary,
      long width,
      @Cast("const int32_t*") long ids,
      @Cast("const float*") long dy,
      @Cast("float*") long dtable);

  public static native int esp_linear_backward(
      @Cast("esp_context*") long ctx,
      long m,
      long n,
      long k,
      int inOut,
      @Cast("const float*") long x,
      int wdtype,
      @Cast("const void*") long w,
      @Cast("const float*") long dy,
      @Cast("float*") long dx,
      @Cast("float*") long dw,
      @Cast("float*") long dbias);

  public static native int esp_attention_sequences(
      @Cast(" esp_context*") long ctx,
      long sequences,
      @Cast("const int64_t*") long queryStarts,
      @Cast("const int64_t*") long keyStarts,
      long heads,
      long kvHeads,
      long headDim,
      long window,
      float scale,
      @Cast("const float*") long q,
      @Cast("const float*") long k,
      @Cast("const float*") long v,
      @Cast("float*") long y,
      @Cast("float*") long logSum);

  public static native int esp_attention_backward(
      @Cast("esp_context*") long ctx,
      long sequences,
      @Cast("const int64_t*") long queryStarts,
      @Cast("const int64_t*") long keyStarts,
      long heads,
      long kvHeads,
      long headDim,
      long window,
      float scale,
      @Cast("const float*") long q,
      @Cast("const float*") long k,
      @Cast("const float*") long v,
      @Cast("const float*") long y,
      @Cast("const float*") long logSum,
      @Cast("const float*") long dy,
      @Cast("float*") long dq,
      @Cast("float*") long dk,
      @Cast("float*") long dv);

  public static native int esp_cross_entropy_backward(
      @Cast("esp_context*") long ctx,
      long rows,
      long vocabulary,
      @Cast("const float*") long logits,
      @Cast("const int32_t*") long targets,
      float scale,
      @Cast("float*") long gradient,
      @Cast("double*") long loss);

  public static native int esp_divergence_backward(
      @Cast("esp_context*") long ctx,
      long rows,
      long vocabulary,
      @Cast("const float*") long teacher,
      @Cast("const float*") long student,
      @Cast("const int32_t*") long targets,
      double forward,
      double forwardSkew,
      double reverse,
      double reverseSkew,
      double variation,
      double temperature,
      float scale,
      int add,
      @Cast("float*") long gradient,
      @Cast("double*") long loss);

  public static native int esp_squared_error_backward(
      @Cast("esp_context*") long ctx,
      long n,
      @Cast("const float*") long x,
      @Cast("const float*") long target,
      float scale,
      @Cast("float*") long dx,
      @Cast("double*") long sum);

  public static native int esp_sum_of_squares(
      @Cast("esp_context*") long ctx,
      long n,
      @Cast("const float*") long x,
      @Cast("double*") long sum);

  public static native int esp_adamw(
      @Cast("esp_context*") long ctx,
      long n,
      long step,
      double rate,
      double beta1,
      double beta2,
      double eps,
      double decay,
      double gradientFactor,
      @Cast("const float*") long gradient,
      @Cast("float*") long moment,
      @Cast("float*") long square,
      @Cast("float*") long parameter);

  public static native int esp_sgd(
      @Cast("esp_context*") long ctx,
      long n,
      int sign,
      double rate,
      double momentum,
      double decay,
      double gradientFactor,
      @Cast("const float*") long gradient,
      @Cast("float*") long velocity,
      @Cast("float*") long parameter);
}
