// SPDX-License-Identifier: Apache-2.0
package espalier.codec;

import espalier.checkpoint.Checkpoint;
import espalier.layer.Linear;
import espalier.layer.Scheme;
import espalier.tensor.Context;
import espalier.tensor.Tensor;
import java.util.List;

/** How one linear is read from the tensors of a checkpoint. Pure: no files, no state. */
public interface LinearReader {
  /** Returns the name of the format in the config. */
  String format();

  /** Returns whether the checkpoint holds this module in this spelling. */
  boolean accepts(Checkpoint checkpoint, String module);

  /**
   * Reads a module. New tensors belong to the context's current scope; mapped ones to the
   * checkpoint.
   *
   * @param scheme what the config says of its codes; null for floating-point weights
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
}
