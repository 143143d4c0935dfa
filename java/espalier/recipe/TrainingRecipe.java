// SPDX-License-Identifier: Apache-2.0
package espalier.recipe;

import espalier.recipe.Datum.Entry;
import espalier.recipe.Datum.Mapping;
import java.nio.file.Path;
import java.util.ArrayList;

/**
 * What a training run is to do, as {@code espalier train} reads it: one map {@code train} in a YAML
 * file, of which only {@code data}, {@code steps}, {@code rate} and one of {@code model} and {@code
 * config} must be given. Paths are relative to the file.
 *
 * <pre>
 * model: FOLDER        weights to begin with, or:
 * config: FILE         a config.json, for weights from scratch,
 * tokenizer: FOLDER      with whose tokenizer,
 * deviation: 0.02        and of which standard deviation
 * data: FILE           texts: JSONL or plain
 * held_out: FILE       texts to measure the loss on, whenever a checkpoint is written
 * packing: rows        joined and cut into rows of `length`; or documents: each alone, cut to it
 * length: 256, batch: 8 (sequences), accumulation: 1 (batches a step), steps: N, seed: 0
 * objective: cross-entropy, or distillation from `teacher: FOLDER`:
 *   divergence: forward | reverse | jensen-shannon, temperature: 1, beta: 0.5, labels: 0, hidden: 0
 * optimizer: adamw | sgd | sign-sgd; beta1: 0.9, beta2: 0.95, eps: 1.0e-8, decay: 0.1, momentum: 0
 * rate: X, curve: cosine | linear | constant, floor: 0, warmup: 0 (steps), clip: 1 (0: none)
 * checkpoint: 100      steps between states from which an interrupted run goes on
 * recompute: false     keep one block's results only, for a third more arithmetic
 * dtype: F32 | BF16 | F16   of the weights that are written; default: as `model` has them, or F32
 * </pre>
 */
public record TrainingRecipe(
    Path model,
    Path config,
    Path tokenizer,
    double deviation,
    Path data,
    Path heldOut,
    String packing,
    int length,
    int batch,
    int accumulation,
    int steps,
    int seed,
    Loss loss,
    Update update,
    int checkpoint,
    boolean recompute,
    String dtype) {
  /**
   * What is made small.
   *
   * @param teacher null for cross-entropy
   */
  public record Loss(
      Path teacher,
      String divergence,
      double temperature,
      double beta,
      double labels,
      double hidden) {}

  /** How parameters follow their gradient. */
  public record Update(
      String optimizer,
      double beta1,
      double beta2,
      double eps,
      double decay,
      double momentum,
      double rate,
      String curve,
      double floor,
      int warmup,
      double clip) {}

  private static final String KEY = "train";

  /**
   * Reads a file.
   *
   * @throws espalier.report.EspalierException (USAGE) naming file, line and field; (INPUT) when it
   *     cannot be read
   */
  public static TrainingRecipe read(Path file) {
    Mapping root = RecipeFile.read(file).root();
    String source = file.toString();
    for (Entry entry : root.entries().values()) {
      if (!entry.key().equals(KEY)) {
        throw RecipeError.at(
            source, entry.keyLine(), entry.key(), "unknown; a training recipe is one map: train");
      }
    }
    Entry entry = root.entries().get(KEY);
    if (entry == null || !(entry.value() instanceof Mapping map)) {
      throw RecipeError.at(source, 1, KEY, "a map is wanted");
    }
    Options options = new Options(source, KEY, "", KEY, entry.keyLine(), map, new ArrayList<>());
    return new Reader(options, file.toAbsolutePath().getParent()).read();
  }

  /**
   * Returns the options that the result depends on, in words; what files hold is not among them.
   */
  public String numbers() {
    return String.join(
        "; ",
        "deviation " + deviation,
        packing + " of " + length,
        batch + " times " + accumulation,
        steps + " steps",
        "seed " + seed,
        "divergence " + loss.divergence(),
        String.format("%s %s %s %s", loss.temperature(), loss.beta(), loss.labels(), loss.hidden()),
        update.toString());
  }

  private record Reader(Options options, Path folder) {
    TrainingRecipe read() {
      options.require("data");
      options.require("steps");
      options.require("rate");
      Path model = path("model");
      Path config = path("config");
      if ((model == null) == (config == null)) {
        throw options.error("give either model, the weights to begin with, or config");
      }
      Path tokenizer = path("tokenizer");
      if (config != null && tokenizer == null) {
        throw options.missing("tokenizer", "config", "must be given with config");
      }
      TrainingRecipe recipe =
          new TrainingRecipe(
              model,
              config,
              tokenizer,
              atLeast("deviation", 0.02, 0),
              path("data"),
              path("held_out"),
              options.word("packing", "rows", false, "rows", "documents"),
              count("length", 256, 2),
              count("batch", 8, 1),
              count("accumulation", 1, 1),
              count("steps", 1, 1),
              options.integer("seed", 0),
              loss(),
              update(),
              count("checkpoint", 100, 1),
              options.flag("recompute", false),
              options.word("dtype", null, true, "F32", "BF16", "F16"));
      options.finish();
      if (recipe.update().warmup() > recipe.steps()) {
        throw options.error("warmup", "longer than the run of " + recipe.steps() + " steps");
      }
      return recipe;
    }

    private Loss loss() {
      String objective =
          options.word("objective", "cross-entropy", false, "cross-entropy", "distillation");
      Path teacher = path("teacher");
      boolean distils = objective.equals("distillation");
      if (distils && teacher == null) {
        throw options.missing("teacher", "objective", "must be given with distillation");
      }
      if (!distils && teacher != null) {
        throw options.error("teacher", "only distillation has one");
      }
      Loss loss =
          new Loss(
              teacher,
              options.word("divergence", "forward", false, "forward", "reverse", "jensen-shannon"),
              atLeast("temperature", 1, 0.01),
              options.number("beta", 0.5),
              options.number("labels", 0),
              atLeast("hidden", 0, 0));
      if (!(loss.beta() > 0 && loss.beta() < 1)) {
        throw options.error("beta", "must lie between 0 and 1");
      }
      if (loss.labels() < 0 || loss.labels() > 1) {
        throw options.error("labels", "must lie in [0, 1]");
      }
      return loss;
    }

    private Update update() {
      Update update =
          new Update(
              options.word("optimizer", "adamw", false, "adamw", "sgd", "sign-sgd"),
              share("beta1", 0.9),
              share("beta2", 0.95),
              atLeast("eps", 1e-8, 0),
              atLeast("decay", 0.1, 0),
              share("momentum", 0),
              options.number("rate", 1),
              options.word("curve", "cosine", false, "cosine", "linear", "constant"),
              atLeast("floor", 0, 0),
              count("warmup", 0, 0),
              atLeast("clip", 1, 0));
      if (!(update.rate() > 0)) {
        throw options.error("rate", "must be positive");
      }
      if (update.floor() > update.rate()) {
        throw options.error("floor", "must not be above the rate");
      }
      return update;
    }

    private Path path(String field) {
      String text = options.text(field, null);
      return text == null ? null : folder.resolve(text);
    }

    private int count(String field, int standard, int least) {
      int value = options.integer(field, standard);
      if (value < least) {
        throw options.error(field, "at least " + least + " is wanted");
      }
      return value;
    }

    private double atLeast(String field, double standard, double least) {
      double value = options.number(field, standard);
      if (value < least) {
        throw options.error(field, "at least " + least + " is wanted");
      }
      return value;
    }

    private double share(String field, double standard) {
      double value = atLeast(field, standard, 0);
      if (value >= 1) {
        throw options.error(field, "must be below 1");
      }
      return value;
    }
  }
}
