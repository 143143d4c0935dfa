// SPDX-License-Identifier: Apache-2.0
package espalier.cli;

import com.fasterxml.jackson.databind.node.ObjectNode;
import espalier.recipe.TrainingRecipe;
import espalier.tensor.Context;
import espalier.train.TrainingRun;
import java.io.PrintStream;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** {@code espalier train}: texts and a recipe in, a trained checkpoint out. */
@Command(
    name = "train",
    header = "Trains a model from scratch, on from its weights, or towards a teacher.",
    description = {
      "",
      "  espalier train recipe.yaml -o OUT",
      "",
      "A recipe is one YAML map, train, with model (or config and tokenizer), data, steps and rate;",
      "the same command goes on after an interruption and ends with the same bits.",
      ""
    })
final class TrainCommand implements Callable<Integer> {
  @Mixin private CommonOptions common;

  @Parameters(paramLabel = "RECIPE", description = "Training recipe, a YAML file.")
  private Path recipe;

  @Option(
      names = {"-o", "--output"},
      paramLabel = "OUT",
      required = true,
      description = "Folder to write; must not exist.")
  private Path output;

  @Option(
      names = "--restart",
      description = "Begin anew instead of going on with an interrupted run (OUT.partial).")
  private boolean restart;

  @Override
  public Integer call() {
    TrainingRecipe read = TrainingRecipe.read(recipe);
    TrainingRun.Result result;
    try (Context context = Context.cpu(common.threads());
        Progress progress = common.progress()) {
      result = new TrainingRun(read, output, restart, common.listener(progress)).run(context);
    }
    if (common.json()) {
      common.print(json(result));
    } else {
      print(common.console().out(), result);
    }
    return 0;
  }

  private static ObjectNode json(TrainingRun.Result result) {
    ObjectNode json = CommonOptions.result();
    json.put("output", result.output().toString());
    json.put("parameters", result.parameters());
    json.put("resumed_from_step", result.resumed());
    result.losses().forEach(json.putArray("losses")::add);
    if (!Double.isNaN(result.heldOut()[0])) {
      json.put("held_out_before", result.heldOut()[0]);
      json.put("held_out_after", result.heldOut()[1]);
    }
    return json;
  }

  private static void print(PrintStream out, TrainingRun.Result result) {
    List<Double> losses = result.losses();
    out.printf(
        Locale.ROOT,
        "%,d parameters, %d steps: loss %.4f to %.4f%n",
        result.parameters(),
        losses.size(),
        losses.get(0),
        losses.get(losses.size() - 1));
    if (!Double.isNaN(result.heldOut()[0])) {
      out.printf(
          Locale.ROOT,
          "held-out loss %.4f before, %.4f after%n",
          result.heldOut()[0],
          result.heldOut()[1]);
    }
    out.println(result.output());
  }
}
