// SPDX-License-Identifier: Apache-2.0
package espalier.train;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import espalier.kernel.Eager;
import espalier.model.Model;
import espalier.model.Past;
import espalier.model.TinyModels;
import espalier.recipe.TrainingRecipe;
import espalier.report.EspalierException;
import espalier.report.Listener;
import espalier.tensor.Context;
import espalier.tensor.DType;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Recipes from a file to a model folder: from scratch, on from weights, interrupted, refused. */
class TrainingRunTest {
  @TempDir Path folder;

  private Path write(String name, String text) throws IOException {
    return Files.writeString(folder.resolve(name), text);
  }

  /** Texts in which every second token is 3. */
  private void texts(String name, int seed) throws IOException {
    Random random = new Random(seed);
    StringBuilder lines = new StringBuilder();
    for (int text = 0; text < 12; text++) {
      List<String> ids =
          random
              .ints(30, 0, 24)
              .mapToObj(id -> random.nextBoolean() ? "3" : "" + id)
              .collect(Collectors.toList());
      lines.append("{\"input_ids\": [").append(String.join(",", ids)).append("]}\n");
    }
    write(name, lines.toString());
  }

  private TrainingRecipe recipe(String start, String... more) throws IOException {
    texts("texts.jsonl", 1);
    texts("held.jsonl", 2);
    String text =
        "train:\n"
            + start
            + "  data: texts.jsonl\n  held_out: held.jsonl\n  batch: 3\n"
            + (more[0].startsWith("length") ? "" : "  length: 20\n")
            + "  rate: 0.01\n  warmup: 2\n"
            + Stream.of(more).map(line -> "  " + line + "\n").collect(Collectors.joining());
    return TrainingRecipe.read(write("recipe.yaml", text));
  }

  /** A recipe that begins from the config of a tiny model. */
  private TrainingRecipe scratch(String... more) throws IOException {
    Path model = TinyModels.llama().fill().write(Files.createTempDirectory(folder, "config"));
    String config = folder.relativize(model.resolve("config.json")).toString();
    return recipe("  config: " + config + "\n  tokenizer: .\n", more);
  }

  private TrainingRun.Result run(TrainingRecipe recipe, String out, int threads) {
    try (Context context = Context.cpu(threads)) {
      return new TrainingRun(recipe, folder.resolve(out), false, Listener.NONE).run(context);
    }
  }

  private Map<String, String> content(String out) throws IOException {
    Map<String, String> content = new TreeMap<>();
    try (Stream<Path> files = Files.list(folder.resolve(out))) {
      for (Path file : files.toList()) {
        content.put(file.getFileName().toString(), HexFormat.of().formatHex(bytes(file)));
      }
    }
    return content;
  }

  private static byte[] bytes(Path file) throws IOException {
    return Files.readAllBytes(file);
  }

  @Test
  void fromScratchToAModelThatOpensAndPredicts() throws IOException {
    TrainingRun.Result result = run(scratch("steps: 30", "dtype: bf16"), "out", 2);
    assertEquals(30, result.losses().size());
    // Fresh weights know nothing: log 24 = 3.18.
    assertEquals(Math.log(24), result.losses().get(0), 0.02);
    assertTrue(result.heldOut()[1] < result.heldOut()[0] - 0.3, result.heldOut()[1] + "");
    assertFalse(Files.exists(folder.resolve("out.partial")));
    try (Context context = Context.cpu(1);
        Model model = Model.open(folder.resolve("out"), context)) {
      assertEquals(DType.BF16, model.embedding().dtype());
      assertEquals(
          "bfloat16", model.checkpoint().json("config.json").get().get("torch_dtype").asText());
      float[] logits =
          model.forward(new Eager(context), context.ints(new int[] {5}, 1), Past.NONE).toFloats();
      for (int id = 0; id < 24; id++) {
        assertTrue(logits[id] <= logits[3], "3 is the likeliest");
      }
    }
  }

  @Test
  void aRunInterruptedAtAnyMomentEndsWithTheSameBits() throws IOException {
    for (String optimizer : List.of("adamw", "sgd")) {
      TrainingRecipe recipe =
          scratch("steps: 13", "checkpoint: 4", "optimizer: " + optimizer, "momentum: 0.5");
      TrainingRun.Result whole = run(recipe, "whole-" + optimizer, 1);
      String out = "parts-" + optimizer;
      long[] steps = {0};
      for (int stop : new int[] {3, 5, 2, 4}) {
        steps[0] = 0;
        Listener listener =
            new Listener() {
              @Override
              public void progress(String stage, long done, long total, String detail) {
                steps[0]++;
              }

              @Override
              public boolean cancelled() {
                return steps[0] >= stop;
              }
            };
        try (Context context = Context.cpu(3)) {
          TrainingRun part = new TrainingRun(recipe, folder.resolve(out), false, listener);
          EspalierException e = assertThrows(EspalierException.class, () -> part.run(context));
          assertEquals(EspalierException.Kind.INTERRUPTED, e.kind());
        }
        assertFalse(Files.exists(folder.resolve(out)));
      }
      // What is left when a run is killed while it removes a state that was replaced.
      Files.createDirectory(folder.resolve(out + ".partial/state-1"));
      TrainingRun.Result last = run(recipe, out, 2);
      assertEquals(8, last.resumed());
      assertEquals(whole.losses(), last.losses());
      assertEquals(content("whole-" + optimizer), content(out));
    }
  }

  @Test
  void onFromWeightsAndTowardsATeacher() throws IOException {
    Path student = TinyModels.llama().fill().write(folder.resolve("student"));
    TinyModels other = TinyModels.llama().fill();
    other.tensors().put("lm_head.weight", other.random(24, 16));
    other.write(folder.resolve("teacher"));
    String start = "  model: " + student.getFileName() + "\n";
    TrainingRun.Result result =
        run(
            recipe(
                start,
                "steps: 25",
                "packing: documents",
                "objective: distillation",
                "teacher: teacher",
                "labels: 0.2",
                "hidden: 0.1",
                "recompute: true",
                "accumulation: 2"),
            "out",
            2);
    assertTrue(result.losses().get(24) < result.losses().get(0), result.losses().toString());
    try (Context context = Context.cpu(1);
        Model model = Model.open(folder.resolve("out"), context)) {
      assertEquals(DType.F32, model.embedding().dtype());
      assertEquals(List.of(), model.unknownTensors());
    }
  }

  @Test
  void aStateOfAnotherRunIsRefusedAndRestartTakesItsPlace() throws IOException {
    Listener stop =
        new Listener() {
          private long steps;

          @Override
          public void progress(String stage, long done, long total, String detail) {
            steps = done;
          }

          @Override
          public boolean cancelled() {
            return steps >= 5;
          }
        };
    TrainingRecipe first = scratch("steps: 9", "checkpoint: 2");
    Path out = folder.resolve("out");
    try (Context context = Context.cpu(1)) {
      assertThrows(
          EspalierException.class, () -> new TrainingRun(first, out, false, stop).run(context));
      TrainingRecipe second = scratch("steps: 9", "checkpoint: 2", "decay: 0.2");
      EspalierException e =
          assertThrows(
              EspalierException.class,
              () -> new TrainingRun(second, out, false, Listener.NONE).run(context));
      assertTrue(e.getMessage().contains("another recipe"), e.getMessage());
      TrainingRun.Result result = new TrainingRun(second, out, true, Listener.NONE).run(context);
      assertEquals(0, result.resumed());
    }
  }

  @Test
  void badRequestsNameWhatIsWrongAndLeaveNothing() throws IOException {
    refused(scratch("length: 65", "steps: 3"), "65");
    texts("texts.jsonl", 1);
    TrainingRecipe empty = scratch("steps: 3");
    write("texts.jsonl", "{\"input_ids\": [1, 2]}\n");
    refused(empty, "20 tokens");
    write("texts.jsonl", "{\"input_ids\": [1, 99]}\n");
    refused(empty, "99");
    wrong("train.stepz", "steps: 3", "stepz: 4");
    wrong("did you mean", "steps: 3", "curve: cosin");
    wrong("train.warmup", "steps: 1");
    wrong("train.teacher", "steps: 3", "objective: distillation");
    wrong("train.labels", "steps: 3", "labels: 2");
    wrong("train.steps", "accumulation: 1");
  }

  private void refused(TrainingRecipe recipe, String part) {
    EspalierException e = assertThrows(EspalierException.class, () -> run(recipe, "refused", 1));
    assertTrue(e.getMessage().contains(part), e.getMessage());
    assertFalse(Files.exists(folder.resolve("refused")));
    assertFalse(Files.exists(folder.resolve("refused.partial")));
  }

  private void wrong(String part, String... lines) {
    EspalierException e = assertThrows(EspalierException.class, () -> scratch(lines));
    assertTrue(e.getMessage().contains(part), e.getMessage());
  }
}
