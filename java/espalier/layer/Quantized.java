// SPDX-License-Identifier: Apache-2.0
package espalier.layer;

import espalier.kernel.Convert;
import espalier.kernel.MatMul;
import espalier.kernel.Ops;
import espalier.tensor.Context;
import espalier.tensor.DType;
import espalier.tensor.Tensor;

/**
 * Integer codes with a scale, and perhaps a zero point, per group of a row: W = scale · (q − zero).
 * Codes are the canonical bit streams of the file.
 *
 * @param scheme bits, symmetry and group
 * @param inFeatures columns of the matrix
 * @param codes I32 [out, ⌈in·bits/32⌉]: bit streams of q + 2^(bits−1), lowest bits first
 * @param scales F32 [out, in/group], exact in {@code scaleType}
 * @param zeros I8 [out, in/group] in the signed domain; null when symmetric
 * @param groupIndex I32 [in], the group of every column, or null when groups are consecutive
 * @param scaleType the type the scales are stored in: F32, F16 or BF16
 * @param bias F32 [out], or null
 */
public record Quantized(
    Scheme scheme,
    long inFeatures,
    Tensor codes,
    Tensor scales,
    Tensor zeros,
    Tensor groupIndex,
    DType scaleType,
    Tensor bias)
    implements Linear {

  @Override
  public long outFeatures() {
    return codes.dimension(0);
  }

  /** Returns columns per group. */
  public long group() {
    return scheme.group(inFeatures);
  }

  @Override
  public Tensor forward(Ops ops, Tensor x) {
    if (scheme.activations() == Activations.INT8_PER_TOKEN) {
      return ops.packedRounded(x, scheme.bits(), codes, scales, zeros, group(), bias);
    }
    return ops.packed(x, scheme.bits(), codes, scales, zeros, group(), groupIndex, bias);
  }

  @Override
  public Tensor weight(Context context) {
    Tensor weight = context.allocate(DType.F32, outFeatures(), inFeatures);
    MatMul.dequantize(context, scheme.bits(), codes, scales, zeros, group(), groupIndex, weight);
    return weight;
  }

  /** Returns rows [{@code from}, {@code to}) as a linear of its own, without a bias. */
  Quantized rows(long from, long to) {
    return new Quantized(
        scheme,
        inFeatures,
        codes.rows(from, to),
        scales.rows(from, to),
        zeros == null ? null : zeros.rows(from, to),
        groupIndex,
        scaleType,
        null);
  }

  /** Returns the same with its scales to be stored in another type that holds them exactly. */
  public Quantized withScaleType(DType type) {
    return new Quantized(scheme, inFeatures, codes, scales, zeros, groupIndex, type, bias);
  }

  /** Returns the scales in the type they are stored in, in the context's current scope. */
  public Tensor storedScales(Context context) {
    return scaleType == DType.F32 ? scales : Convert.fromFloat(context, scales, scaleType);
  }

  @Override
  public double bitsPerWeight() {
    return scheme.bitsPerWeight(inFeatures, scaleType.bits());
  }

  @Override
  public Quantized withoutBias() {
    return new Quantized(scheme, inFeatures, codes, scales, zeros, groupIndex, scaleType, null);
  }
}
