// SPDX-License-Identifier: Apache-2.0
package espalier.gradient;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import espalier.Shared;
import espalier.checkpoint.Safetensors;
import espalier.kernel.LossGradient;
import espalier.kernel.LossGradient.Divergence;
import espalier.tensor.Context;
import espalier.tensor.DType;
import espalier.tensor.Tensor;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestReporter;

/** Distillation losses and their gradients by torch in float64: golden/gradients. */
class DistillationGoldenTest {
  private static final double TOLERANCE = 1e-5; // of the largest entry

  @Test
  void everyDivergence(TestReporter reporter) {
    Path folder = Shared.path("golden/gradients/distillation-losses");
    JsonNode losses = Shared.json(folder.resolve("expected.json")).get("losses");
    Map<String, Divergence> kinds = new LinkedHashMap<>();
    kinds.put("forward_kl_T1", Divergence.forward(1));
    kinds.put("forward_kl_T2", Divergence.forward(2));
    kinds.put("reverse_kl_T1", Divergence.reverse(1));
    kinds.put("reverse_kl_T2", Divergence.reverse(2));
    kinds.put("jsd_beta0.1", Divergence.jensenShannon(0.1));
    kinds.put("jsd_beta0.5", Divergence.jensenShannon(0.5));
    kinds.put("jsd_beta0.9", Divergence.jensenShannon(0.9));
    kinds.put("skew_forward_kl_0.1", new Divergence(1, 0.1, 0, 0, 0, 1));
    kinds.put("skew_reverse_kl_0.1", new Divergence(0, 0, 1, 0.1, 0, 1));
    kinds.put("total_variation", new Divergence(0, 0, 0, 0, 1, 1));
    kinds.put("ce_kl_mix", new Divergence(0.5, 0, 0, 0, 0, 2)); // half of it
    try (Context context = Context.cpu(2);
        Safetensors golden = Safetensors.open(folder.resolve("tensors.safetensors"))) {
      Tensor teacher = golden.find("teacher_logits").orElseThrow();
      Tensor student = golden.find("student_logits").orElseThrow();
      int[] labels = golden.find("labels").orElseThrow().toInts();
      int[] mask = golden.find("mask").orElseThrow().toInts();
      int count = 0;
      for (int i = 0; i < mask.length; i++) {
        labels[i] = mask[i] == 0 ? -1 : labels[i];
        count += mask[i];
      }
      Tensor targets = context.ints(labels, labels.length);
      double worst = 0;
      for (Map.Entry<String, Divergence> kind : kinds.entrySet()) {
        String name = kind.getKey();
        Tensor gradient = context.allocate(DType.F32, student.shape().toArray());
        Tensor loss = context.allocate(DType.F64, labels.length);
        boolean mixed = name.equals("ce_kl_mix");
        double sum = 0;
        if (mixed) {
          LossGradient.crossEntropy(context, student, targets, 0.5f / count, gradient, loss);
          sum += 0.5 * sum(loss);
        }
        LossGradient.divergence(
            context, kind.getValue(), teacher, student, targets, 1f / count, mixed, gradient, loss);
        sum += sum(loss);
        double expected = losses.get(name).asDouble();
        assertEquals(expected, sum / count, 1e-5 * expected, name);
        float[] wanted = golden.find("grad." + name).orElseThrow().toFloats();
        float[] actual = gradient.toFloats();
        double largest = 0;
        double apart = 0;
        for (int i = 0; i < wanted.length; i++) {
          largest = Math.max(largest, Math.abs(wanted[i]));
          apart = Math.max(apart, Math.abs(wanted[i] - actual[i]));
        }
        worst = Math.max(worst, apart / largest);
        assertTrue(apart <= TOLERANCE * largest, name + " differs by " + apart / largest);
      }
      reporter.publishEntry("distillation", "worst share of a largest entry: " + worst);
    }
  }

  private static double sum(Tensor losses) {
    double sum = 0;
    for (double loss : losses.toDoubles()) {
      sum += loss;
    }
    return sum;
  }
}
