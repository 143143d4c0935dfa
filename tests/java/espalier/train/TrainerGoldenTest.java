// SPDX-License-Identifier: Apache-2.0
package espalier.train;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import espalier.Shared;
import espalier.checkpoint.Safetensors;
import espalier.gradient.AdamW;
import espalier.gradient.Clipping;
import espalier.gradient.LanguageLoss;
import espalier.gradient.ModelParameters;
import espalier.gradient.Parameter;
import espalier.gradient.Schedule;
import espalier.gradient.Tape;
import espalier.kernel.Eager;
import espalier.model.Model;
import espalier.report.Listener;
import espalier.runtime.Passages;
import espalier.runtime.Perplexity;
import espalier.runtime.Protocol;
import espalier.tensor.Context;
import espalier.text.TextData;
import espalier.text.Tokenizer;
import java.nio.ShortBuffer;
import java.nio.file.Path;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestReporter;

/**
 * A run that torch made in float64: 300 steps of stories260K's architecture from given weights in a
 * given order (golden/training). The tolerances are its README's.
 */
class TrainerGoldenTest {
  private static final int ROWS = 8;
  private static final int LENGTH = 64;

  @Test
  void theFirstTwentyStepsFollowTorch(TestReporter reporter) {
    follow(20, reporter);
  }

  @Test
  @Tag("slow")
  void threeHundredStepsFollowTorch(TestReporter reporter) {
    follow(300, reporter);
  }

  private static void follow(int steps, TestReporter reporter) {
    Path folder = Shared.path("golden/training");
    JsonNode expected = Shared.json(folder.resolve("expected.json"));
    try (Context context = Context.cpu(2);
        Model model = Model.open(folder.resolve("initial"), context);
        ModelParameters parameters = new ModelParameters(model, context);
        Tape tape = new Tape(context, parameters.list());
        Safetensors golden = Safetensors.open(folder.resolve("batches.safetensors"));
        AdamW optimizer = new AdamW(parameters.list(), new AdamW.Settings(0.9, 0.95, 1e-8, 0.1))) {
      ShortBuffer ids = golden.find("input_ids").orElseThrow().buffer().asShortBuffer();
      Trainer trainer =
          new Trainer(
              context,
              parameters,
              new CrossEntropy(new LanguageLoss(model, tape, false)),
              optimizer,
              step -> batch(ids, (int) step),
              new Schedule(Schedule.Curve.COSINE, 1e-3, 0, 30, 300),
              new Clipping(1),
              1);
      double[] worst = new double[3]; // loss of the first 50, of all; norm
      trainer.run(
          0,
          steps,
          result -> {
            int s = (int) result.step();
            assertEquals(expected.get("learning_rates").get(s).asDouble(), result.rate(), 1e-12);
            double loss = Math.abs(expected.get("losses").get(s).asDouble() - result.loss());
            double norm = expected.get("gradient_norms").get(s).asDouble();
            worst[0] = s < 50 ? Math.max(worst[0], loss) : worst[0];
            worst[1] = Math.max(worst[1], loss);
            worst[2] = Math.max(worst[2], Math.abs(result.gradientNorm() / norm - 1));
          },
          Listener.NONE);
      String figures =
          String.format(
              "%d steps: loss within %.1e in the first 50, %.1e in all; norms within %.1e",
              steps, worst[0], worst[1], worst[2]);
      reporter.publishEntry("training", figures);
      assertTrue(worst[0] <= 2e-5 && worst[1] <= 2e-4 && worst[2] <= 2e-3, figures);
      if (steps == 300) {
        finalWeights(expected, parameters);
        perplexity(expected, model, context, reporter);
      }
    }
  }

  private static Batch batch(ShortBuffer ids, int step) {
    Sequence[] rows = new Sequence[ROWS];
    for (int r = 0; r < ROWS; r++) {
      int[] row = new int[LENGTH];
      for (int i = 0; i < LENGTH; i++) {
        row[i] = ids.get((step * ROWS + r) * LENGTH + i);
      }
      rows[r] = new Sequence(row);
    }
    return ShuffledBatches.batch(rows, ROWS * LENGTH);
  }

  private static void finalWeights(JsonNode expected, ModelParameters parameters) {
    for (Parameter parameter : parameters.list()) {
      JsonNode facts = expected.get("final_parameters").get(parameter.name());
      double squares = 0;
      for (float value : parameter.value().toFloats()) {
        squares += (double) value * value;
      }
      double l2 = facts.get("l2").asDouble();
      assertEquals(l2, Math.sqrt(squares), 1e-3 * l2, parameter.name());
    }
  }

  private static void perplexity(
      JsonNode expected, Model model, Context context, TestReporter reporter) {
    JsonNode golden = expected.get("evaluation_final");
    try (Tokenizer tokenizer = Tokenizer.open(Shared.path("models/stories260K"))) {
      Path file = Shared.path("data/tinystories_eval.jsonl");
      Passages passages =
          Passages.of(
              TextData.open(file, tokenizer, () -> null),
              tokenizer,
              new Passages.Choice(Protocol.DOCS, 0, 50),
              model.contextLength(),
              model.vocabulary());
      Perplexity.Result result =
          Perplexity.measure(model, new Eager(context), passages, Listener.NONE);
      assertEquals(golden.get("predictions").asLong(), result.predictions());
      reporter.publishEntry("perplexity", "" + result.perplexity());
      assertEquals(1, result.perplexity() / golden.get("ppl").asDouble(), 1e-3);
    }
  }
}
