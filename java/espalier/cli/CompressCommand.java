// SPDX-License-Identifier: Apache-2.0
package espalier.cli;

import com.fasterxml.jackson.databind.node.ObjectNode;
import espalier.CompressionJob;
import espalier.Espalier;
import espalier.compress.DryRun;
import espalier.compress.MachineCache;
import espalier.compress.OutputFormat;
import espalier.compress.Resident;
import espalier.internal.Json;
import espalier.report.EspalierException;
import espalier.report.Event;
import espalier.report.Report;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** {@code espalier compress}: a dense checkpoint in, a compressed one out. */
@Command(
    name = "compress",
    description = "Compress a checkpoint by a recipe, a scheme or a sparsity.",
    footer = {
      "",
      "Examples:",
      "  espalier compress MODEL --scheme W4A16 --data texts.jsonl -o OUT",
      "  espalier compress MODEL --scheme W8A16 --method rtn -o OUT",
      "  espalier compress MODEL --recipe recipe.yaml --data texts.jsonl -o OUT",
      "  espalier compress MODEL --sparsity 2:4 --data texts.jsonl -o OUT",
      "  espalier compress MODEL --sparsity 0.5 --scheme W4A16 --data texts.jsonl -o OUT",
      "  espalier compress MODEL --scheme W4A16 --memory-budget 6GB --dry-run",
      "  espalier compress MODEL --scheme W4A16 --data texts.jsonl --format compressed-tensors,gptq -o OUT",
      "  espalier compress PRUNED --format sparse -o OUT"
    })
final class CompressCommand implements Callable<Integer> {
  private static final String PAGE = "espalier-report.html";

  @Parameters(paramLabel = "MODEL", description = "Folder of a dense checkpoint.")
  private Path model;

  @Option(
      names = "--recipe",
      paramLabel = "FILE|NAME",
      description =
          "Recipe in llm-compressor's grammar, or a ready one by name: w4a16-gptq, w4a16-g64-gptq,"
              + " w4a16-asym-gptq, w4a16-rtn, w4-w8-mixed-gptq, w3a16-gptq, w8a16-gptq, w8a8-gptq,"
              + " w8a8-rtn, sparsegpt-50, sparsegpt-2of4, sparsegpt-owl-70, wanda-50, wanda-2of4,"
              + " magnitude-50, w4a16-2of4, w4a16-50, w8a16-2of4, w4a16-2of4-rtn.")
  private String recipe;

  @Option(
      names = "--print-recipe",
      description = "Print the recipe in full (what a scheme or a name stands for) and stop.")
  private boolean printRecipe;

  @Option(
      names = "--scheme",
      paramLabel = "NAME",
      description = "Preset instead of a recipe: W4A16, W8A16, W4A16_ASYM, ...")
  private String scheme;

  @Option(
      names = "--method",
      paramLabel = "NAME",
      description = "How a scheme is reached: gptq (default; needs --data) or rtn.")
  private String method;

  @Option(
      names = "--group-size",
      paramLabel = "N",
      description = "Columns that share a scale; 0 for one scale a row. Default: the scheme's.")
  private Integer groupSize;

  @Option(
      names = "--sparsity",
      paramLabel = "SHARE|N:M",
      description =
          "Prune: this share of all weights, such as 0.5, or N zeros in every M columns, such as 2:4."
              + " With --scheme what stays is quantized, in one solve where the method can.")
  private String sparsity;

  @Option(
      names = "--prune-method",
      paramLabel = "NAME",
      description =
          "How to prune: sparsegpt (default; needs --data), wanda (needs --data) or magnitude.")
  private String pruneMethod;

  @Option(
      names = "--follow-dense",
      negatable = true,
      description = {
        "Solve every linear for what the dense model's gave, so that it makes up for those before",
        "it: better at every width, for a second pass of the texts and more memory.",
        "Default: with --sparsity, where sparsegpt or gptq solves."
      })
  private Boolean followDense;

  @Option(
      names = "--data",
      paramLabel = "FILE",
      description = "Calibration texts: JSONL with text, messages or input_ids, or plain text.")
  private Path data;

  @Option(
      names = "--samples",
      paramLabel = "N",
      defaultValue = "" + CompressionJob.DEFAULT_SAMPLES,
      description = "Texts taken from the start of the data.")
  private int samples;

  @Option(
      names = "--max-length",
      paramLabel = "N",
      defaultValue = "" + CompressionJob.DEFAULT_MAX_LENGTH,
      description = "Tokens taken of a text; never more than the model's context.")
  private int maxLength;

  @Option(
      names = "--eval",
      paramLabel = "FILE",
      description =
          "Texts to measure quality on before and after (perplexity, KL divergence, top-1), for the"
              + " report.")
  private Path evaluation;

  @Option(
      names = "--eval-limit",
      paramLabel = "N",
      defaultValue = "0",
      showDefaultValue = picocli.CommandLine.Help.Visibility.NEVER,
      description = "Take only the first N documents of --eval (default: all).")
  private int evaluationLimit;

  @Option(
      names = "--format",
      paramLabel = "NAMES",
      description = {
        "compressed-tensors, gptq, gptq_v2, dense: values in plain tensors, zeros in place;",
        "or sparse: our compact form without the zeros, which alone needs no recipe (default:",
        "the recipe's espalier.formats, else compressed-tensors).",
        "Several with commas between them come from one solve and lie in OUT/NAME."
      })
  private String format;

  @Option(
      names = "--shard-size",
      paramLabel = "BYTES",
      defaultValue = "" + CompressionJob.DEFAULT_SHARD_BYTES,
      description = "Largest weight file.")
  private long shardBytes;

  @Option(
      names = {"-o", "--output"},
      paramLabel = "OUT",
      description = "Folder to write; must not exist. Needed unless --dry-run is given.")
  private Path output;

  @Option(
      names = "--dry-run",
      description =
          "Tell what would happen and what it costs (memory, disk, bytes, time); change nothing.")
  private boolean dryRun;

  @Option(
      names = "--memory-budget",
      paramLabel = "SIZE",
      description =
          "The most memory to take, such as 6GB or 5.5GiB; mapped files and Java itself count.")
  private String memoryBudget;

  @Option(
      names = "--restart",
      description = "Begin anew instead of going on with an interrupted run (OUT.partial).")
  private boolean restart;

  @Mixin private CommonOptions common;

  @Override
  public Integer call() {
    if (evaluation == null && evaluationLimit != 0) {
      throw EspalierException.usage("--eval-limit is given without --eval", "Leave it out.");
    }
    CompressionJob job =
        Espalier.compress(model)
            .scheme(scheme)
            .method(method)
            .sparsity(sparsity)
            .pruneMethod(pruneMethod)
            .data(data)
            .samples(samples)
            .maxLength(maxLength)
            .shardBytes(shardBytes)
            .output(output)
            .restart(restart)
            .evaluate(evaluation, evaluationLimit)
            .threads(common.threads())
            .strict(common.strict());
    if (followDense != null) {
      job.followDense(followDense);
    }
    if (format != null) {
      job.format(OutputFormat.list(format).toArray(OutputFormat[]::new));
    }
    if (groupSize != null) {
      job.groupSize(groupSize);
    }
    if (recipe != null && namesFile(recipe)) {
      job.recipe(Path.of(recipe));
    } else {
      job.readyRecipe(recipe);
    }
    if (printRecipe) {
      printRecipe(job.recipeText());
      return 0;
    }
    if (memoryBudget != null) {
      job.memoryBudget(ByteSize.parse("--memory-budget", memoryBudget));
    }
    if (dryRun) {
      return tell(job.machines(MachineCache.ofUser(common.console().environment())).dryRun());
    }
    Report report;
    try (Progress progress = common.progress()) {
      report = job.listener(common.listener(progress)).run();
    }
    if (common.json()) {
      ObjectNode result = report.toJson();
      result.put("output", output.toString());
      common.print(result);
    } else {
      summarise(report);
    }
    return 0;
  }

  /** A ready recipe's name is a bare word; a file of that name goes before it. */
  private static boolean namesFile(String recipe) {
    return recipe.contains("/") || recipe.contains(".") || Files.exists(Path.of(recipe));
  }

  private void printRecipe(String text) {
    if (common.json()) {
      common.print(Json.STRICT.createObjectNode().put("recipe", text));
    } else {
      common.console().out().print(text);
    }
  }

  private int tell(DryRun dry) {
    common.warn(dry.events());
    if (common.json()) {
      common.print(dry.toJson());
    } else {
      dry.lines().forEach(common.console().out()::println);
    }
    return 0;
  }

  private void summarise(Report report) {
    long infos = report.events().stream().filter(e -> e.severity() == Event.Severity.INFO).count();
    long warnings = report.events().size() - infos;
    common
        .console()
        .out()
        .printf(
            Locale.ROOT,
            "%s: %s linears compressed, mean relative error %.4g, %d warnings; report in %s%n",
            output,
            report.facts().get("linears_compressed"),
            report.meanRelativeError(),
            warnings,
            Files.exists(output.resolve(PAGE)) ? output.resolve(PAGE) : output + "/*/" + PAGE);
    if (report.facts().get("quality") instanceof Map<?, ?> quality) {
      common
          .console()
          .out()
          .printf(
              Locale.ROOT,
              "perplexity %.4f before, %.4f after; KL divergence %.5f, top-1 agreement %.4f%n",
              quality.get("perplexity_before"),
              quality.get("perplexity_after"),
              quality.get("kl"),
              quality.get("top1"));
    }
    if (memoryBudget != null) {
      common
          .console()
          .out()
          .printf(
              Locale.ROOT,
              "peak resident %.2f GB of a budget of %s (planned %.2f GB)%n",
              Resident.peakBytes() / 1e9,
              memoryBudget,
              ((Number) report.facts().get("predicted_peak_bytes")).doubleValue() / 1e9);
    }
  }
}
