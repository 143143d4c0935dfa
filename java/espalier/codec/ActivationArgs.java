// SPDX-License-Identifier: Apache-2.0
package espalier.codec;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import espalier.kernel.QuantizedActivations;
import espalier.layer.Activations;
import espalier.layer.Scheme;
import espalier.report.EspalierException;
import java.util.function.Function;

/**
 * {@code input_activations} of a config group: null, or what {@link Activations#INT8_PER_TOKEN}
 * stands for, {@code {num_bits: 8, type: int, symmetric: true, strategy: token, dynamic: true}}.
 */
public final class ActivationArgs {
  private ActivationArgs() {}

  /**
   * Returns the scheme with the activations that the group asks for.
   *
   * @param refuse makes the exception for something that cannot be read
   */
  static Scheme apply(
      Scheme scheme, JsonNode group, String where, Function<String, EspalierException> refuse) {
    if (group.hasNonNull("output_activations")) {
      throw refuse.apply(where + ".output_activations");
    }
    if (!group.hasNonNull("input_activations")) {
      return scheme;
    }
    JsonNode inputs = group.path("input_activations");
    boolean ours =
        inputs.path("num_bits").asInt(8) == 8
            && inputs.path("type").asText("int").equals("int")
            && inputs.path("symmetric").asBoolean(true)
            && inputs.path("dynamic").asBoolean(false)
            && inputs.path("strategy").asText("").equals("token");
    if (!ours) {
      throw refuse.apply(where + ".input_activations other than dynamic symmetric int8 per token");
    }
    if (!QuantizedActivations.multiplies(scheme.bits())) {
      throw refuse.apply(
          where + ".input_activations beside weights of " + scheme.bits() + " bits (not 4 or 8)");
    }
    return new Scheme(
        scheme.bits(), scheme.symmetric(), scheme.groupSize(), Activations.INT8_PER_TOKEN);
  }

  /** Writes the entry of a scheme into a group, as compressed-tensors writes it. */
  public static void put(Scheme scheme, ObjectNode group) {
    if (scheme.activations() == Activations.FLOAT) {
      group.putNull("input_activations");
      return;
    }
    ObjectNode inputs = group.putObject("input_activations");
    inputs.put("dynamic", true);
    inputs.putNull("group_size");
    inputs.put("num_bits", 8);
    inputs.put("strategy", "token");
    inputs.put("symmetric", true);
    inputs.put("type", "int");
  }
}
