// SPDX-License-Identifier: Apache-2.0
package espalier.codec;

import espalier.checkpoint.Checkpoint;
import espalier.kernel.Convert;
import espalier.layer.Scheme;
import espalier.report.EspalierException;
import espalier.tensor.Context;
import espalier.tensor.DType;
import espalier.tensor.Shape;
import espalier.tensor.Tensor;
import java.util.List;

/**
 * The tensors of one module as GPTQ and AWQ store them, taken out of a checkpoint and checked.
 *
 * <pre>
 * module.qweight  I32, layout of the codec      module.scales  float [groups, out]
 * module.qzeros   I32 [groups, out·b/32]        module.g_idx   I32 [in], GPTQ only
 * </pre>
 */
record PackedTensors(Checkpoint checkpoint, String module) {
  static final String CODES = ".qweight";
  static final String ZEROS = ".qzeros";
  static final String SCALES = ".scales";
  static final String INDEX = ".g_idx";

  /** Returns whether the module is stored so. */
  boolean present() {
    return checkpoint.find(module + CODES).isPresent();
  }

  /** Returns the names of those tensors that are there. */
  List<String> names() {
    return List.of(CODES, ZEROS, SCALES, INDEX).stream()
        .map(suffix -> module + suffix)
        .filter(name -> checkpoint.find(name).isPresent())
        .toList();
  }

  /** Returns the code words, a matrix of any size. */
  Tensor codes() {
    Tensor codes = checkpoint.get(module + CODES);
    if (codes.dtype() != DType.I32 || codes.shape().rank() != 2) {
      throw malformed(CODES, codes, "I32[., .]");
    }
    return codes;
  }

  /** Returns the words of the zero points, I32 [groups, words]. */
  Tensor zeros(long groups, long words) {
    Tensor zeros = checkpoint.get(module + ZEROS);
    if (zeros.dtype() != DType.I32 || !zeros.shape().equals(Shape.of(groups, words))) {
      throw malformed(ZEROS, zeros, "I32[" + groups + ", " + words + "]");
    }
    return zeros;
  }

  /** Returns the groups of a row, after checking that they divide it. */
  long groups(Scheme scheme, long in) {
    if (in <= 0 || !scheme.divides(in)) {
      throw EspalierException.input(
          checkpoint.folder()
              + ": "
              + module
              + " has "
              + in
              + " inputs, which group_size "
              + scheme.groupSize()
              + " does not divide",
          "Check that the quantization config belongs to these weights.");
    }
    return in / scheme.group(in);
  }

  /** Returns the type the scales are stored in. */
  DType scaleType() {
    return checkpoint.get(module + SCALES).dtype();
  }

  /** Returns the scales F32 [out, groups], in the current scope. */
  Tensor scales(Context context, long out, long groups) {
    Tensor stored = checkpoint.get(module + SCALES);
    boolean readable =
        stored.dtype() == DType.F16 || stored.dtype() == DType.BF16 || stored.dtype() == DType.F32;
    if (!readable || !stored.shape().equals(Shape.of(groups, out))) {
      throw malformed(SCALES, stored, "F16[" + groups + ", " + out + "]");
    }
    if (Convert.firstNonFinite(context, stored) >= 0) {
      throw EspalierException.input(
          checkpoint.folder() + ": " + module + SCALES + " holds NaN or infinity",
          "Quantize the model again; this file is damaged.");
    }
    return Turned.words(context, Convert.toFloat(context, stored));
  }

  /** Returns the group of every input, or null when groups are consecutive. */
  Tensor index(long in, long groups, long group) {
    Tensor index = checkpoint.find(module + INDEX).orElse(null);
    if (index == null) {
      return null;
    }
    if (index.dtype() != DType.I32 || !index.shape().equals(Shape.of(in))) {
      throw malformed(INDEX, index, "I32[" + in + "], the inputs that qweight holds");
    }
    int[] of = index.toInts();
    boolean consecutive = true;
    for (int column = 0; column < of.length; column++) {
      if (of[column] < 0 || of[column] >= groups) {
        throw malformed(
            INDEX, "group " + of[column] + " for input " + column, "0.." + (groups - 1));
      }
      consecutive &= of[column] == column / group;
    }
    return consecutive ? null : index;
  }

  EspalierException malformed(String suffix, Object found, String expected) {
    return EspalierException.input(
        checkpoint.folder() + ": " + module + suffix + " is " + found + ", expected " + expected,
        "Check that the quantization config belongs to these weights and that no file is cut off.");
  }
}
