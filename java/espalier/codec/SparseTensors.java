// SPDX-License-Identifier: Apache-2.0
package espalier.codec;

import espalier.checkpoint.Checkpoint;
import espalier.kernel.Convert;
import espalier.kernel.Sparse;
import espalier.kernel.Sparse.Pattern;
import espalier.layer.SparseKind;
import espalier.report.EspalierException;
import espalier.tensor.Context;
import espalier.tensor.DType;
import espalier.tensor.Shape;
import espalier.tensor.Tensor;
import java.nio.ByteBuffer;
import java.util.Arrays;

/**
 * The tensors of one sparse module, taken out of a checkpoint and checked to the last bit: kernels
 * walk places and offsets without looking. All of them are views of the file.
 */
record SparseTensors(Checkpoint checkpoint, String module) {
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
   * keeps.
   */
  void requireBitmask(
      Context context,
      String mask,
      String offsets,
      String values,
      long out,
      long in,
      SparseKind kind) {
    Tensor bits = shaped(mask, DType.U8, out, Sparse.placeBytes(in));
    Tensor starts = shaped(offsets, DType.I64, out);
    Tensor stored = checkpoint.get(module + values);
    if (stored.dtype() != kind.dtype() || stored.shape().rank() != 1) {
      throw malformed(values, stored, kind.dtype() + "[kept weights]");
    }
    Sparse.Finding found = Sparse.check(context, Pattern.BITMASK, in, bits, starts, kind.dtype());
    if (found.row() >= 0) {
      long width = bits.dimension(1);
      ByteBuffer last = bits.buffer(found.row() * width + width - 1, 1);
      if (in % 8 != 0 && (last.get() & 0xFF) >> (in % 8) != 0) {
        throw malformed(
            mask, "set past the last column of row " + found.row(), "0 in the bits after it");
      }
      throw malformed(
          offsets + "[" + found.row() + "]",
          starts.buffer(found.row() * Long.BYTES, Long.BYTES).getLong(),
          found.kept() + ", what the mask keeps in the rows before");
    }
    if (found.valueBytes() != stored.sizeBytes()) {
      throw malformed(
          values,
          stored,
          kind.dtype()
              + "["
              + found.valueBytes() * 8 / kind.dtype().bits()
              + "] for the "
              + found.kept()
              + " weights that "
              + module
              + mask
              + " keeps");
    }
  }

  /** Checks that the places of every four columns ascend. */
  void requirePositions(Context context, String positions, long out, long in, SparseKind kind) {
    Tensor places = shaped(positions, DType.U8, out, Sparse.placeBytes(in));
    Sparse.Finding found =
        Sparse.check(context, Pattern.TWO_OF_FOUR, in, places, null, kind.dtype());
    if (found.row() >= 0) {
      throw malformed(
          positions,
          "out of order in row " + found.row(),
          "two ascending places in every four columns, and 0 past the last");
    }
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

  /** Returns the kind of a legacy tensor of values. */
  SparseKind kind(String values) {
    Tensor stored = checkpoint.get(module + values);
    return switch (stored.dtype()) {
      case F32, F16, BF16, I8 -> SparseKind.of(stored.dtype());
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
