// SPDX-License-Identifier: Apache-2.0
package espalier.compress;

import com.fasterxml.jackson.databind.node.ObjectNode;
import espalier.checkpoint.Checkpoint;
import espalier.checkpoint.TensorSpec;
import espalier.layer.Dense;
import espalier.layer.Linear;
import espalier.tensor.Context;
import espalier.tensor.Tensor;
import java.util.List;
import java.util.Map;

/**
 * A format of quantized linears beside which those that are only pruned are plain matrices, zeros
 * in place; the format's config names them as not quantized.
 */
record MixedSpelling(DenseSpelling dense, OutputSpelling quantized) implements OutputSpelling {
  private OutputSpelling of(PlannedLinear planned) {
    return planned.isQuantized() ? quantized : dense;
  }

  @Override
  public List<TensorSpec> declare(String stored, PlannedLinear planned, TensorSpec weight) {
    return of(planned).declare(stored, planned, weight);
  }

  @Override
  public Map<String, Tensor> encode(
      Context context, String stored, Linear linear, TensorSpec weight) {
    return (linear instanceof Dense ? dense : quantized).encode(context, stored, linear, weight);
  }

  @Override
  public Linear decode(
      Context context, Checkpoint earlier, String stored, PlannedLinear planned, Linear before) {
    return of(planned).decode(context, earlier, stored, planned, before);
  }

  @Override
  public ObjectNode config() {
    return quantized.config();
  }

  @Override
  public String configKey() {
    return quantized.configKey();
  }

  @Override
  public Map<String, String> metadata() {
    return quantized.metadata();
  }

  @Override
  public Map<String, ObjectNode> files() {
    return quantized.files();
  }
}
