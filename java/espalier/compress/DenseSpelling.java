// SPDX-License-Identifier: Apache-2.0
package espalier.compress;

import com.fasterxml.jackson.databind.node.ObjectNode;
import espalier.checkpoint.TensorSpec;
import espalier.layer.Dense;
import espalier.layer.Linear;
import espalier.tensor.Context;
import espalier.tensor.DType;
import espalier.tensor.Tensor;
import java.util.List;
import java.util.Map;

/** Quantized values in plain tensors, in the type and the orientation of the source. */
final class DenseSpelling implements OutputSpelling {
  @Override
  public List<TensorSpec> declare(String stored, PlannedLinear planned, TensorSpec weight) {
    return List.of(new TensorSpec(weight.name(), type(weight.dtype()), weight.shape()));
  }

  /** Returns the type the model computes with: what the kernels cannot read was widened to F32. */
  static DType type(DType stored) {
    return switch (stored) {
      case F16, BF16 -> stored;
      default -> DType.F32;
    };
  }

  @Override
  public Map<String, Tensor> encode(
      Context context, String stored, Linear linear, TensorSpec weight) {
    return Map.of(weight.name(), ((Dense) linear).matrix());
  }

  @Override
  public ObjectNode config() {
    return null;
  }
}
