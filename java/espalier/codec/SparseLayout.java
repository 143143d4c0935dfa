// SPDX-License-Identifier: Apache-2.0
package espalier.codec;

import espalier.checkpoint.TensorSpec;
import espalier.kernel.Sparse;
import espalier.kernel.Sparse.Pattern;
import espalier.layer.Scheme;
import espalier.layer.SparseKind;
import espalier.layer.SparseQuantized;
import espalier.tensor.DType;
import espalier.tensor.Shape;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/**
 * The tensors of one sparse linear, to the byte, before its weights are known.
 *
 * <pre>
 * bitmask  out·⌈in/8⌉ + 8·out + values     values: w bytes a kept weight; 4-bit codes ⌊(kept + out)/2⌋
 * 2:4      out·⌈in/8⌉ + values             values: w bytes for half of the weights; 4-bit codes out·⌈in/4⌉
 * codes    and out·in/group scales in either case
 * </pre>
 *
 * Every row of 4-bit codes begins a byte, so that of a row with an odd count half a byte stays
 * empty; how many rows are odd is only known with the weights, hence the bound.
 *
 * @param pattern which weights may be kept
 * @param kind how they are stored
 * @param out rows
 * @param in columns
 * @param units elements of the values' tensor
 * @param group columns that share a scale, 0 for none
 * @param scaleType of the stored scales, null for none
 */
public record SparseLayout(
    Pattern pattern, SparseKind kind, long out, long in, long units, long group, DType scaleType) {
  /**
   * Returns the smallest layout of a floating-point matrix, if one is smaller than the matrix.
   *
   * @param kept the most weights that are not 0
   * @param twoOfFour whether of every four columns at most two are not 0
   */
  public static Optional<SparseLayout> smallest(
      DType type, long out, long in, long kept, boolean twoOfFour) {
    return smallest(SparseKind.of(type), out, in, kept, twoOfFour, 0, null, type.bytes(out * in));
  }

  /**
   * Returns the smallest layout of codes, if the scheme has one and it is smaller than {@code
   * denseBytes}; otherwise as above.
   */
  public static Optional<SparseLayout> smallest(
      Scheme scheme,
      DType scaleType,
      long out,
      long in,
      long kept,
      boolean twoOfFour,
      long denseBytes) {
    return SparseQuantized.canHold(scheme)
        ? smallest(
            SparseKind.of(scheme),
            out,
            in,
            kept,
            twoOfFour,
            scheme.group(in),
            scaleType,
            denseBytes)
        : Optional.empty();
  }

  private static Optional<SparseLayout> smallest(
      SparseKind kind,
      long out,
      long in,
      long kept,
      boolean twoOfFour,
      long group,
      DType scaleType,
      long denseBytes) {
    List<SparseLayout> fitting = new ArrayList<>();
    // 2:4 first: of equals it is the one that kernels read faster.
    if (twoOfFour && in % 4 == 0) {
      long units = out * kind.elements(in / 2);
      fitting.add(new SparseLayout(Pattern.TWO_OF_FOUR, kind, out, in, units, group, scaleType));
    }
    long most = out * kind.elements(in);
    long units = kind == SparseKind.INT4 ? Math.min(most, (kept + out) / 2) : kept;
    fitting.add(new SparseLayout(Pattern.BITMASK, kind, out, in, units, group, scaleType));
    SparseLayout best = fitting.get(0);
    for (SparseLayout each : fitting) {
      best = each.bytes() < best.bytes() ? each : best;
    }
    return best.bytes() < denseBytes ? Optional.of(best) : Optional.empty();
  }

  /** Returns the bytes of all tensors. */
  public long bytes() {
    return specs("").stream().mapToLong(TensorSpec::sizeBytes).sum();
  }

  /** Returns stored bits over out · in. */
  public double bitsPerWeight() {
    return 8.0 * bytes() / ((double) out * in);
  }

  /** Returns the dimensions of the values. */
  long[] valueShape() {
    return pattern == Pattern.BITMASK
        ? new long[] {units}
        : new long[] {out, kind.elements(in / 2)};
  }

  /** Returns the tensors of a module, without its bias. */
  public List<TensorSpec> specs(String module) {
    List<TensorSpec> specs = new ArrayList<>();
    boolean bitmask = pattern == Pattern.BITMASK;
    String places = bitmask ? SparseCodec.BITMASK : SparseCodec.POSITIONS;
    specs.add(new TensorSpec(module + places, DType.U8, Shape.of(out, Sparse.placeBytes(in))));
    if (bitmask) {
      specs.add(new TensorSpec(module + SparseCodec.OFFSETS, DType.I64, Shape.of(out)));
    }
    specs.add(new TensorSpec(module + SparseCodec.VALUES, kind.dtype(), Shape.of(valueShape())));
    if (group > 0) {
      specs.add(new TensorSpec(module + SparseCodec.SCALE, scaleType, Shape.of(out, in / group)));
    }
    return specs;
  }
}
