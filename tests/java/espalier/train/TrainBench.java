// SPDX-License-Identifier: Apache-2.0
package espalier.train;

import com.fasterxml.jackson.databind.node.ObjectNode;
import espalier.checkpoint.CheckpointWriter;
import espalier.gradient.AdamW;
import espalier.gradient.Clipping;
import espalier.gradient.LanguageLoss;
import espalier.gradient.ModelParameters;
import espalier.gradient.Schedule;
import espalier.gradient.Tape;
import espalier.internal.Json;
import espalier.kernel.MatMul;
import espalier.model.FreshWeights;
import espalier.model.Model;
import espalier.tensor.Context;
import espalier.tensor.DType;
import espalier.tensor.Tensor;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;

/**
 * Steps of training a Llama of 15 million parameters and one of nano's shape, beside the fp32
 * products they are made of: tokens a second, and the share of the speed that one large product of
 * the same run reaches. A program, not a test: java ... espalier.train.TrainBench [steps].
 */
public final class TrainBench {
  private static final int ROWS = 8;
  private static final int LENGTH = 256;

  private TrainBench() {}

  public static void main(String[] words) throws Exception {
    int steps = words.length > 0 ? Integer.parseInt(words[0]) : 6;
    measure("15M", 288, 768, 6, 6, 6, 32000, steps);
    measure("nano", 256, 768, 4, 4, 2, 2048, steps);
  }

  private static void measure(
      String name,
      int hidden,
      int ffn,
      int layers,
      int heads,
      int keyHeads,
      int vocabulary,
      int steps)
      throws Exception {
    ObjectNode json =
        Json.STRICT
            .createObjectNode()
            .put("model_type", "llama")
            .put("hidden_size", hidden)
            .put("intermediate_size", ffn)
            .put("num_hidden_layers", layers)
            .put("num_attention_heads", heads)
            .put("num_key_value_heads", keyHeads)
            .put("vocab_size", vocabulary)
            .put("max_position_embeddings", LENGTH)
            .put("tie_word_embeddings", true);
    json.putArray("architectures").add("LlamaForCausalLM");
    Path folder = Files.createTempDirectory("bench").resolve(name);
    try (Context context = Context.cpu(0)) {
      try (CheckpointWriter writer = CheckpointWriter.create(folder, Long.MAX_VALUE)) {
        new FreshWeights("config.json", json).write(writer, context, 0.02, 1);
        writer.text("config.json", json.toString());
        writer.finish();
      }
      double ceiling = ceiling(context);
      try (Model model = Model.open(folder, context);
          ModelParameters parameters = new ModelParameters(model, context);
          Tape tape = new Tape(context, parameters.list());
          AdamW optimizer =
              new AdamW(parameters.list(), new AdamW.Settings(0.9, 0.95, 1e-8, 0.1))) {
        Trainer trainer =
            new Trainer(
                context,
                parameters,
                new CrossEntropy(new LanguageLoss(model, tape, false)),
                optimizer,
                new ShuffledBatches(rows(vocabulary), ROWS, 1),
                new Schedule(Schedule.Curve.CONSTANT, 1e-4, 0, 0, 1000),
                new Clipping(1),
                1);
        double[] seconds = new double[steps];
        trainer.step(0);
        for (int step = 0; step < steps; step++) {
          long begun = System.nanoTime();
          trainer.step(step + 1);
          seconds[step] = (System.nanoTime() - begun) * 1e-9;
        }
        Arrays.sort(seconds);
        double median = seconds[steps / 2];
        // Six operations a weight of a product and token; the embedding is one as the head.
        double products = (double) parameters.count() * 6 * ROWS * LENGTH;
        System.out.printf(
            "%s: %,d parameters, %.0f tokens/s (median of %d steps of %.0f ms), %.0f GFLOPS in"
                + " products, %.0f%% of one large product's %.0f%n",
            name,
            parameters.count(),
            ROWS * LENGTH / median,
            steps,
            median * 1e3,
            products / median * 1e-9,
            100 * products / median / ceiling,
            ceiling * 1e-9);
      }
    }
  }

  /** Operations a second of a product [2048, 1024] · [1024, 1024]. */
  private static double ceiling(Context context) {
    try (Context.Scope scope = context.scope()) {
      Tensor x = context.allocate(DType.F32, 2048, 1024);
      Tensor w = context.allocate(DType.F32, 1024, 1024);
      Tensor y = context.allocate(DType.F32, 2048, 1024);
      double best = 0;
      for (int i = 0; i < 8; i++) {
        long begun = System.nanoTime();
        MatMul.dense(context, x, w, null, y);
        best = Math.max(best, 2.0 * 2048 * 1024 * 1024 / ((System.nanoTime() - begun) * 1e-9));
      }
      return best;
    }
  }

  private static List<Sequence> rows(int vocabulary) {
    Random random = new Random(1);
    List<Sequence> rows = new ArrayList<>();
    for (int r = 0; r < 4 * ROWS; r++) {
      rows.add(new Sequence(random.ints(LENGTH, 0, vocabulary).toArray()));
    }
    return rows;
  }
}
