// SPDX-License-Identifier: Apache-2.0
package espalier.runtime;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import espalier.Shared;
import espalier.kernel.Eager;
import espalier.model.Model;
import espalier.report.Listener;
import espalier.runtime.Passages.Choice;
import espalier.tensor.Context;
import espalier.text.TextData;
import espalier.text.Tokenizer;
import java.nio.file.Path;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Perplexities of real small models under every protocol, as published with them. */
class PerplexityGoldenTest {
  @ParameterizedTest
  @Tag("slow")
  @ValueSource(strings = {"stories260K", "tiny1m", "babyllama105", "stories3M"})
  void everyPublishedPerplexityIsReproduced(String name) {
    Path folder = Shared.path("models/" + name);
    for (JsonNode golden : Shared.json(folder.resolve("expected.json")).path("perplexity")) {
      Protocol protocol = Protocol.named(golden.get("protocol").textValue());
      boolean docs = protocol == Protocol.DOCS;
      int window = docs ? golden.get("context").intValue() : golden.get("window").intValue();
      int limit = golden.get(docs ? "documents" : "windows").intValue();
      Perplexity.Result result =
          measure(folder, golden.get("file").textValue(), new Choice(protocol, window, limit));
      assertEquals(golden.get("predictions").longValue(), result.predictions());
      assertEquals(1, result.perplexity() / golden.get("ppl").doubleValue(), 1e-5);
    }
  }

  @Test
  void aDocumentOfTheSmallestModelHasItsPerplexity() {
    Path folder = Shared.path("models/stories260K");
    Perplexity.Result all =
        measure(folder, "tinystories_eval.jsonl", new Choice(Protocol.DOCS, 0, 20));
    // The first twenty of two hundred documents: near the published 5.0070, and repeatable.
    assertEquals(5.0, all.perplexity(), 0.5);
    assertEquals(all, measure(folder, "tinystories_eval.jsonl", new Choice(Protocol.DOCS, 0, 20)));
  }

  @Test
  void aModelDoesNotDivergeFromItself() {
    Path folder = Shared.path("models/stories260K");
    try (Context context = Context.cpu(0);
        Tokenizer tokenizer = Tokenizer.open(folder);
        Model model = Model.open(folder, context)) {
      Passages passages =
          passages(
              folder, tokenizer, model, "tinystories_eval.jsonl", new Choice(Protocol.DOCS, 0, 5));
      Eager ops = new Eager(context);
      Divergence.Result result = Divergence.measure(model, model, ops, passages, Listener.NONE);
      assertEquals(0, result.kl(), 1e-12);
      assertEquals(1, result.topOne());
      assertEquals(Perplexity.measure(model, ops, passages, Listener.NONE), result.compressed());
      assertTrue(result.dense().equals(result.compressed()));
    }
  }

  private static Perplexity.Result measure(Path folder, String file, Choice choice) {
    try (Context context = Context.cpu(0);
        Tokenizer tokenizer = Tokenizer.open(folder);
        Model model = Model.open(folder, context)) {
      Passages passages = passages(folder, tokenizer, model, file, choice);
      return Perplexity.measure(model, new Eager(context), passages, Listener.NONE);
    }
  }

  private static Passages passages(
      Path folder, Tokenizer tokenizer, Model model, String file, Choice choice) {
    TextData data = TextData.open(Shared.path("data/" + file), tokenizer, () -> null);
    return Passages.of(data, tokenizer, choice, model.contextLength(), model.vocabulary());
  }
}
