// SPDX-License-Identifier: Apache-2.0
package espalier.cli;

import com.fasterxml.jackson.databind.node.ObjectNode;
import espalier.CompressionJob;
import espalier.Espalier;
import espalier.compress.OutputFormat;
import espalier.report.Event;
import espalier.report.Report;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** {@code espalier compress}: a dense checkpoint in, a compressed one out. */
@Command(
    name = "compress",
    description = "Compress a checkpoint by a recipe or a scheme.",
    footer = {
      "",
      "Examples:",
      "  espalier compress MODEL --scheme W4A16 --data texts.jsonl -o OUT",
      "  espalier compress MODEL --scheme W8A16 --method rtn -o OUT",
      "  espalier compress MODEL --recipe recipe.yaml --data texts.jsonl -o OUT",
      "  espalier compress MODEL --scheme W4A16 --data texts.jsonl --format compressed-tensors,gptq -o OUT"
    })
final class CompressCommand implements Callable<Integer> {
  @Parameters(paramLabel = "MODEL", description = "Folder of a dense checkpoint.")
  private Path model;

  @Option(
      names = "--recipe",
      paramLabel = "FILE",
      description = "Recipe in llm-compressor's grammar.")
  private Path recipe;

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
      names = "--format",
      paramLabel = "NAMES",
      defaultValue = "compressed-tensors",
      description = {
        "compressed-tensors, gptq, gptq_v2, or dense: quantized values in plain tensors.",
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
      required = true,
      description = "Folder to write; must not exist.")
  private Path output;

  @Mixin private CommonOptions common;

  @Override
  public Integer call() {
    CompressionJob job =
        Espalier.compress(model)
            .recipe(recipe)
            .scheme(scheme)
            .method(method)
            .data(data)
            .samples(samples)
            .maxLength(maxLength)
            .format(OutputFormat.list(format).toArray(OutputFormat[]::new))
            .shardBytes(shardBytes)
            .output(output)
            .threads(common.threads())
            .strict(common.strict());
    if (groupSize != null) {
      job.groupSize(groupSize);
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
      summarise(report, OutputFormat.list(format));
    }
    return 0;
  }

  private void summarise(Report report, List<OutputFormat> formats) {
    long infos = report.events().stream().filter(e -> e.severity() == Event.Severity.INFO).count();
    long warnings = report.events().size() - infos;
    common
        .console()
        .out()
        .printf(
            Locale.ROOT,
            "%s: %s linears compressed, mean relative error %.4g, %d warnings; details in %s%n",
            output,
            report.facts().get("linears_compressed"),
            report.meanRelativeError(),
            warnings,
            (formats.size() > 1 ? output.resolve(formats.get(0).text()) : output)
                .resolve("espalier-report.json"));
  }
}
