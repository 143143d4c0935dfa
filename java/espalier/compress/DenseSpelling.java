// SPDX-License-Identifier: Apache-2.0
package espalier.compress;

import com.fasterxml.jackson.databind.node.ObjectNode;
import espalier.checkpoint.Checkpoint;
import espalier.checkpoint.TensorSpec;
import espalier.kernel.Convert;
import espalier.layer.Dense;
import espalier.layer.Linear;
import espalier.tensor.Context;
import espalier.tensor.DType;
import espalier.tensor.Tensor;
import java.util.List;
import java.util.Map;
import java.util.Set;

/** Quantized values in plain tensors, in the type and the orientation of the source. */
final class DenseSpelling implements OutputSpelling {
  private final Set<String> turned;

  /** Takes the modules, as the checkpoint spells them, that are stored [in, out]. */
  DenseSpelling(Set<String> turned) {
    this.turned = turned;
  }

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
    if (linear instanceof Dense dense) {
      return Map.of(weight.name(), dense.matrix());
    }
    return Map.of(
        weight.name(),
        matrix(context, linear.weight(context), turned.contains(stored), type(weight.dtype())));
  }

  /** Returns values F32 [out, in] in a type, as [out, in] or [in, out], in the current scope. */
  static Tensor matrix(Context context, Tensor values, boolean inOut, DType type) {
    Tensor turned = inOut ? new Dense(values, true, null).weight(context) : values;
    return type == DType.F32 ? turned : Convert.fromFloat(context, turned, type);
  }

  @Override
  public Linear decode(
      Context context, Checkpoint earlier, String stored, PlannedLinear planned, Linear before) {
    return new Dense(earlier.get(stored + ".weight"), ((Dense) before).inOut(), before.bias());
  }

  @Override
  public ObjectNode config() {
    return null;
  }
}
