// SPDX-License-Identifier: Apache-2.0
package espalier.runtime;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import espalier.Shared;
import espalier.internal.Json;
import espalier.kernel.Eager;
import espalier.model.Model;
import espalier.report.Listener;
import espalier.runtime.Passages.Choice;
import espalier.tensor.Context;
import espalier.text.TextData;
import espalier.text.Tokenizer;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Perplexities of real small models under every protocol, as published with them. */
class PerplexityGoldenTest {
  @TempDir private Path folder;

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

  /**
   * The figures of stock llama-perplexity, in a run of its own on these models with f16 weights
   * (four digits after the point are published): {@code -c 128 --chunks 100} and {@code -c 512
   * --chunks 40}.
   */
  @ParameterizedTest
  @Tag("slow")
  @CsvSource({"stories260K,128,100", "stories260K,512,40", "stories3M,128,100", "stories3M,512,40"})
  void stockLlamaCppHasTheSamePerplexity(String name, int window, int chunks) throws IOException {
    JsonNode golden = Shared.json(Shared.path("golden/formats/gguf/files/manifest.json"));
    String key = name + "/f16/ctx" + window + "/chunks" + chunks;
    double published = golden.path("perplexity").path(key).path(0).doubleValue();
    Path file = Files.writeString(folder.resolve("eval.txt"), joined("tinystories_eval.jsonl"));
    Path model = Shared.path("models/" + name);
    Choice choice = new Choice(Protocol.LLAMA_CPP, window, chunks);
    assertEquals(1, measure(model, file, choice).perplexity() / published, 1e-4);
  }

  /** The texts with an empty line between them and one line end at the end. */
  private static String joined(String file) throws IOException {
    List<String> texts = new ArrayList<>();
    for (String line : Files.readAllLines(Shared.path("data/" + file))) {
      texts.add(Json.STRICT.readTree(line).get("text").textValue());
    }
    return String.join("\n\n", texts) + "\n";
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
              tokenizer,
              model,
              Shared.path("data/tinystories_eval.jsonl"),
              new Choice(Protocol.DOCS, 0, 5));
      Eager ops = new Eager(context);
      Divergence.Result result = Divergence.measure(model, model, ops, passages, Listener.NONE);
      assertEquals(0, result.kl(), 1e-12);
      assertEquals(1, result.topOne());
      assertEquals(Perplexity.measure(model, ops, passages, Listener.NONE), result.compressed());
      assertTrue(result.dense().equals(result.compressed()));
    }
  }

  private static Perplexity.Result measure(Path folder, String file, Choice choice) {
    return measure(folder, Shared.path("data/" + file), choice);
  }

  private static Perplexity.Result measure(Path folder, Path file, Choice choice) {
    try (Context context = Context.cpu(0);
        Tokenizer tokenizer = Tokenizer.open(folder);
        Model model = Model.open(folder, context)) {
      Passages passages = passages(tokenizer, model, file, choice);
      return Perplexity.measure(model, new Eager(context), passages, Listener.NONE);
    }
  }

  private static Passages passages(Tokenizer tokenizer, Model model, Path file, Choice choice) {
    TextData data = TextData.open(file, tokenizer, () -> null);
    return Passages.of(data, tokenizer, choice, model.contextLength(), model.vocabulary());
  }
}
