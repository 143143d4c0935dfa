// SPDX-License-Identifier: Apache-2.0
package espalier.codec;

import com.fasterxml.jackson.databind.JsonNode;
import espalier.checkpoint.Checkpoint;
import espalier.kernel.Sparse.Matrix;
import espalier.kernel.Sparse.Pattern;
import espalier.layer.Linear;
import espalier.layer.Scheme;
import espalier.layer.Sparse;
import espalier.layer.SparseKind;
import espalier.layer.SparseQuantized;
import espalier.report.EspalierException;
import espalier.tensor.Context;
import espalier.tensor.DType;
import espalier.tensor.Tensor;
import java.nio.ByteBuffer;
import java.util.List;
import java.util.Optional;

/**
 * The sparse formats that compressed-tensors had until version 0.14, named by {@code
 * sparsity_config.format}; checked against files of 0.14.0. Read, never written: nothing else reads
 * them any more.
 *
 * <pre>
 * both               module.bitmask      U8  [N, ⌈K/8⌉]   as in {@link SparseCodec}
 *                    module.shape        I64 [2] | [2, 1] N, K
 * sparse-bitmask     module.compressed   T   [kept]       T = BF16, F16, F32; I8 on top of int-quantized
 *                    module.row_offsets  I64 [N]
 * sparse-24-bitmask  module.compressed   T   [N, K/2]     two of every four columns are in the mask
 * int-quantized      module.weight_scale [N, K/group]
 * </pre>
 *
 * Masks of 2:4 become places in memory (1 bit a weight); everything else stays mapped.
 */
public final class LegacySparse implements LinearReader {
  /** Any mask. */
  public static final LegacySparse BITMASK = new LegacySparse("sparse-bitmask", Pattern.BITMASK);

  /** Two of four. */
  public static final LegacySparse TWO_OF_FOUR =
      new LegacySparse("sparse-24-bitmask", Pattern.TWO_OF_FOUR);

  private static final String MASK = ".bitmask";
  private static final String OFFSETS = ".row_offsets";
  private static final String VALUES = ".compressed";
  private static final String SHAPE = ".shape";
  private static final String SCALE = ".weight_scale";
  private static final String ZERO = ".weight_zero_point";

  private final String format;
  private final Pattern pattern;

  private LegacySparse(String format, Pattern pattern) {
    this.format = format;
    this.pattern = pattern;
  }

  /**
   * Returns the format that a {@code quantization_config} names in its {@code sparsity_config}, if
   * weights are stored so.
   *
   * @throws EspalierException (UNSUPPORTED) for a format nothing here reads
   */
  static Optional<LegacySparse> of(ConfigObject quantization) {
    JsonNode stated = quantization.json().path("sparsity_config").path("format");
    switch (stated.asText("")) {
      case "", "dense" -> {
        return Optional.empty();
      }
      case "sparse-bitmask" -> {
        return Optional.of(BITMASK);
      }
      case "sparse-24-bitmask" -> {
        return Optional.of(TWO_OF_FOUR);
      }
      default ->
          throw EspalierException.unsupported(
              quantization.place()
                  + "sparsity_config.format "
                  + stated
                  + " cannot be read by this version",
              "Use sparse-bitmask, sparse-24-bitmask or a dense checkpoint.");
    }
  }

  @Override
  public String format() {
    return format;
  }

  @Override
  public boolean accepts(Checkpoint checkpoint, String module) {
    return checkpoint.spec(module + VALUES).isPresent();
  }

  @Override
  public List<String> names(Checkpoint checkpoint, String module) {
    if (!accepts(checkpoint, module)) {
      return List.of();
    }
    return List.of(MASK, OFFSETS, VALUES, SHAPE, SCALE, ZERO).stream()
        .map(suffix -> module + suffix)
        .filter(name -> checkpoint.spec(name).isPresent())
        .toList();
  }

  @Override
  public long weights(Checkpoint checkpoint, String module, Scheme scheme) {
    long[] shape = shape(new SparseTensors(checkpoint, module));
    return shape[0] * shape[1];
  }

  private static long[] shape(SparseTensors stored) {
    Tensor shape = stored.checkpoint().get(stored.module() + SHAPE);
    if (shape.dtype() != DType.I64 || shape.elements() != 2) {
      throw stored.malformed(SHAPE, shape, "I64[2]");
    }
    long[] values = {shape.buffer().getLong(0), shape.buffer().getLong(Long.BYTES)};
    if (values[0] < 1 || values[1] < 1 || values[0] > Long.MAX_VALUE / 16 / values[1]) {
      throw stored.malformed(SHAPE, "(" + values[0] + ", " + values[1] + ")", "a matrix");
    }
    return values;
  }

  @Override
  public Linear decode(
      Context context, Checkpoint checkpoint, String module, Scheme scheme, Tensor bias) {
    SparseTensors stored = new SparseTensors(checkpoint, module);
    long[] shape = shape(stored);
    long out = shape[0];
    long in = shape[1];
    SparseKind kind = stored.kind(VALUES);
    Tensor places;
    Tensor offsets = null;
    if (pattern == Pattern.BITMASK) {
      stored.requireBitmask(context, MASK, OFFSETS, VALUES, out, in, kind);
      places = checkpoint.get(module + MASK);
      offsets = checkpoint.get(module + OFFSETS);
    } else {
      if (in % 4 != 0) {
        throw stored.malformed(SHAPE, "(" + out + ", " + in + ")", "columns in groups of 4");
      }
      stored.shaped(VALUES, kind.dtype(), out, in / 2);
      places = places(context, stored, out, in);
    }
    Tensor values = checkpoint.get(module + VALUES);
    if (!kind.isCode()) {
      return new Sparse(new Matrix(pattern, out, in, places, offsets, values, null, 0), bias);
    }
    if (scheme == null || !SparseQuantized.canHold(scheme) || scheme.bits() <= 4) {
      throw EspalierException.unsupported(
          checkpoint.folder()
              + ": "
              + module
              + " has sparse codes that are "
              + (scheme == null ? "not described" : scheme)
              + "; only symmetric ones of 5 to 8 bits with float activations can be read",
          "Use the dense checkpoint it was made from.");
    }
    if (!scheme.divides(in)) {
      throw stored.malformed(SHAPE, "(" + out + ", " + in + ")", "columns in " + scheme);
    }
    Tensor scales = stored.scales(context, SCALE, out, in / scheme.group(in));
    return new SparseQuantized(
        scheme,
        new Matrix(pattern, out, in, places, offsets, values, scales, scheme.group(in)),
        checkpoint.get(module + SCALE).dtype(),
        bias);
  }

  /** Returns a 2:4 mask as places, U8 [out, ⌈in/8⌉], in the context's current scope. */
  private static Tensor places(Context context, SparseTensors stored, long out, long in) {
    int width = Math.toIntExact((in + 7) / 8);
    Tensor mask = stored.shaped(MASK, DType.U8, out, width);
    Tensor places = context.allocate(DType.U8, out, width);
    for (long row = 0; row < out; row++) {
      ByteBuffer from = mask.buffer(row * width, width);
      ByteBuffer to = places.buffer(row * width, width);
      for (int i = 0; i < width; i++) {
        int bits = from.get(i) & 0xFF;
        boolean whole = 8L * i + 4 < in;
        if (Integer.bitCount(bits & 15) != 2 || Integer.bitCount(bits >> 4) != (whole ? 2 : 0)) {
          throw stored.malformed(
              MASK + "[" + row + ", " + i + "]",
              String.format("0x%02x", bits),
              "two of every four columns" + (whole ? "" : " and 0 past the last"));
        }
        to.put(i, (byte) (pair(bits & 15) | (whole ? pair(bits >> 4) << 4 : 0)));
      }
    }
    return places;
  }

  /** Returns the places of the two bits of four that are set, the lower in bits 0 and 1. */
  private static int pair(int bits) {
    return Integer.numberOfTrailingZeros(bits) | 31 - Integer.numberOfLeadingZeros(bits) << 2;
  }
}
