// SPDX-License-Identifier: Apache-2.0
package espalier.compress;

import com.fasterxml.jackson.databind.node.ObjectNode;
import espalier.checkpoint.Checkpoint;
import espalier.checkpoint.TensorSpec;
import espalier.codec.GptqCodec;
import espalier.internal.Json;
import espalier.internal.Version;
import espalier.layer.Activations;
import espalier.layer.Dense;
import espalier.layer.Linear;
import espalier.layer.Quantized;
import espalier.layer.Scheme;
import espalier.report.EspalierException;
import espalier.report.Event;
import espalier.tensor.Context;
import espalier.tensor.DType;
import espalier.tensor.Tensor;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Consumer;
import java.util.regex.Pattern;

/**
 * GPTQ, v1 or v2. The config has one scheme, that of most weights; layers with another one, and
 * those left alone, are exceptions under {@code dynamic}. Checked against GPTQModel 7.7.0.
 */
final class GptqSpelling implements OutputSpelling {
  private final Plan plan;
  private final GptqCodec codec;
  private final Consumer<Event> events;
  private boolean warned;

  GptqSpelling(Plan plan, GptqCodec codec, Consumer<Event> events) {
    this.plan = plan;
    this.codec = codec;
    this.events = events;
  }

  /**
   * Refuses a linear that GPTQ checkpoints cannot hold.
   *
   * @throws EspalierException (UNSUPPORTED) naming the linear and the reason
   */
  static void require(PlannedLinear planned) {
    Scheme scheme = planned.scheme();
    int multiple = GptqCodec.packs(scheme.bits()) ? GptqCodec.multiple(scheme.bits()) : 1;
    String fault = null;
    if (!GptqCodec.packs(scheme.bits())) {
      fault = "codes of " + scheme.bits() + " bits (GPTQ has 2, 3, 4 and 8)";
    } else if (scheme.activations() != Activations.FLOAT) {
      fault = "quantized activations";
    } else if (planned.in() % multiple != 0 || planned.out() % multiple != 0) {
      fault =
          planned.out()
              + " x "
              + planned.in()
              + " weights (both must be multiples of "
              + multiple
              + " at "
              + scheme.bits()
              + " bits)";
    }
    if (fault != null) {
      throw EspalierException.unsupported(
          planned.name() + ": a GPTQ checkpoint cannot hold " + fault,
          "Ignore this layer, or write --format compressed-tensors.");
    }
  }

  @Override
  public List<TensorSpec> declare(String stored, PlannedLinear planned, TensorSpec weight) {
    return codec.declare(stored, planned.scheme(), planned.out(), planned.in(), DType.F16);
  }

  @Override
  public Map<String, Tensor> encode(
      Context context, String stored, Linear linear, TensorSpec weight) {
    Quantized quantized = (Quantized) linear;
    if (codec == GptqCodec.V1 && !warned && GptqCodec.borrows(quantized)) {
      warned = true;
      events.accept(
          Event.warning(
              "zero-point-borrow",
              stored,
              "a zero point of 0 is stored as -1 in format gptq, as GPTQModel does; readers that"
                  + " add 1 to each field misread its neighbour. Format gptq_v2 has no such trap"));
    }
    return codec.encode(context, stored, quantized);
  }

  @Override
  public Linear decode(
      Context context, Checkpoint earlier, String stored, PlannedLinear planned, Linear before) {
    Quantized read =
        (Quantized) codec.decode(context, earlier, stored, planned.scheme(), before.bias());
    DType dense = before instanceof Dense matrix ? matrix.matrix().dtype() : DType.F32;
    return read.withScaleType(OutputFormat.scaleType(plan.formats(), dense).stored());
  }

  @Override
  public ObjectNode config() {
    Scheme common = common();
    ObjectNode root = Json.STRICT.createObjectNode();
    root.put("bits", common.bits());
    root.put("checkpoint_format", codec.format());
    root.put("desc_act", false); // groups are consecutive, whatever order the solver took
    ObjectNode dynamic = Json.STRICT.createObjectNode();
    for (PlannedLinear planned : plan.linears()) {
      String name = "^" + escaped(planned.name()) + "$";
      if (!planned.isQuantized() && !planned.name().equals(Plan.HEAD)) {
        dynamic.putObject("-:" + name);
      } else if (planned.isQuantized() && !planned.scheme().equals(common)) {
        describe(dynamic.putObject("+:" + name), planned.scheme());
      }
    }
    if (!dynamic.isEmpty()) {
      root.set("dynamic", dynamic);
    }
    root.put("format", codec.format());
    root.put("group_size", groupSize(common));
    root.put("lm_head", plan.ignored().stream().noneMatch(Plan.HEAD::equals));
    root.putObject("meta").putArray("quantizer").add("espalier:" + Version.TEXT);
    root.put("method", "gptq");
    root.put("pack_dtype", "int32");
    root.put("quant_method", "gptq");
    root.put("sym", common.symmetric());
    return root;
  }

  /** Returns the name as a regular expression of every dialect: only the dots are special. */
  private static String escaped(String name) {
    return Pattern.compile("[.]").matcher(name).replaceAll("\\\\.");
  }

  private static void describe(ObjectNode node, Scheme scheme) {
    node.put("bits", scheme.bits());
    node.put("group_size", groupSize(scheme));
    node.put("sym", scheme.symmetric());
  }

  private static int groupSize(Scheme scheme) {
    return scheme.groupSize() == 0 ? -1 : scheme.groupSize();
  }

  /** Returns the scheme of most weights; the first of equals. */
  private Scheme common() {
    Map<Scheme, Long> weights = new LinkedHashMap<>();
    for (PlannedLinear planned : plan.linears()) {
      if (planned.isQuantized()) {
        weights.merge(planned.scheme(), planned.out() * planned.in(), Long::sum);
      }
    }
    Scheme best = null;
    for (Map.Entry<Scheme, Long> entry : weights.entrySet()) {
      if (best == null || entry.getValue() > weights.get(best)) {
        best = entry.getKey();
      }
    }
    return best;
  }

  @Override
  public Map<String, ObjectNode> files() {
    return Map.of("quantize_config.json", config());
  }
}
