// SPDX-License-Identifier: Apache-2.0
package espalier.codec;

import espalier.checkpoint.Checkpoint;
import espalier.checkpoint.TensorSpec;
import espalier.layer.Linear;
import espalier.layer.Quantized;
import espalier.layer.Scheme;
import espalier.tensor.Context;
import espalier.tensor.DType;
import espalier.tensor.Tensor;
import java.util.List;
import java.util.Map;

/** How one linear is spelled as tensors of a checkpoint. Pure: no files, no state. */
public interface LinearCodec {
  /** Returns the name of the format in {@code quantization_config}. */
  String format();

  /** Returns whether the checkpoint holds this module in this spelling. */
  boolean accepts(Checkpoint checkpoint, String module);

  /**
   * Reads a module. New tensors belong to the context's current scope; mapped ones to the
   * checkpoint.
   *
   * @param bias F32 [out] or null, read by the caller
   * @throws espalier.report.EspalierException (INPUT) naming the tensor that is missing or
   *     malformed
   */
  Linear decode(Context context, Checkpoint checkpoint, String module, Scheme scheme, Tensor bias);

  /** Returns the names of a module's tensors in this checkpoint. */
  List<String> names(Checkpoint checkpoint, String module);

  /**
   * Returns how many weights a module of this checkpoint has, from headers and shape tensors alone.
   * One a stored element, unless the codec packs.
   */
  default long weights(Checkpoint checkpoint, String module, Scheme scheme) {
    return checkpoint.spec(module + ".weight").orElseThrow().shape().elements();
  }

  /** Returns what {@link #encode} will write for a module of this shape, without its bias. */
  List<TensorSpec> declare(String module, Scheme scheme, long out, long in, DType scaleType);

  /** Returns a module's tensors by full name, in the context's current scope, without its bias. */
  Map<String, Tensor> encode(Context context, String module, Quantized linear);
}
