// SPDX-License-Identifier: Apache-2.0
package espalier.compress;

import com.fasterxml.jackson.databind.node.ObjectNode;
import espalier.checkpoint.Checkpoint;
import espalier.checkpoint.CheckpointWriter;
import espalier.checkpoint.TensorSpec;
import espalier.codec.LinearCodec;
import espalier.codec.SparseCodec;
import espalier.codec.SparseConfig;
import espalier.codec.SparseLayout;
import espalier.layer.Dense;
import espalier.layer.Linear;
import espalier.layer.Quantized;
import espalier.layer.Scheme;
import espalier.model.Model;
import espalier.tensor.Context;
import espalier.tensor.DType;
import espalier.tensor.Tensor;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;

/**
 * Our compact format, see {@link SparseCodec}. Linears that would not be smaller in it keep the
 * spelling of the dense format, or that of compressed-tensors when they are quantized; all are
 * described in the one block of config.json. Only this program reads it.
 */
final class SparseSpelling implements OutputSpelling {
  private final Plan plan;
  private final Model model;
  private final DenseSpelling dense;

  /** Takes the spelling of matrices that are neither sparse nor quantized. */
  SparseSpelling(Plan plan, Model model, DenseSpelling dense) {
    this.plan = plan;
    this.model = model;
    this.dense = dense;
  }

  private SparseLayout layout(PlannedLinear planned) {
    return plan.sparse(planned.name()).orElse(null);
  }

  private LinearCodec codec(Scheme scheme) {
    return plan.spellings().of(scheme);
  }

  @Override
  public List<TensorSpec> declare(String stored, PlannedLinear planned, TensorSpec weight) {
    if (layout(planned) != null) {
      return layout(planned).specs(stored);
    }
    return planned.scheme() == null
        ? dense.declare(stored, planned, weight)
        : codec(planned.scheme())
            .declare(
                stored, planned.scheme(), planned.out(), planned.in(), scaleType(weight.dtype()));
  }

  private DType scaleType(DType stored) {
    return OutputFormat.scaleType(plan.formats(), DenseSpelling.type(stored)).stored();
  }

  @Override
  public Map<String, Tensor> encode(
      Context context, String stored, Linear linear, TensorSpec weight) {
    if (linear instanceof Quantized quantized) {
      Quantized typed = quantized.withScaleType(scaleType(weight.dtype()));
      return codec(typed.scheme()).encode(context, stored, typed);
    }
    return linear instanceof Dense
        ? dense.encode(context, stored, linear, weight)
        : SparseCodec.encode(context, stored, linear);
  }

  @Override
  public Linear decode(
      Context context, Checkpoint earlier, String stored, PlannedLinear planned, Linear before) {
    SparseLayout layout = layout(planned);
    if (layout != null) {
      return SparseCodec.decode(
          context,
          earlier,
          stored,
          layout.pattern(),
          layout.in(),
          layout.kind(),
          planned.scheme(),
          before.bias());
    }
    return planned.scheme() == null
        ? dense.decode(context, earlier, stored, planned, before)
        : codec(planned.scheme()).decode(context, earlier, stored, planned.scheme(), before.bias());
  }

  @Override
  public String configKey() {
    return SparseConfig.KEY;
  }

  @Override
  public ObjectNode config() {
    ObjectNode block = SparseConfig.empty();
    boolean any = false;
    for (PlannedLinear planned : plan.linears()) {
      String stored = model.storedName(planned.name());
      if (layout(planned) != null) {
        SparseConfig.put(block, stored, layout(planned), planned.scheme());
      } else if (planned.scheme() != null) {
        SparseConfig.put(block, stored, codec(planned.scheme()), planned.scheme());
      } else {
        continue;
      }
      any = true;
    }
    return any ? block : null;
  }

  @Override
  public Map<String, String> metadata() {
    Map<String, String> metadata = new TreeMap<>(CheckpointWriter.METADATA);
    if (config() != null) {
      metadata.put(SparseConfig.KEY, String.valueOf(SparseConfig.VERSION));
    }
    return metadata;
  }
}
