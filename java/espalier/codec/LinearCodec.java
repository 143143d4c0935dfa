// SPDX-License-Identifier: Apache-2.0
package espalier.codec;

import espalier.checkpoint.TensorSpec;
import espalier.layer.Quantized;
import espalier.layer.Scheme;
import espalier.tensor.Context;
import espalier.tensor.DType;
import espalier.tensor.Tensor;
import java.util.List;
import java.util.Map;

/** How one quantized linear is spelled as tensors of a checkpoint, both ways. */
public interface LinearCodec extends LinearReader {
  /** Returns what {@link #encode} will write for a module of this shape, without its bias. */
  List<TensorSpec> declare(String module, Scheme scheme, long out, long in, DType scaleType);

  /** Returns a module's tensors by full name, in the context's current scope, without its bias. */
  Map<String, Tensor> encode(Context context, String module, Quantized linear);
}
