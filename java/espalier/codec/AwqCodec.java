// SPDX-License-Identifier: Apache-2.0
package espalier.codec;

import espalier.checkpoint.Checkpoint;
import espalier.checkpoint.TensorSpec;
import espalier.kernel.Quantize;
import espalier.layer.Linear;
import espalier.layer.Quantized;
import espalier.layer.Scheme;
import espalier.report.EspalierException;
import espalier.tensor.Context;
import espalier.tensor.DType;
import espalier.tensor.Tensor;
import java.nio.IntBuffer;
import java.util.List;
import java.util.Map;

/**
 * AWQ checkpoints of version GEMM, four bits, read only; checked against AutoAWQ 0.2.9 and
 * GPTQModel 7.7.0.
 *
 * <pre>
 * module.qweight  I32 [K, N/8]  nibble i of word c of row k is the code of output 8c + ORDER[i] for input k
 * module.qzeros   I32 [G, N/8]  zero points in the same order
 * module.scales   F16 [G, N]
 * ORDER           0 2 4 6 1 3 5 7
 * </pre>
 */
public final class AwqCodec implements LinearCodec {
  private static final int BITS = 4;
  private static final int PER_WORD = 8;

  @Override
  public String format() {
    return "awq";
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
        * PER_WORD;
  }

  @Override
  public Linear decode(
      Context context, Checkpoint checkpoint, String module, Scheme scheme, Tensor bias) {
    PackedTensors stored = new PackedTensors(checkpoint, module);
    Tensor words = stored.codes();
    long in = words.dimension(0);
    long out = words.dimension(1) * PER_WORD;
    long groups = stored.groups(scheme, in);
    try (Context.Scope scope = context.scope()) {
      Tensor scales = scope.keep(stored.scales(context, out, groups));
      Tensor streams = inOrder(context, stored.zeros(groups, words.dimension(1)));
      Tensor zeros =
          scope.keep(Turned.bytes(context, Quantize.unpack(context, streams, BITS, out)));
      return new Quantized(
          new Scheme(BITS, false, scheme.groupSize()),
          in,
          scope.keep(turned(context, words)),
          scales,
          zeros,
          null,
          stored.scaleType(),
          bias);
    }
  }

  /** Returns the words with their nibbles in the order of the outputs. */
  private static Tensor inOrder(Context context, Tensor words) {
    Tensor sorted = context.allocate(DType.I32, words.shape().toArray());
    IntBuffer from = words.buffer().asIntBuffer();
    IntBuffer to = sorted.buffer().asIntBuffer();
    while (from.hasRemaining()) {
      to.put(sorted(from.get()));
    }
    return sorted;
  }

  /** Moves nibbles 0 4 1 5 2 6 3 7 to places 0 .. 7: a perfect shuffle of the two halves. */
  private static int sorted(int word) {
    int w = word & 0xFF0000FF | word >>> 8 & 0x0000FF00 | word << 8 & 0x00FF0000;
    return w & 0xF00FF00F | w >>> 4 & 0x00F000F0 | w << 4 & 0x0F000F00;
  }

  /** Returns I32 [out, ⌈in/8⌉], the bit streams of the rows, of words [in, out/8]. */
  private static Tensor turned(Context context, Tensor words) {
    int in = Math.toIntExact(words.dimension(0));
    int columns = Math.toIntExact(words.dimension(1));
    int width = (in + PER_WORD - 1) / PER_WORD;
    Tensor codes = context.allocate(DType.I32, (long) columns * PER_WORD, width);
    IntBuffer from = words.buffer().asIntBuffer();
    IntBuffer to = codes.buffer().asIntBuffer();
    int[] block = new int[PER_WORD];
    // Columns inside, in runs of 16 words (a cache line) by 16 blocks, keep both sides cached.
    int run = 16;
    for (int left = 0; left < columns; left += run) {
      int right = Math.min(columns, left + run);
      for (int at = 0; at < width; at++) {
        int rows = Math.min(PER_WORD, in - at * PER_WORD);
        for (int column = left; column < right; column++) {
          for (int k = 0; k < PER_WORD; k++) {
            block[k] = k < rows ? sorted(from.get((at * PER_WORD + k) * columns + column)) : 0;
          }
          transpose(block);
          for (int n = 0; n < PER_WORD; n++) {
            to.put((column * PER_WORD + n) * width + at, block[n]);
          }
        }
      }
    }
    return codes;
  }

  /** Transposes 8 words of 8 nibbles in place, by quarters, pairs and single nibbles. */
  private static void transpose(int[] words) {
    for (int distance = 4, mask = 0x0000FFFF; distance > 0; distance >>= 1) {
      int shift = distance * BITS;
      for (int i = 0; i < PER_WORD; i++) {
        if ((i & distance) == 0) {
          int swap = (words[i] >>> shift ^ words[i + distance]) & mask;
          words[i + distance] ^= swap;
          words[i] ^= swap << shift;
        }
      }
      mask ^= mask << (shift >> 1); // 0000FFFF, 00FF00FF, 0F0F0F0F
    }
  }

  @Override
  public List<TensorSpec> declare(
      String module, Scheme scheme, long out, long in, DType scaleType) {
    throw notWritten();
  }

  @Override
  public Map<String, Tensor> encode(Context context, String module, Quantized linear) {
    throw notWritten();
  }

  private static EspalierException notWritten() {
    return EspalierException.unsupported(
        "AWQ checkpoints are read, not written", "Write gptq or compressed-tensors.");
  }
}
