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
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * GPTQ checkpoints as AutoGPTQ began them and GPTQModel writes them; checked against GPTQModel
 * 7.7.0.
 *
 * <pre>
 * module.qweight  I32 [K·b/32, N]  column n is a little-endian bit stream of the codes 0..2^b−1 of row n
 * module.qzeros   I32 [G, N·b/32]  row g is a bit stream of zero points; v1 stores them less one
 * module.scales   F16 [G, N]
 * module.g_idx    I32 [K]          the group of every input
 * </pre>
 *
 * A code here is ours with 2^(b−1) added, and so is a zero point: the words of a stream are the
 * same, only transposed. In v1 the "less one" of 2, 4 and 8 bits is taken from whole words, so that
 * a zero point of 0 borrows from its neighbour, and given back in the same way; 3-bit fields are
 * taken one by one. A reader that adds one to each field reads such neighbours wrongly.
 */
public final class GptqCodec implements LinearCodec {
  /** Checkpoint format {@code gptq}: zero points less one. What loaders expect unless told. */
  public static final GptqCodec V1 = new GptqCodec("gptq", true);

  /** Checkpoint format {@code gptq_v2}: zero points as they are. */
  public static final GptqCodec V2 = new GptqCodec("gptq_v2", false);

  private final String format;
  private final boolean lessOne;

  private GptqCodec(String format, boolean lessOne) {
    this.format = format;
    this.lessOne = lessOne;
  }

  @Override
  public String format() {
    return format;
  }

  /** Returns whether the format has codes of this width. */
  public static boolean packs(int bits) {
    return bits == 2 || bits == 3 || bits == 4 || bits == 8;
  }

  /**
   * Returns what in and out features must be multiples of, so that streams end with a word: 32
   * codes fill {@code bits} words.
   */
  public static int multiple(int bits) {
    return bits == 3 ? 32 : 32 / bits;
  }

  @Override
  public boolean accepts(Checkpoint checkpoint, String module) {
    return new PackedTensors(checkpoint, module).present();
  }

  @Override
  public List<String> names(Checkpoint checkpoint, String module) {
    return new PackedTensors(checkpoint, module).names();
  }

  @Override
  public long weights(Checkpoint checkpoint, String module, Scheme scheme) {
    return checkpoint.spec(module + PackedTensors.CODES).orElseThrow().shape().elements()
        * 32
        / scheme.bits();
  }

  @Override
  public Linear decode(
      Context context, Checkpoint checkpoint, String module, Scheme scheme, Tensor bias) {
    PackedTensors stored = new PackedTensors(checkpoint, module);
    int bits = scheme.bits();
    Tensor words = stored.codes();
    long out = words.dimension(1);
    if (words.dimension(0) * 32 % bits != 0 || out * bits % 32 != 0) {
      throw stored.malformed(
          PackedTensors.CODES,
          words,
          "a multiple of " + multiple(bits) + " " + bits + "-bit codes");
    }
    long in = words.dimension(0) * 32 / bits;
    long groups = stored.groups(scheme, in);
    Tensor index = stored.index(in, groups, scheme.group(in));
    try (Context.Scope scope = context.scope()) {
      Tensor scales = scope.keep(stored.scales(context, out, groups));
      Tensor zeros =
          Turned.bytes(context, zeros(context, stored.zeros(groups, out * bits / 32), bits, out));
      // GPTQModel computes with the stored zero points whatever "sym" says; so do we.
      boolean symmetric = scheme.symmetric() && allZero(zeros);
      return new Quantized(
          new Scheme(bits, symmetric, scheme.groupSize()),
          in,
          scope.keep(Turned.words(context, words)),
          scales,
          symmetric ? null : scope.keep(zeros),
          index,
          stored.scaleType(),
          bias);
    }
  }

  private static boolean allZero(Tensor zeros) {
    ByteBuffer bytes = zeros.buffer();
    while (bytes.hasRemaining()) {
      if (bytes.get() != 0) {
        return false;
      }
    }
    return true;
  }

  /** Returns signed zero points I8 [groups, out] of their words. */
  private Tensor zeros(Context context, Tensor words, int bits, long out) {
    if (!lessOne) {
      return Quantize.unpack(context, words, bits, out);
    }
    if (bits == 3) {
      return stepped(Quantize.unpack(context, words, bits, out), bits, 1);
    }
    return Quantize.unpack(context, added(context, words, ones(bits)), bits, out);
  }

  /** Returns a word with 1 in every field. */
  private static int ones(int bits) {
    return (int) (0xFFFF_FFFFL / ((1 << bits) - 1));
  }

  private static Tensor added(Context context, Tensor words, int constant) {
    Tensor sums = context.allocate(DType.I32, words.shape().toArray());
    IntBuffer from = words.buffer().asIntBuffer();
    IntBuffer to = sums.buffer().asIntBuffer();
    while (from.hasRemaining()) {
      to.put(from.get() + constant);
    }
    return sums;
  }

  /** Adds {@code step} to every signed code in place, modulo 2^bits. */
  private static Tensor stepped(Tensor codes, int bits, int step) {
    ByteBuffer bytes = codes.buffer();
    int half = 1 << (bits - 1);
    int mask = (1 << bits) - 1;
    for (int i = 0; i < bytes.capacity(); i++) {
      bytes.put(i, (byte) ((bytes.get(i) + half + step & mask) - half));
    }
    return codes;
  }

  @Override
  public List<TensorSpec> declare(
      String module, Scheme scheme, long out, long in, DType scaleType) {
    int bits = scheme.bits();
    if (!packs(bits) || in % multiple(bits) != 0 || out % multiple(bits) != 0) {
      throw new IllegalArgumentException(
          module + ": " + scheme + " of [" + out + ", " + in + "] has no " + format + " spelling");
    }
    long groups = in / scheme.group(in);
    return List.of(
        new TensorSpec(module + PackedTensors.CODES, DType.I32, Shape.of(in * bits / 32, out)),
        new TensorSpec(module + PackedTensors.ZEROS, DType.I32, Shape.of(groups, out * bits / 32)),
        new TensorSpec(module + PackedTensors.SCALES, DType.F16, Shape.of(groups, out)),
        new TensorSpec(module + PackedTensors.INDEX, DType.I32, Shape.of(in)));
  }

  /**
   * {@inheritDoc}
   *
   * @throws EspalierException (UNSUPPORTED) when a scale lies beyond F16
   */
  @Override
  public Map<String, Tensor> encode(Context context, String module, Quantized linear) {
    Map<String, Tensor> tensors = new LinkedHashMap<>();
    tensors.put(module + PackedTensors.CODES, Turned.words(context, linear.codes()));
    tensors.put(module + PackedTensors.ZEROS, packedZeros(context, linear));
    Tensor scales = Convert.fromFloat(context, Turned.words(context, linear.scales()), DType.F16);
    if (Convert.firstNonFinite(context, scales) >= 0) {
      throw EspalierException.unsupported(
          module + " needs a scale beyond 65504, the largest number of F16",
          "Ignore this layer, or write compressed-tensors alone.");
    }
    tensors.put(module + PackedTensors.SCALES, scales);
    tensors.put(module + PackedTensors.INDEX, index(context, linear));
    return tensors;
  }

  /** Returns whether v1 stores a zero point of this linear as −1, which borrows from its word. */
  public static boolean borrows(Quantized linear) {
    if (linear.zeros() == null || linear.scheme().bits() == 3) {
      return false;
    }
    ByteBuffer zeros = linear.zeros().buffer();
    byte lowest = (byte) -(1 << (linear.scheme().bits() - 1));
    while (zeros.hasRemaining()) {
      if (zeros.get() == lowest) {
        return true;
      }
    }
    return false;
  }

  private Tensor packedZeros(Context context, Quantized linear) {
    int bits = linear.scheme().bits();
    Tensor zeros =
        linear.zeros() == null
            ? context.allocate(DType.I8, linear.scales().dimension(1), linear.outFeatures())
            : Turned.bytes(context, linear.zeros());
    if (!lessOne) {
      return Quantize.pack(context, zeros, bits);
    }
    if (bits == 3) {
      return Quantize.pack(context, stepped(zeros, bits, -1), bits);
    }
    return added(context, Quantize.pack(context, zeros, bits), -ones(bits));
  }

  private static Tensor index(Context context, Quantized linear) {
    if (linear.groupIndex() != null) {
      return linear.groupIndex();
    }
    int[] groups = new int[Math.toIntExact(linear.inFeatures())];
    int group = Math.toIntExact(linear.group());
    for (int column = 0; column < groups.length; column++) {
      groups[column] = column / group;
    }
    return context.ints(groups, groups.length);
  }
}
