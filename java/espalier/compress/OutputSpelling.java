// SPDX-License-Identifier: Apache-2.0
package espalier.compress;

import com.fasterxml.jackson.databind.node.ObjectNode;
import espalier.checkpoint.Checkpoint;
import espalier.checkpoint.CheckpointWriter;
import espalier.checkpoint.TensorSpec;
import espalier.codec.GptqCodec;
import espalier.layer.Dense;
import espalier.layer.Linear;
import espalier.model.Model;
import espalier.report.Event;
import espalier.tensor.Context;
import espalier.tensor.Tensor;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.Consumer;

/** How one output format spells compressed linears and tells readers about them. */
interface OutputSpelling {
  /**
   * Returns the spelling of a format for a plan.
   *
   * @param model the model before its linears are swapped
   * @param events hears what readers of the format should know
   */
  static OutputSpelling of(OutputFormat format, Plan plan, Model model, Consumer<Event> events) {
    DenseSpelling dense = new DenseSpelling(turned(model));
    return switch (format) {
      case COMPRESSED_TENSORS -> mixed(plan, dense, new CompressedTensorsSpelling(plan));
      case GPTQ -> mixed(plan, dense, new GptqSpelling(plan, GptqCodec.V1, events));
      case GPTQ_V2 -> mixed(plan, dense, new GptqSpelling(plan, GptqCodec.V2, events));
      case DENSE -> dense;
      case SPARSE -> new SparseSpelling(plan, model, dense);
    };
  }

  /** Linears that are only pruned stay plain matrices in every format. */
  private static OutputSpelling mixed(Plan plan, DenseSpelling dense, OutputSpelling quantized) {
    if (!plan.quantizes()) {
      return dense;
    }
    return new MixedSpelling(dense, quantized);
  }

  private static Set<String> turned(Model model) {
    Set<String> turned = new HashSet<>();
    model
        .linears()
        .forEach(
            (name, linear) -> {
              if (linear instanceof Dense dense && dense.inOut()) {
                turned.add(model.storedName(name));
              }
            });
    return turned;
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

  /**
   * Reads a linear that an earlier process wrote in this spelling, as the run had it.
   *
   * @param before its dense form in the model
   * @return tensors in the context's current scope, or mapped from {@code earlier}
   */
  Linear decode(
      Context context, Checkpoint earlier, String stored, PlannedLinear planned, Linear before);

  /** Returns what readers need to find in config.json, or null when they need nothing. */
  ObjectNode config();

  /** Returns the key of {@link #config} in config.json. */
  default String configKey() {
    return "quantization_config";
  }

  /** Returns {@code __metadata__} of the weight files. */
  default Map<String, String> metadata() {
    return CheckpointWriter.METADATA;
  }

  /** Returns further JSON files beside config.json, by name. */
  default Map<String, ObjectNode> files() {
    return Map.of();
  }
}
