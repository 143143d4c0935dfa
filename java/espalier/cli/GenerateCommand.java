// SPDX-License-Identifier: Apache-2.0
package espalier.cli;

import com.fasterxml.jackson.databind.node.ObjectNode;
import espalier.Espalier;
import espalier.model.Model;
import espalier.report.EspalierException;
import espalier.runtime.Generation;
import espalier.runtime.Generator;
import espalier.runtime.Sampling;
import espalier.tensor.Precision;
import espalier.text.TextStream;
import espalier.text.Tokenizer;
import java.io.PrintStream;
import java.nio.file.Path;
import java.util.Locale;
import java.util.concurrent.Callable;
import java.util.function.IntConsumer;
import java.util.stream.Stream;
import picocli.CommandLine.ArgGroup;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

/** Continues a text and writes the continuation as it comes. */
@Command(
    name = "generate",
    header = "Continues a text.",
    description = {
      "",
      "  espalier generate MODEL --prompt \"Once upon a time\"",
      "  espalier generate MODEL --prompt \"Once upon a time\" --greedy --tokens 64",
      "  espalier generate MODEL --prompt \"One day\" --temperature 0.8 --top-p 0.95 --seed 7",
      ""
    })
final class GenerateCommand implements Callable<Integer> {
  @Spec private CommandSpec command;

  @Mixin private CommonOptions common;

  @Parameters(paramLabel = "MODEL", description = "Model folder, dense or compressed.")
  private Path folder;

  @ArgGroup(multiplicity = "1")
  private Prompt prompt;

  /** What is continued. */
  private static final class Prompt {
    @Option(names = "--prompt", paramLabel = "TEXT", description = "The text to continue.")
    private String text;

    @Option(
        names = "--ids",
        paramLabel = "ID,ID...",
        split = ",",
        description = "The token ids to continue, taken as they are.")
    private int[] ids;
  }

  @Option(
      names = "--tokens",
      paramLabel = "N",
      defaultValue = "128",
      description = "The most tokens to generate; a stop token ends the text earlier.")
  private int tokens;

  @Option(names = "--greedy", description = "Always take the most likely token.")
  private boolean greedy;

  @Option(
      names = "--temperature",
      paramLabel = "T",
      defaultValue = "1.0",
      description = "Below 1 sharpens the choice, above 1 flattens it.")
  private double temperature;

  @Option(
      names = "--top-k",
      paramLabel = "K",
      defaultValue = "0",
      description = "Choose among the K most likely tokens; 0 for all.")
  private int topK;

  @Option(
      names = "--top-p",
      paramLabel = "P",
      defaultValue = "1.0",
      description = "Choose among the most likely tokens that together have probability P.")
  private double topP;

  @Option(
      names = "--repetition-penalty",
      paramLabel = "R",
      defaultValue = "1.0",
      description = "Above 1 makes tokens already in the text less likely.")
  private double repetitionPenalty;

  @Option(
      names = "--seed",
      paramLabel = "N",
      defaultValue = "0",
      description = "The same seed gives the same text.")
  private long seed;

  @Override
  public Integer call() {
    Sampling sampling = new Sampling(greedy, temperature, topK, topP, repetitionPenalty, seed);
    if (tokens < 1) {
      throw EspalierException.usage(
          "--tokens is " + tokens + ", expected 1 or more", "Leave it out for 128.");
    }
    warnOfIdleOptions();
    long begun = System.nanoTime();
    try (Espalier opened = Espalier.open(folder, common.threads())) {
      Model model = opened.model();
      common.warn(model.events());
      opened.context().setPrecision(Precision.BF16);
      int[] ids = ids(opened.tokenizer());
      Text text = new Text(opened.tokenizer(), ids, common.json() ? null : common.console().out());
      Generation generation =
          new Generator(model, opened.ops())
              .generate(ids, tokens, sampling, text, common.console()::isCancelled);
      text.finish();
      common.warn(generation.events());
      double seconds = (System.nanoTime() - begun) * 1e-9;
      if (common.json()) {
        common.print(json(generation, text.toString(), opened, seconds));
      } else if (generation.finish() == Generation.Finish.CONTEXT && !common.quiet()) {
        common
            .console()
            .err()
            .println("note: the model's context of " + model.contextLength() + " tokens is full");
      }
      return generation.finish() == Generation.Finish.CANCELLED
          ? EspalierException.Kind.INTERRUPTED.exitCode()
          : 0;
    }
  }

  private void warnOfIdleOptions() {
    if (!greedy || common.quiet()) {
      return;
    }
    Stream.of("--temperature", "--top-k", "--top-p", "--seed")
        .filter(command.commandLine().getParseResult()::hasMatchedOption)
        .forEach(
            name ->
                common.console().err().println("note: " + name + " does nothing with --greedy"));
  }

  private int[] ids(Tokenizer tokenizer) {
    if (prompt.ids != null) {
      return prompt.ids;
    }
    if (tokenizer == null) {
      throw EspalierException.input(
          folder + " has no tokenizer", "Give the prompt as token ids: --ids 0,1,2.");
    }
    return tokenizer.encode(prompt.text);
  }

  private ObjectNode json(Generation generation, String text, Espalier opened, double seconds) {
    ObjectNode object =
        CommonOptions.result().put("command", "generate").put("model", folder.toString());
    if (prompt.text != null) {
      object.put("prompt", prompt.text);
    }
    generation.promptIds().forEach(object.putArray("prompt_ids")::add);
    generation.ids().forEach(object.putArray("ids")::add);
    if (opened.tokenizer() != null) {
      object.put("text", text);
    }
    object
        .put("finish", generation.finish().name().toLowerCase(Locale.ROOT))
        .put("seed", seed)
        .put("precision", opened.context().precision().toString())
        .put("seconds", Math.round(seconds * 1000) / 1000.0)
        .put("version", Version.number())
        .set("events", CommonOptions.events(opened.model().events()));
    return object;
  }

  /** The continuation as text, or as ids where there is no tokenizer; written as it grows. */
  private static final class Text implements IntConsumer {
    private final TextStream stream;
    private final PrintStream out;
    private final StringBuilder written = new StringBuilder();

    /** Starts after the ids of the prompt; {@code out} null only collects. */
    Text(Tokenizer tokenizer, int[] promptIds, PrintStream out) {
      this.out = out;
      this.stream = tokenizer == null ? null : new TextStream(tokenizer, true);
      if (stream != null) {
        stream.begin(promptIds);
      }
    }

    @Override
    public void accept(int id) {
      write(stream == null ? (written.isEmpty() ? "" : " ") + id : stream.append(id));
    }

    void finish() {
      write(stream == null ? "" : stream.finish());
      if (out != null) {
        out.println();
      }
    }

    private void write(String piece) {
      written.append(piece);
      if (out != null && !piece.isEmpty()) {
        out.print(piece);
        out.flush();
      }
    }

    @Override
    public String toString() {
      return written.toString();
    }
  }
}
