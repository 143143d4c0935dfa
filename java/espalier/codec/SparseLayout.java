// SPDX-License-Identifier: Apache-2.0
package espalier.codec;

import espalier.checkpoint.TensorSpec;
import espalier.kernel.SparseMatrix.Kind;
import espalier.kernel.SparseMatrix.Pattern;
import espalier.layer.Scheme;
import espalier.layer.SparseQuantized;
import espalier.tensor.DType;
import espalier.tensor.Shape;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.stream.Stream;

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
    Pattern pattern, Kind kind, long out, long in, long units, long group, DType scaleType) {
  /**
   * Returns the smallest layout of a floating-point matrix, if one is smaller than the matrix.
   *
   * @param kept the most weights that are not 0
   * @param twoOfFour whether of every four columns at most two are not 0
   */
  public static Optional<SparseLayout> smallest(
      DType type, long out, long in, long kept, boolean twoOfFour) {
    return smallest(Kind.of(type), out, in, kept, twoOfFour, 0, null, type.bytes(out * in));
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
            SparseQuantized.kind(scheme),
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
      Kind kind,
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
      long width = kind == Kind.INT4 ? (in + 3) / 4 : in / 2;
      fitting.add(
          new SparseLayout(Pattern.TWO_OF_FOUR, kind, out, in, out * width, group, scaleType));
    }
    long most = kind == Kind.INT4 ? out * ((in + 1) / 2) : out * in;
    long units = kind == Kind.INT4 ? Math.min(most, (kept + out) / 2) : kept;
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

  /** Returns the tensors of a module, without its bias. */
  public List<TensorSpec> specs(String module) {
    Shape bytes = Shape.of(out, (in + 7) / 8);
    TensorSpec scales =
        group == 0
            ? null
            : new TensorSpec(module + SparseCodec.SCALE, scaleType, Shape.of(out, in / group));
    if (pattern == Pattern.TWO_OF_FOUR) {
      return Stream.of(
              new TensorSpec(module + SparseCodec.POSITIONS, DType.U8, bytes),
              new TensorSpec(
                  module + SparseCodec.VALUES, kind.dtype(), Shape.of(out, units / Math.max(1, out))),
              scales)
          .filter(spec -> spec != null)
          .toList();
    }
    return Stream.of(
            new TensorSpec(module + SparseCodec.BITMASK, DType.U8, bytes),
            new TensorSpec(module + SparseCodec.OFFSETS, DType.I64, Shape.of(out)),
            new TensorSpec(module + SparseCodec.VALUES, kind.dtype(), Shape.of(units)),
            scales)
        .filter(spec -> spec != null)
        .toList();
  }
}
