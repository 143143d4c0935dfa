// SPDX-License-Identifier: Apache-2.0
package espalier;

import espalier.kernel.Eager;
import espalier.model.Model;
import espalier.report.Event;
import espalier.report.Listener;
import espalier.report.Phase;
import espalier.report.Report;
import espalier.runtime.Divergence;
import espalier.runtime.Passages;
import espalier.runtime.Protocol;
import espalier.tensor.Context;
import espalier.text.ChatTemplate;
import espalier.text.TextData;
import espalier.text.Tokenizer;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;

/**
 * Quality before and after a compression on the same tokens: each document of a file alone, both
 * perplexities, KL divergence and top-1 agreement. The file is read before the run begins.
 */
final class QualityCheck {
  private final Path dense;
  private final Path file;
  private final Passages passages;

  /** Reads the texts in the tokens of a model folder; at most {@code limit} of them, 0 for all. */
  QualityCheck(Model model, Path file, int limit) {
    this.dense = model.checkpoint().folder();
    this.file = file;
    try (Tokenizer tokenizer = Tokenizer.find(dense).orElse(null)) {
      this.passages =
          Passages.of(
              TextData.open(file, tokenizer, () -> ChatTemplate.open(dense)),
              tokenizer,
              new Passages.Choice(Protocol.DOCS, 0, limit),
              model.contextLength(),
              model.vocabulary());
    }
  }

  /** Compares the files in {@code compressed} with the dense ones and tells the report. */
  void measure(Path compressed, Context context, Report report, Listener listener) {
    passages.events().forEach(report::event);
    Divergence.Result result =
        report.timings().get(Phase.EVALUATE, "", () -> divergence(compressed, context, listener));
    Map<String, Object> quality = new LinkedHashMap<>();
    quality.put("file", file.getFileName().toString());
    quality.put("protocol", passages.protocol().label());
    quality.put("window", passages.window());
    quality.put("passages", passages.list().size());
    quality.put("predictions", passages.predictions());
    quality.put("token_sha256", passages.tokenStreamSha256());
    quality.put("precision", "fp32");
    quality.put("perplexity_before", result.dense().perplexity());
    quality.put("perplexity_after", result.compressed().perplexity());
    quality.put("kl", result.kl());
    quality.put("top1", result.topOne());
    report.fact("quality", quality);
    if (result.kl() > 1) {
      report.event(
          Event.warning(
              "far-from-dense",
              file.getFileName().toString(),
              "the KL divergence from the dense model is more than 1 nat a token"));
    }
  }

  private Divergence.Result divergence(Path compressed, Context context, Listener listener) {
    try (Model before = Model.open(dense, context);
        Model after = Model.open(compressed, context)) {
      return Divergence.measure(before, after, new Eager(context), passages, listener);
    }
  }
}
