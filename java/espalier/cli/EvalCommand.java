// SPDX-License-Identifier: Apache-2.0
package espalier.cli;

import com.fasterxml.jackson.databind.node.ObjectNode;
import espalier.Espalier;
import espalier.model.Model;
import espalier.report.EspalierException;
import espalier.report.Event;
import espalier.report.Listener;
import espalier.runtime.Divergence;
import espalier.runtime.Passages;
import espalier.runtime.Perplexity;
import espalier.runtime.Protocol;
import java.io.PrintStream;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/**
 * Measures how well a model predicts a text, how far it is from its dense original, and what it
 * knows.
 */
@Command(
    name = "eval",
    header = "Measures perplexity, divergence from a dense model, or answers to multiple choice.",
    description = {
      "",
      "  espalier eval MODEL --data eval.jsonl",
      "  espalier eval out/q4 --data eval.jsonl --against MODEL --json",
      "  espalier eval MODEL --data wiki.txt --protocol stream --window 512 --limit 40",
      "  espalier eval MODEL --tasks arc_easy,piqa,blimp --data-dir data",
      ""
    })
final class EvalCommand implements Callable<Integer> {
  @Mixin private CommonOptions common;

  @Parameters(paramLabel = "MODEL", description = "Model folder, dense or compressed.")
  private Path folder;

  @Option(
      names = "--data",
      paramLabel = "FILE",
      description = "JSONL with text, messages or input_ids, or plain text.")
  private Path data;

  @Option(
      names = "--tasks",
      paramLabel = "NAMES",
      split = ",",
      description =
          "Tasks with known answers, by likelihood: arc_challenge, arc_easy, blimp, hellaswag,"
              + " lambada, piqa, winogrande, or paths of .jsonl files of the same shapes.")
  private List<String> tasks = List.of();

  @Option(
      names = "--data-dir",
      paramLabel = "FOLDER",
      description = "Folder of the named tasks' files: arc_easy.jsonl, arc_easy_200.jsonl, ...")
  private Path taskFolder;

  @Option(
      names = "--protocol",
      paramLabel = "NAME",
      description =
          "docs (default): each document alone; stream: consecutive windows; llama.cpp: as that"
              + " tool.")
  private String protocol;

  @Option(
      names = "--window",
      paramLabel = "N",
      defaultValue = "0",
      showDefaultValue = picocli.CommandLine.Help.Visibility.NEVER,
      description = "Tokens of a window (default: 512; for docs, the model's context).")
  private int window;

  @Option(
      names = "--against",
      paramLabel = "DENSE",
      description = "Folder of the dense model: adds KL divergence and top-1 agreement.")
  private Path dense;

  @Option(
      names = "--limit",
      paramLabel = "N",
      defaultValue = "0",
      showDefaultValue = picocli.CommandLine.Help.Visibility.NEVER,
      description =
          "Take only the first N documents, windows or questions, of BLiMP of each phenomenon"
              + " (default: all).")
  private int limit;

  @Override
  public Integer call() {
    requireOneKind();
    if (!tasks.isEmpty()) {
      new TaskEvaluation(common, folder).run(tasks, taskFolder, limit);
      return 0;
    }
    long begun = System.nanoTime();
    String rule = protocol == null ? Protocol.DOCS.label() : protocol;
    Passages.Choice choice = new Passages.Choice(Protocol.named(rule), window, limit);
    try (Espalier opened = Espalier.open(folder, common.threads())) {
      Model model = opened.model();
      List<Event> events = new ArrayList<>(model.events());
      common.warn(events);
      Passages passages = opened.passages(data, choice);
      common.warn(passages.events());
      events.addAll(passages.events());
      Divergence.Result divergence = null;
      Perplexity.Result result;
      if (dense == null) {
        try (Progress progress = common.progress()) {
          result = opened.perplexity(passages, common.listener(progress));
        }
      } else {
        divergence = compare(opened, passages, events);
        result = divergence.compressed();
      }
      double seconds = (System.nanoTime() - begun) * 1e-9;
      if (common.json()) {
        common.print(json(result, divergence, events, seconds));
      } else {
        table(common.console().out(), result, divergence);
      }
      return 0;
    }
  }

  /** Refuses a text beside tasks, neither of them, and an option that belongs to the other. */
  private void requireOneKind() {
    if ((data == null) == tasks.isEmpty()) {
      throw EspalierException.usage(
          data == null ? "neither --data nor --tasks is given" : "--data and --tasks are given",
          "Give a text with --data, or names of tasks with --tasks.");
    }
    boolean ofTexts = protocol != null || window != 0 || dense != null;
    if (!tasks.isEmpty() && ofTexts || tasks.isEmpty() && taskFolder != null) {
      throw EspalierException.usage(
          tasks.isEmpty()
              ? "--data-dir is given without --tasks"
              : "--protocol, --window and --against do not go with --tasks",
          "Leave it out.");
    }
  }

  private Divergence.Result compare(Espalier opened, Passages passages, List<Event> events) {
    try (Progress progress = common.progress()) {
      Listener shown = common.listener(progress);
      Listener heard =
          new Listener() {
            @Override
            public void progress(String stage, long done, long total, String detail) {
              shown.progress(stage, done, total, detail);
            }

            @Override
            public void event(Event event) {
              shown.event(event);
              events.add(event);
            }

            @Override
            public boolean cancelled() {
              return shown.cancelled();
            }
          };
      return opened.divergence(dense, passages, heard);
    }
  }

  private ObjectNode json(
      Perplexity.Result result, Divergence.Result divergence, List<Event> events, double seconds) {
    ObjectNode object =
        CommonOptions.result()
            .put("command", "eval")
            .put("model", folder.toString())
            .put("data", data.toString())
            .put("protocol", result.protocol().label())
            .put("window", result.window())
            .put("passages", result.passages())
            .put("tokens", result.tokens())
            .put("predictions", result.predictions())
            .put("perplexity", result.perplexity())
            .put("nats_per_token", result.natsPerToken());
    if (divergence != null) {
      object
          .put("kl", divergence.kl())
          .put("top1", divergence.topOne())
          .put("against", dense.toString())
          .put("against_perplexity", divergence.dense().perplexity());
    }
    object
        .put("token_sha256", result.tokenStreamSha256())
        .put("precision", "fp32")
        .put("seconds", Math.round(seconds * 1000) / 1000.0)
        .put("version", Version.number())
        .set("events", CommonOptions.events(events));
    return object;
  }

  private void table(PrintStream out, Perplexity.Result result, Divergence.Result divergence) {
    row(out, "perplexity", "%.6f", result.perplexity());
    row(out, "nats a token", "%.6f", result.natsPerToken());
    if (divergence != null) {
      row(out, "against", "%s", dense);
      row(out, "  its perplexity", "%.6f", divergence.dense().perplexity());
      row(out, "  KL divergence", "%.6f", divergence.kl());
      row(out, "  top-1 agreement", "%.4f", divergence.topOne());
    }
    row(out, "protocol", "%s, window %d", result.protocol(), result.window());
    row(out, "predictions", "%d of %d tokens", result.predictions(), result.tokens());
    row(out, "tokens' SHA-256", "%s", result.tokenStreamSha256());
  }

  private static void row(PrintStream out, String name, String format, Object... values) {
    out.println(String.format("%-18s", name) + String.format(Locale.ROOT, format, values));
  }
}
