// SPDX-License-Identifier: Apache-2.0
package espalier.compress;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import espalier.checkpoint.Checkpoint;
import espalier.checkpoint.TensorSpec;
import espalier.codec.ActivationArgs;
import espalier.codec.LinearCodec;
import espalier.internal.Json;
import espalier.layer.Dense;
import espalier.layer.Linear;
import espalier.layer.Quantized;
import espalier.layer.Scheme;
import espalier.tensor.Context;
import espalier.tensor.DType;
import espalier.tensor.Tensor;
import java.util.List;
import java.util.Map;

/**
 * compressed-tensors: each config group in the format of its codec. Checked against version 0.20.0.
 */
final class CompressedTensorsSpelling implements OutputSpelling {
  /** The version of compressed-tensors whose config and layout we write. */
  private static final String VERSION = "0.20.0";

  private final Plan plan;

  CompressedTensorsSpelling(Plan plan) {
    this.plan = plan;
  }

  private LinearCodec codec(Scheme scheme) {
    return plan.spellings().of(scheme);
  }

  @Override
  public List<TensorSpec> declare(String stored, PlannedLinear planned, TensorSpec weight) {
    return codec(planned.scheme())
        .declare(
            stored,
            planned.scheme(),
            planned.out(),
            planned.in(),
            DenseSpelling.type(weight.dtype()));
  }

  @Override
  public Map<String, Tensor> encode(
      Context context, String stored, Linear linear, TensorSpec weight) {
    Quantized quantized = (Quantized) linear;
    // Scales may be rounded further than this type asks, for another format beside this one.
    Quantized typed = quantized.withScaleType(DenseSpelling.type(weight.dtype()));
    return codec(typed.scheme()).encode(context, stored, typed);
  }

  @Override
  public Linear decode(
      Context context, Checkpoint earlier, String stored, PlannedLinear planned, Linear before) {
    Quantized read =
        (Quantized)
            codec(planned.scheme())
                .decode(context, earlier, stored, planned.scheme(), before.bias());
    DType dense = before instanceof Dense matrix ? matrix.matrix().dtype() : DType.F32;
    return read.withScaleType(OutputFormat.scaleType(plan.formats(), dense).stored());
  }

  /**
   * Returns the config entry as compressed-tensors writes it: sorted keys, only fields that matter.
   */
  @Override
  public ObjectNode config() {
    ObjectNode root = Json.STRICT.createObjectNode();
    ObjectNode groups = root.putObject("config_groups");
    int index = 0;
    for (Map.Entry<Scheme, List<String>> entry : plan.targets().entrySet()) {
      Scheme scheme = entry.getKey();
      ObjectNode group = groups.putObject("group_" + index++);
      group.put("format", codec(scheme).format());
      ActivationArgs.put(scheme, group);
      group.putNull("output_activations");
      ArrayNode targets = group.putArray("targets");
      entry.getValue().forEach(targets::add);
      group.set("weights", weights(scheme));
    }
    root.put("format", plan.spellings().format());
    root.putNull("global_compression_ratio");
    ArrayNode ignore = root.putArray("ignore");
    plan.ignored().forEach(ignore::add);
    root.putNull("kv_cache_scheme");
    root.put("quant_method", "compressed-tensors");
    root.put("quantization_status", "compressed");
    root.putObject("sparsity_config");
    root.putObject("transform_config");
    root.put("version", VERSION);
    return root;
  }

  private static ObjectNode weights(Scheme scheme) {
    ObjectNode weights = Json.STRICT.createObjectNode();
    weights.put("dynamic", false);
    if (scheme.groupSize() == 0) {
      weights.putNull("group_size");
    } else {
      weights.put("group_size", scheme.groupSize());
    }
    weights.put("num_bits", scheme.bits());
    weights.put("strategy", scheme.groupSize() == 0 ? "channel" : "group");
    weights.put("symmetric", scheme.symmetric());
    weights.put("type", "int");
    return weights;
  }
}
