// SPDX-License-Identifier: Apache-2.0
package espalier.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import espalier.model.TinyModels;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** eval, generate and inspect on a tiny model of this project's own, which has no tokenizer. */
class CommandsTest {
  @TempDir Path folder;
  private String model;
  private String data;

  @BeforeEach
  void write() throws IOException {
    model = TinyModels.llama().fill().write(folder.resolve("model")).toString();
    Path file = folder.resolve("ids.jsonl");
    Files.writeString(
        file, "{\"input_ids\": [1, 2, 3, 4, 5]}\n{\"input_ids\": [7]}\n{\"input_ids\": [6, 5]}\n");
    data = file.toString();
  }

  @Test
  void evalPrintsOneObjectWithEveryFigure() {
    CommandRun run = CommandRun.of("eval", model, "--data", data, "--against", model, "--json");
    assertEquals(0, run.code(), run.err());
    JsonNode result = run.json();
    assertEquals(1, result.get("schema").intValue());
    assertEquals("docs", result.get("protocol").textValue());
    assertEquals(5, result.get("predictions").intValue());
    assertEquals(7, result.get("tokens").intValue());
    assertEquals(0, result.get("kl").doubleValue(), 1e-9);
    assertEquals(1, result.get("top1").doubleValue());
    assertEquals("fp32", result.get("precision").textValue());
    double nats = result.get("nats_per_token").doubleValue();
    assertEquals(Math.exp(nats), result.get("perplexity").doubleValue(), 1e-9);
    JsonNode again =
        CommandRun.of("eval", model, "--data", data, "--json", "--threads", "2").json();
    assertEquals(nats, again.get("nats_per_token").doubleValue());
    assertEquals(result.get("token_sha256"), again.get("token_sha256"));
    assertTrue(again.path("kl").isMissingNode());
  }

  @Test
  void evalAlsoSpeaksToPeople() {
    CommandRun run = CommandRun.of("eval", model, "--data", data, "--against", model);
    assertEquals(0, run.code(), run.err());
    assertTrue(run.out().contains("perplexity") && run.out().contains("KL divergence"), run.out());
  }

  @Test
  void textNeedsATokenizerAndTheMessageSaysSo() throws IOException {
    Path text = Files.writeString(folder.resolve("text.jsonl"), "{\"text\": \"hello\"}\n");
    CommandRun run = CommandRun.of("eval", model, "--data", text.toString());
    assertEquals(3, run.code(), run.err());
    assertTrue(run.err().contains("line 1") && run.err().contains("tokenizer"), run.err());
    CommandRun prompt = CommandRun.of("generate", model, "--prompt", "hello");
    assertEquals(3, prompt.code(), prompt.err());
    assertTrue(prompt.err().contains("--ids"), prompt.err());
  }

  @Test
  void generateWritesIdsWhereThereIsNoTokenizer() {
    CommandRun run =
        CommandRun.of("generate", model, "--ids", "1,2,3", "--tokens", "4", "--greedy");
    assertEquals(0, run.code(), run.err());
    JsonNode json =
        CommandRun.of("generate", model, "--ids", "1,2,3", "--tokens", "4", "--greedy", "--json")
            .json();
    StringBuilder ids = new StringBuilder();
    json.get("ids").forEach(id -> ids.append(ids.isEmpty() ? "" : " ").append(id));
    assertTrue(ids.toString().startsWith(run.out().strip()), run.out());
    assertTrue(json.has("finish"));
    assertEquals("bf16", json.get("precision").asText());
  }

  @Test
  void anOptionWithoutEffectIsPointedOut() {
    CommandRun run =
        CommandRun.of("generate", model, "--ids", "1", "--tokens", "1", "--greedy", "--top-k", "3");
    assertEquals(0, run.code(), run.err());
    assertTrue(run.err().contains("--top-k does nothing"), run.err());
  }

  @Test
  void inspectTellsWhatIsThere() {
    CommandRun run = CommandRun.of("inspect", model, "--json");
    assertEquals(0, run.code(), run.err());
    JsonNode result = run.json();
    assertEquals("llama", result.get("family").textValue());
    assertTrue(result.get("runnable").booleanValue());
    assertTrue(result.get("parameters").longValue() > 0);
    assertTrue(result.get("tensors").size() > 10);
    CommandRun file = CommandRun.of("inspect", model + "/model.safetensors");
    assertEquals(0, file.code(), file.err());
    assertTrue(file.out().contains("embed_tokens"), file.out());
  }

  @Test
  void inspectShowsASoundCheckpointThatCannotBeRun() throws IOException {
    Path odd = TinyModels.llama().with("model_type", "gemma").fill().write(folder.resolve("odd"));
    CommandRun run = CommandRun.of("inspect", odd.toString());
    assertEquals(0, run.code(), run.err());
    assertTrue(run.out().contains("cannot be run"), run.out());
    assertEquals(1, CommandRun.of("inspect", odd.toString(), "--strict").code());
    assertEquals(4, CommandRun.of("eval", odd.toString(), "--data", data).code());
  }
}
