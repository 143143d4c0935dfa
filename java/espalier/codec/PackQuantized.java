// SPDX-License-Identifier: Apache-2.0
package espalier.codec;

import espalier.checkpoint.Checkpoint;
import espalier.checkpoint.TensorSpec;
import espalier.kernel.Convert;
import espalier.kernel.Quantize;
import espalier.layer.Linear;
import espalier.layer.Quantized;
import espalier.layer.Scheme;
import espalier.report.EspalierException;
import espalier.tensor.Context;
import espalier.tensor.DType;
import espalier.tensor.Shape;
import espalier.tensor.Tensor;
import java.nio.ByteBuffer;
import java.nio.IntBuffer;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * compressed-tensors {@code pack-quantized}; checked against compressed-tensors 0.20.0.
 *
 * <pre>
 * module.weight_packed      I32 [N, ⌈K·b/32⌉]   a row is a little-endian bit stream of q + 2^(b−1)
 * module.weight_scale       model dtype [N, G]  G = K / group, 1 per channel
 * module.weight_shape       I64 [2]             N, K
 * module.weight_zero_point  I32 [⌈N·b/32⌉, G]   asymmetric only; column g is a bit stream over the rows
 * module.weight_g_idx       I32 [K]             old activation-ordered files only; read, never written
 * </pre>
 *
 * Before version 0.15 widths of 3, 5, 6 and 7 bits were padded to ⌊32/b⌋ codes a word; such files
 * are told by the width of {@code weight_packed} and read too.
 */
public final class PackQuantized implements LinearCodec {
  private static final String PACKED = ".weight_packed";
  private static final String SCALE = ".weight_scale";
  private static final String SHAPE = ".weight_shape";
  private static final String ZERO = ".weight_zero_point";
  private static final String INDEX = ".weight_g_idx";

  @Override
  public String format() {
    return "pack-quantized";
  }

  @Override
  public boolean accepts(Checkpoint checkpoint, String module) {
    return checkpoint.find(module + PACKED).isPresent();
  }

  @Override
  public List<String> names(Checkpoint checkpoint, String module) {
    List<String> names = new ArrayList<>();
    for (String suffix : List.of(PACKED, SCALE, SHAPE, ZERO, INDEX)) {
      if (checkpoint.find(module + suffix).isPresent()) {
        names.add(module + suffix);
      }
    }
    return names;
  }

  @Override
  public long weights(Checkpoint checkpoint, String module, Scheme scheme) {
    Tensor shape = shape(checkpoint, module);
    return shape.buffer().getLong(0) * shape.buffer().getLong(Long.BYTES);
  }

  private static Tensor shape(Checkpoint checkpoint, String module) {
    Tensor shape = checkpoint.get(module + SHAPE);
    if (shape.dtype() != DType.I64 || shape.elements() != 2) {
      throw malformed(module + SHAPE, shape, "I64[2]");
    }
    return shape;
  }

  @Override
  public Linear decode(
      Context context, Checkpoint checkpoint, String module, Scheme scheme, Tensor bias) {
    Tensor shape = shape(checkpoint, module);
    long out = shape.buffer().getLong(0);
    long in = shape.buffer().getLong(Long.BYTES);
    Tensor packed = checkpoint.get(module + PACKED);
    int bits = scheme.bits();
    if (packed.dtype() != DType.I32 || packed.shape().rank() != 2 || packed.dimension(0) != out) {
      throw malformed(module + PACKED, packed, "I32[" + out + ", .]");
    }
    if (in <= 0 || !scheme.divides(in)) {
      throw malformed(module + SHAPE, "(" + out + ", " + in + ")", "columns in " + scheme);
    }
    Tensor codes = packed;
    long dense = words(in, bits);
    long padded = (in + 32 / bits - 1) / (32 / bits);
    if (packed.dimension(1) != dense) {
      if (packed.dimension(1) != padded) {
        throw malformed(module + PACKED, packed, "I32[" + out + ", " + dense + "]");
      }
      codes = unpadded(context, packed, bits, in);
    }
    long groups = in / scheme.group(in);
    Tensor stored = checkpoint.get(module + SCALE);
    if (!stored.dtype().isFloat() || stored.elements() != out * groups) {
      throw malformed(module + SCALE, stored, "[" + out + ", " + groups + "] of floats");
    }
    Tensor scales = Convert.toFloat(context, stored).reshape(out, groups);
    if (Convert.firstNonFinite(context, scales) >= 0) {
      throw EspalierException.input(
          checkpoint.folder() + ": " + module + SCALE + " holds NaN or infinity",
          "Quantize the model again; this file is damaged.");
    }
    Tensor zeros =
        scheme.symmetric() ? null : zeros(context, checkpoint, module, bits, out, groups);
    Tensor index =
        checkpoint.find(module + INDEX).filter(t -> needsIndex(t, scheme.group(in))).orElse(null);
    if (index != null) {
      checkIndex(module + INDEX, index, in, groups);
    }
    return new Quantized(scheme, in, codes, scales, zeros, index, stored.dtype(), bias);
  }

  private static Tensor zeros(
      Context context, Checkpoint checkpoint, String module, int bits, long out, long groups) {
    Tensor stored = checkpoint.get(module + ZERO);
    Tensor zeros = context.allocate(DType.I8, out, groups);
    if (stored.dtype() == DType.I8 && stored.elements() == out * groups) {
      return stored.reshape(out, groups);
    }
    if (stored.dtype() != DType.I32 || stored.elements() != words(out, bits) * groups) {
      throw malformed(module + ZERO, stored, "I32[" + words(out, bits) + ", " + groups + "]");
    }
    IntBuffer from = stored.buffer().asIntBuffer();
    ByteBuffer to = zeros.buffer();
    int half = 1 << (bits - 1);
    for (int g = 0; g < groups; g++) {
      for (int row = 0; row < out; row++) {
        int code = field(from, (int) groups, g, (long) row * bits, bits);
        to.put((int) (row * groups + g), (byte) (code - half));
      }
    }
    return zeros;
  }

  /**
   * Reads the bits [bit, bit + bits) of a stream whose words lie {@code stride} apart from {@code
   * at} on.
   */
  private static int field(IntBuffer words, int stride, int at, long bit, int bits) {
    int word = (int) (bit / 32);
    int shift = (int) (bit % 32);
    long value = Integer.toUnsignedLong(words.get(word * stride + at)) >>> shift;
    if (shift + bits > 32) {
      value |= Integer.toUnsignedLong(words.get((word + 1) * stride + at)) << (32 - shift);
    }
    return (int) (value & ((1 << bits) - 1));
  }

  /** Rewrites a row of ⌊32/b⌋ codes a word as the dense bit stream that everything else reads. */
  private static Tensor unpadded(Context context, Tensor packed, int bits, long in) {
    long out = packed.dimension(0);
    int perWord = 32 / bits;
    int half = 1 << (bits - 1);
    Tensor codes = context.allocate(DType.I8, out, in);
    IntBuffer from = packed.buffer().asIntBuffer();
    ByteBuffer to = codes.buffer();
    int width = (int) packed.dimension(1);
    for (int row = 0; row < out; row++) {
      for (int column = 0; column < in; column++) {
        int word = from.get(row * width + column / perWord);
        int code = (word >>> (column % perWord * bits)) & ((1 << bits) - 1);
        to.put((int) (row * in + column), (byte) (code - half));
      }
    }
    return Quantize.pack(context, codes, bits);
  }

  /** An index that only repeats "column / group" is no activation order. */
  private static boolean needsIndex(Tensor index, long group) {
    if (index.dtype() != DType.I32) {
      return true;
    }
    int[] groups = index.toInts();
    for (int column = 0; column < groups.length; column++) {
      if (groups[column] != column / group) {
        return groups[0] >= 0; // -1 everywhere means "not set"
      }
    }
    return false;
  }

  private static void checkIndex(String name, Tensor index, long in, long groups) {
    if (index.dtype() != DType.I32 || index.elements() != in) {
      throw malformed(name, index, "I32[" + in + "]");
    }
    for (int group : index.toInts()) {
      if (group < 0 || group >= groups) {
        throw malformed(name, "group " + group, "0.." + (groups - 1));
      }
    }
  }

  @Override
  public List<TensorSpec> declare(
      String module, Scheme scheme, long out, long in, DType scaleType) {
    long groups = in / scheme.group(in);
    List<TensorSpec> tensors = new ArrayList<>();
    tensors.add(
        new TensorSpec(module + PACKED, DType.I32, Shape.of(out, words(in, scheme.bits()))));
    tensors.add(new TensorSpec(module + SCALE, scaleType, Shape.of(out, groups)));
    tensors.add(new TensorSpec(module + SHAPE, DType.I64, Shape.of(2)));
    if (!scheme.symmetric()) {
      tensors.add(
          new TensorSpec(module + ZERO, DType.I32, Shape.of(words(out, scheme.bits()), groups)));
    }
    return tensors;
  }

  @Override
  public Map<String, Tensor> encode(Context context, String module, Quantized linear) {
    long out = linear.outFeatures();
    long in = linear.inFeatures();
    Map<String, Tensor> tensors = new LinkedHashMap<>();
    tensors.put(module + PACKED, linear.codes());
    tensors.put(module + SCALE, linear.storedScales(context));
    Tensor shape = context.allocate(DType.I64, 2);
    shape.buffer().putLong(0, out).putLong(Long.BYTES, in);
    tensors.put(module + SHAPE, shape);
    if (linear.zeros() != null) {
      tensors.put(module + ZERO, packedZeros(context, linear));
    }
    return tensors;
  }

  private static Tensor packedZeros(Context context, Quantized linear) {
    int out = (int) linear.outFeatures();
    int groups = (int) linear.zeros().dimension(1);
    int bits = linear.scheme().bits();
    Tensor turned = context.allocate(DType.I8, groups, out);
    ByteBuffer from = linear.zeros().buffer();
    ByteBuffer to = turned.buffer();
    for (int row = 0; row < out; row++) {
      for (int g = 0; g < groups; g++) {
        to.put(g * out + row, from.get(row * groups + g));
      }
    }
    Tensor streams = Quantize.pack(context, turned, bits); // [groups, words]
    int words = (int) streams.dimension(1);
    Tensor packed = context.allocate(DType.I32, words, groups);
    IntBuffer source = streams.buffer().asIntBuffer();
    IntBuffer target = packed.buffer().asIntBuffer();
    for (int g = 0; g < groups; g++) {
      for (int word = 0; word < words; word++) {
        target.put(word * groups + g, source.get(g * words + word));
      }
    }
    return packed;
  }

  private static long words(long elements, int bits) {
    return (elements * bits + 31) / 32;
  }

  private static EspalierException malformed(String name, Object found, String expected) {
    return EspalierException.input(
        name + " is " + found + ", expected " + expected,
        "Check that config.json belongs to these weights.");
  }
}
