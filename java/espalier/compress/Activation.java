// SPDX-License-Identifier: Apache-2.0
package espalier.compress;

import espalier.kernel.QuantizedActivations;
import espalier.layer.Activations;
import espalier.layer.Scheme;
import espalier.recipe.QuantizationArgs;
import espalier.recipe.QuantizationArgs.Dynamic;
import espalier.recipe.QuantizationArgs.Strategy;
import espalier.recipe.QuantizationArgs.Type;
import espalier.recipe.SchemeGroup;
import espalier.report.EspalierException;
import espalier.report.Event;
import java.util.List;

/** Which {@code input_activations} of a recipe are built, and what they mean to a linear. */
final class Activation {
  private Activation() {}

  /** Returns whether the group asks for no activations, or for ones that we compute. */
  static boolean isBuilt(SchemeGroup group) {
    return group.outputs() == null
        && (group.inputs() == null
            || (isInt8PerToken(group.inputs())
                && QuantizedActivations.multiplies(group.weights().numBits())));
  }

  private static boolean isInt8PerToken(QuantizationArgs inputs) {
    return inputs.type() == Type.INT
        && inputs.numBits() == 8
        && inputs.symmetric()
        && inputs.dynamic() == Dynamic.YES
        && inputs.strategy() == Strategy.TOKEN;
  }

  /** Returns what the group asks for that is not built. */
  static String describe(SchemeGroup group) {
    String where = " (group " + group.name() + ")";
    if (group.outputs() != null) {
      return "quantized outputs" + where;
    }
    return isInt8PerToken(group.inputs())
        ? "int8 activations with " + group.weights().numBits() + "-bit weights" + where
        : "activations other than dynamic symmetric int8 per token" + where;
  }

  /** A dense file has no place to say that inputs are to be rounded. */
  static void warnOfDense(Iterable<PlannedLinear> linears, List<Event> events) {
    for (PlannedLinear planned : linears) {
      if (planned.isQuantized() && planned.scheme().activations() != Activations.FLOAT) {
        events.add(
            Event.warning(
                "inputs-not-rounded",
                planned.name(),
                "a dense output cannot say that inputs are rounded to int8: only the weights are"
                    + " quantized; use --format compressed-tensors for both"));
        return;
      }
    }
  }

  static Activations of(SchemeGroup group) {
    return group.inputs() == null ? Activations.FLOAT : Activations.INT8_PER_TOKEN;
  }

  /** Refuses a matrix too wide for the exact sums of {@link QuantizedActivations}. */
  static void refuseWidth(String name, long in, Scheme scheme) {
    if (scheme.activations() != Activations.FLOAT && in > QuantizedActivations.MAX_COLUMNS) {
      throw EspalierException.unsupported(
          name
              + " has "
              + in
              + " inputs; int8 activations are built for up to "
              + QuantizedActivations.MAX_COLUMNS,
          "Give this layer a scheme without activations, such as W8A16.");
    }
  }
}
