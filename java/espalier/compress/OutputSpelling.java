// SPDX-License-Identifier: Apache-2.0
package espalier.compress;

import com.fasterxml.jackson.databind.node.ObjectNode;
import espalier.checkpoint.TensorSpec;
import espalier.layer.Linear;
import espalier.tensor.Context;
import espalier.tensor.Tensor;
import java.util.List;
import java.util.Map;

/** How one output format spells compressed linears and tells readers about them. */
interface OutputSpelling {
  /** Returns the spelling of a format for a plan. */
  static OutputSpelling of(OutputFormat format, Plan plan) {
    return switch (format) {
      case COMPRESSED_TENSORS -> new CompressedTensorsSpelling(plan);
      case DENSE -> new DenseSpelling();
    };
  }

  /**
   * Returns the tensors that replace a stored weight.
   *
   * @param stored module name as the checkpoint spells it
   * @param weight the dense tensor of the source
   */
  List<TensorSpec> declare(String stored, PlannedLinear planned, TensorSpec weight);

  /**
   * Returns the declared tensors by full name, in the context's current scope.
   *
   * @param weight the dense tensor of the source
   */
  Map<String, Tensor> encode(Context context, String stored, Linear linear, TensorSpec weight);

  /** Returns {@code quantization_config}, or null when readers need none. */
  ObjectNode config();

  /** Returns further JSON files beside config.json, by name. */
  default Map<String, ObjectNode> files() {
    return Map.of();
  }
}
