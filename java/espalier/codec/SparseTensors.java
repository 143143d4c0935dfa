// SPDX-License-Identifier: Apache-2.0
package espalier.codec;

import espalier.checkpoint.Checkpoint;
import espalier.kernel.Convert;
import espalier.kernel.SparseMatrix.Kind;
import espalier.report.EspalierException;
import espalier.tensor.Context;
import espalier.tensor.DType;
import espalier.tensor.Shape;
import espalier.tensor.Tensor;
import java.nio.ByteBuffer;
import java.util.Arrays;

/**
 * The tensors of one sparse module, taken out of a checkpoint and checked to the last bit: kernels
 * walk masks and offsets without looking. All of them are views of the file.
 */
record SparseTensors(Checkpoint checkpoint, String module) {
  /** Bytes of a mask in view at a time: a buffer reaches 2 GiB. */
  private static final long CHUNK_BYTES = 1L << 26;

  /** What four bits may be that name two places, the lower first: 01 02 03 12 13 23. */
  private static final int ASCENDING = 1 << 0x4 | 1 << 0x8 | 1 << 0xC | 1 << 0x9 | 1 << 0xD | 1 << 0xE;

  /** Returns a tensor of exactly this type and shape. */
  Tensor shaped(String suffix, DType dtype, long... dimensions) {
    Tensor tensor = checkpoint.get(module + suffix);
    if (tensor.dtype() != dtype || !tensor.shape().equals(Shape.of(dimensions))) {
      throw malformed(suffix, tensor, dtype + Arrays.toString(dimensions));
    }
    return tensor;
  }

  /**
   * Checks that offsets are the prefix counts of a mask, and that there are as many values as it
   * keeps; 4-bit codes in rows of whole bytes.
   */
  void requireBitmask(String mask, String offsets, String values, long out, long in, Kind kind) {
    Tensor bits = shaped(mask, DType.U8, out, (in + 7) / 8);
    Tensor starts = shaped(offsets, DType.I64, out);
    Tensor stored = checkpoint.get(module + values);
    if (stored.dtype() != kind.dtype() || stored.shape().rank() != 1) {
      throw malformed(values, stored, kind.dtype() + "[kept weights]");
    }
    int width = (int) bits.dimension(1);
    long step = Math.max(1, CHUNK_BYTES / Math.max(1, width));
    long kept = 0;
    long units = 0;
    for (long from = 0; from < out; from += step) {
      long to = Math.min(out, from + step);
      ByteBuffer rows = bits.buffer(from * width, (to - from) * width);
      ByteBuffer prefix = starts.buffer(from * Long.BYTES, (to - from) * Long.BYTES);
      for (long row = from; row < to; row++) {
        long start = prefix.getLong();
        if (start != kept) {
          throw malformed(
              offsets + "[" + row + "]", start, kept + ", what the mask keeps in the rows before");
        }
        int count = kept(rows, (int) (row - from) * width, width);
        if (pad(rows, (int) (row - from) * width, in) != 0) {
          throw malformed(mask, "set past the last column of row " + row, "0 in the bits after it");
        }
        kept += count;
        units += kind == Kind.INT4 ? (count + 1) / 2 : count;
      }
    }
    if (units != stored.elements()) {
      throw EspalierException.input(
          checkpoint.folder()
              + ": "
              + module
              + mask
              + " keeps "
              + kept
              + " weights, which are "
              + units
              + " elements, but "
              + module
              + values
              + " has "
              + stored.elements(),
          "The file is damaged; write it again from its source.");
    }
  }

  private static int kept(ByteBuffer mask, int at, int bytes) {
    int kept = 0;
    int i = 0;
    for (; i + Long.BYTES <= bytes; i += Long.BYTES) {
      kept += Long.bitCount(mask.getLong(at + i));
    }
    for (; i < bytes; i++) {
      kept += Integer.bitCount(mask.get(at + i) & 0xFF);
    }
    return kept;
  }

  /** Returns the bits of a row's mask past its last column. */
  private static int pad(ByteBuffer mask, int at, long in) {
    return in % 8 == 0 ? 0 : (mask.get(at + (int) (in / 8)) & 0xFF) >> (in % 8);
  }

  /** Checks that the places of every four columns ascend. */
  void requirePositions(String positions, long out, long in) {
    Tensor places = shaped(positions, DType.U8, out, (in + 7) / 8);
    int width = (int) places.dimension(1);
    long quads = in / 4;
    for (long row = 0; row < out; row++) {
      ByteBuffer bytes = places.buffer(row * width, width);
      for (int i = 0; i < width; i++) {
        int pair = bytes.get(i) & 0xFF;
        boolean whole = 2L * i + 1 < quads;
        boolean second = whole ? ascend(pair >> 4) : pair >> 4 == 0;
        if (!ascend(pair & 15) || !second) {
          throw malformed(
              positions + "[" + row + ", " + i + "]",
              String.format("0x%02x", pair),
              whole ? "two ascending places in each half" : "two ascending places and a pad of 0");
        }
      }
    }
  }

  private static boolean ascend(int pair) {
    return (ASCENDING >> pair & 1) != 0;
  }

  /** Returns the scales F32 [out, in/group], in the context's current scope. */
  Tensor scales(Context context, String suffix, long out, long groups) {
    Tensor stored = checkpoint.get(module + suffix);
    boolean readable =
        switch (stored.dtype()) {
          case F32, F16, BF16 -> true;
          default -> false;
        };
    if (!readable || stored.elements() != out * groups) {
      throw malformed(suffix, stored, "F16[" + out + ", " + groups + "]");
    }
    Tensor scales = Convert.toFloat(context, stored).reshape(out, groups);
    if (Convert.firstNonFinite(context, scales) >= 0) {
      throw EspalierException.input(
          checkpoint.folder() + ": " + module + suffix + " holds NaN or infinity",
          "Quantize the model again; this file is damaged.");
    }
    return scales;
  }

  /** Returns the type of a tensor that must hold a kind of sparse values. */
  Kind kind(String values) {
    Tensor stored = checkpoint.get(module + values);
    return switch (stored.dtype()) {
      case F32, F16, BF16, I8 -> Kind.of(stored.dtype());
      default ->
          throw EspalierException.unsupported(
              checkpoint.folder()
                  + ": "
                  + module
                  + values
                  + " is "
                  + stored
                  + "; sparse values of this type cannot be read by this version",
              "Use values of BF16, F16, F32 or I8, or a dense checkpoint.");
    };
  }

  EspalierException malformed(String suffix, Object found, String expected) {
    return EspalierException.input(
        checkpoint.folder() + ": " + module + suffix + " is " + found + ", expected " + expected,
        "Check that config.json belongs to these weights; if it does, the file is damaged.");
  }
}
