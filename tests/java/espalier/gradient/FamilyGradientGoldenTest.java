// SPDX-License-Identifier: Apache-2.0
package espalier.gradient;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import espalier.Shared;
import espalier.checkpoint.Safetensors;
import espalier.model.Model;
import espalier.tensor.Context;
import espalier.tensor.Tensor;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Optional;
import org.junit.jupiter.api.TestReporter;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/**
 * Masked cross-entropy of whole models and every gradient of it, by torch autograd in float64:
 * golden/gradients/ce-*, the families that the engine runs.
 */
class FamilyGradientGoldenTest {
  private static final double TOLERANCE = 1e-4; // of the tensor's largest entry

  @ParameterizedTest
  @CsvSource({
    "llama,false",
    "llama,true",
    "llama-tied-bias,false",
    "llama-yarn,false",
    "mistral,false",
    "qwen2,true",
    "qwen3,false",
    "gpt2,false",
    "gpt2,true"
  })
  void gradientsOfEveryTensor(String family, boolean checkpoints, TestReporter reporter) {
    Path folder = Shared.path("golden/gradients/ce-" + family);
    JsonNode expected = Shared.json(folder.resolve("expected.json"));
    try (Context context = Context.cpu(2);
        Model model = Model.open(Shared.path("golden/families/" + family), context);
        ModelParameters parameters = new ModelParameters(model, context);
        Tape tape = new Tape(context, parameters.list());
        Safetensors golden = Safetensors.open(folder.resolve("tensors.safetensors"))) {
      int[] ids = golden.find("input_ids").orElseThrow().toInts();
      int[] mask = golden.find("loss_mask").orElseThrow().toInts();
      int length = (int) golden.find("input_ids").orElseThrow().dimension(1);
      int[] lengths = new int[ids.length / length];
      int[] targets = new int[ids.length];
      int count = 0;
      for (int i = 0; i < ids.length; i++) {
        boolean last = i % length == length - 1;
        targets[i] = last || mask[i + 1] == 0 ? -1 : ids[i + 1];
        count += targets[i] < 0 ? 0 : 1;
      }
      Arrays.fill(lengths, length);
      assertEquals(expected.get("targets").asInt(), count);
      tape.begin(lengths);
      LanguageLoss loss = new LanguageLoss(model, tape, checkpoints);
      double sum =
          loss.step(
              context.ints(ids, ids.length), context.ints(targets, targets.length), 1f / count);
      double wanted = expected.get("loss").asDouble();
      assertEquals(wanted, sum / count, 1e-5 * wanted);
      double worst = 0;
      for (Parameter parameter : parameters.list()) {
        JsonNode facts = expected.get("gradients").get(parameter.name());
        worst = Math.max(worst, apart(parameter, facts, golden));
      }
      assertEquals(expected.get("gradients").size(), parameters.list().size());
      double total = expected.get("gradients_total_l2").asDouble();
      assertEquals(total, Clipping.norm(context, parameters.list()), 1e-5 * total);
      reporter.publishEntry(family, "worst share of a largest entry: " + worst);
      assertTrue(worst <= TOLERANCE, family + " differs by " + worst);
    }
  }

  /** The largest difference of a tensor as a share of its largest entry. */
  private static double apart(Parameter parameter, JsonNode facts, Safetensors golden) {
    float[] actual = parameter.gradient().toFloats();
    double largest = 0;
    for (JsonNode entry : facts.get("top")) {
      largest = Math.max(largest, Math.abs(entry.get(1).asDouble()));
    }
    // A bias of keys has no gradient at all in exact arithmetic; the digits stored are noise.
    double scale = largest < 1e-12 ? 1 : largest;
    double apart = 0;
    Optional<Tensor> complete = golden.find("grad." + parameter.name());
    if (complete.isPresent()) {
      float[] expected = complete.get().toFloats();
      for (int i = 0; i < expected.length; i++) {
        apart = Math.max(apart, Math.abs(expected[i] - actual[i]));
      }
      return apart / scale;
    }
    double sum = 0;
    double squares = 0;
    double absolute = 0;
    for (float value : actual) {
      sum += value;
      squares += (double) value * value;
      absolute += Math.abs(value);
    }
    for (JsonNode entry : facts.get("top")) {
      double wanted = largest < 1e-12 ? 0 : entry.get(1).asDouble();
      apart = Math.max(apart, Math.abs(wanted - actual[entry.get(0).asInt()]));
    }
    String name = parameter.name();
    double perEntry = TOLERANCE * scale;
    assertEquals(facts.get("sum").asDouble(), sum, perEntry * Math.sqrt(actual.length), name);
    assertEquals(facts.get("l2").asDouble(), Math.sqrt(squares), perEntry * 10, name);
    assertEquals(facts.get("sum_abs").asDouble(), absolute, perEntry * actual.length, name);
    return apart / scale;
  }
}
