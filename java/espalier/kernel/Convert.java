// SPDX-License-Identifier: Apache-2.0
package espalier.kernel;

import static espalier.kernel.Checks.require;
import static espalier.kernel.Checks.shaped;

import espalier.internal.Abi;
import espalier.internal.Native;
import espalier.internal.Words;
import espalier.tensor.Context;
import espalier.tensor.DType;
import espalier.tensor.Tensor;

/** Conversion between element types. */
public final class Convert {
  private Convert() {}

  /**
   * Returns a new F32 tensor of the same shape in the current scope: exact widening (F64 rounds).
   */
  public static Tensor toFloat(Context context, Tensor x) {
    Tensor y = context.blank(DType.F32, x.shape().toArray());
    toFloat(context, x, y);
    return y;
  }

  /** Writes the values of x, widened (F32 is copied, F64 rounds), into the F32 tensor y. */
  public static void toFloat(Context context, Tensor x, Tensor y) {
    shaped("y", y, DType.F32, x.shape().toArray());
    Native.check(
        Abi.esp_convert_to_f32(
            context.handle(), x.elements(), x.dtype().code(), x.address(), y.address()));
  }

  /**
   * Returns a new tensor of {@code dtype} in the current scope: each F32 value rounded to nearest
   * even.
   */
  public static Tensor fromFloat(Context context, Tensor x, DType dtype) {
    Tensor y = context.allocate(dtype, x.shape().toArray());
    fromFloat(context, x, y);
    return y;
  }

  /** Writes the F32 values of x, rounded to nearest even, into y of another type. */
  public static void fromFloat(Context context, Tensor x, Tensor y) {
    require(x.dtype() == DType.F32, "x", x, "F32");
    require(x.shape().equals(y.shape()), "y", y, x.shape().toString());
    Native.check(
        Abi.esp_convert_from_f32(
            context.handle(), x.elements(), y.dtype().code(), x.address(), y.address()));
  }

  /** Returns the index of the first NaN or infinity, or −1 when every element is finite. */
  public static long firstNonFinite(Context context, Tensor x) {
    Words first = new Words(1);
    Native.check(
        Abi.esp_first_nonfinite(
            context.handle(), x.elements(), x.dtype().code(), x.address(), first.address(0)));
    return first.get(0);
  }
}
