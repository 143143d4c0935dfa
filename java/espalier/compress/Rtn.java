// SPDX-License-Identifier: Apache-2.0
package espalier.compress;

import espalier.kernel.MatMul;
import espalier.kernel.Quantize;
import espalier.layer.Quantized;
import espalier.layer.Scheme;
import espalier.tensor.Context;
import espalier.tensor.DType;
import espalier.tensor.Tensor;
import java.util.List;

/**
 * Round to nearest: every weight goes to the closest value of its group's grid. Needs no data. The
 * convention is that of compressed-tensors: scale = 2·max|w| / (2^b − 1) when symmetric, (max −
 * min) / (2^b − 1) otherwise; the range is min-max or the one with the least error (see {@link
 * Quantize.Range}).
 *
 * @param ties what becomes of weights between two codes; the extreme of a symmetric group always is
 *     one
 */
public record Rtn(Quantize.Ties ties) implements LinearMethod {
  /** Rounds ties to even, as the float64 reference does. */
  public Rtn() {
    this(Quantize.Ties.TO_EVEN);
  }

  @Override
  public String name() {
    return "rtn";
  }

  @Override
  public String operation() {
    return "quantize_nearest";
  }

  @Override
  public boolean needsStatistics() {
    return false;
  }

  /** The grid of a symmetric group holds 0. */
  @Override
  public boolean keepsZeros(Scheme scheme) {
    return scheme.symmetric();
  }

  @Override
  public LinearResult apply(LinearInput input, Context context) {
    Quantized result = nearest(input, ties, context);
    Tensor rounded = result.weight(context);
    double error = LayerError.relative(context, input.weight(), rounded, input.statistics());
    return new LinearResult(result, error, error, List.of());
  }

  /** Returns the rounded linear with its tensors in the context's current scope. */
  static Quantized nearest(LinearInput input, Quantize.Ties ties, Context context) {
    Tensor weight = input.weight();
    int bits = input.scheme().bits();
    long rows = weight.dimension(0);
    long columns = weight.dimension(1);
    long group = input.scheme().group(columns);
    Tensor scales = context.allocate(DType.F32, rows, columns / group);
    Tensor zeros = context.allocate(DType.I8, rows, columns / group);
    Tensor codes = context.allocate(DType.I8, rows, columns);
    Quantize.range(
        context,
        weight,
        bits,
        input.scheme().symmetric(),
        group,
        input.scaleType(),
        input.range(),
        ties,
        scales,
        zeros);
    Quantize.nearest(
        context,
        weight,
        bits,
        group,
        scales,
        input.scheme().symmetric() ? null : zeros,
        ties,
        codes);
    return packed(input, context, scales, zeros, codes);
  }

  /** Returns the linear of given signed codes, scales and zeros. */
  static Quantized packed(
      LinearInput input, Context context, Tensor scales, Tensor zeros, Tensor codes) {
    return new Quantized(
        input.scheme(),
        input.weight().dimension(1),
        Quantize.pack(context, codes, input.scheme().bits()),
        scales,
        input.scheme().symmetric() ? null : zeros,
        null,
        input.scaleType().stored(),
        input.bias());
  }

  /** Returns the dense values of a result, F32 [out, in], in the current scope. */
  static Tensor values(Quantized result, Context context) {
    Tensor values = context.allocate(DType.F32, result.outFeatures(), result.inFeatures());
    MatMul.dequantize(
        context,
        result.scheme().bits(),
        result.codes(),
        result.scales(),
        result.zeros(),
        result.group(),
        result.groupIndex(),
        values);
    return values;
  }
}
