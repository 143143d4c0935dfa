// SPDX-License-Identifier: Apache-2.0
package espalier.runtime;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import espalier.Espalier;
import espalier.Shared;
import espalier.cli.CommandRun;
import espalier.model.ReferenceForward;
import espalier.model.TinyModels;
import espalier.report.Listener;
import espalier.text.TaskData;
import espalier.text.TaskItem;
import espalier.text.TaskTokens;
import espalier.text.TinyTokenizer;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Scores against plain loops in double precision, and BLiMP against an independent program. */
class TasksTest {
  private static final String ROWS =
      """
      {"query": "ab a", "choices": ["b", "ab ab a", "äb"], "gold": 1}
      {"query": "b b b", "choices": ["a", "ba", "b b"], "gold": 2}
      {"query": "a", "choices": ["bb", "a a a a a", "ab"], "gold": 0}
      """;

  @TempDir Path folder;
  private TinyModels tiny;
  private Path model;

  @BeforeEach
  void write() throws IOException {
    tiny = TinyModels.llama().with("vocab_size", 265).fill();
    model = tiny.write(folder.resolve("model"));
    TinyTokenizer.write(model);
  }

  private TaskData task(String text) throws IOException {
    return TaskData.read(Files.writeString(folder.resolve("own.jsonl"), text).toString(), null, 0);
  }

  /** Returns Σ −log p of a continuation: every token of the whole sequence, by full softmax. */
  private double nats(TaskTokens.Pair pair) {
    int[] ids = pair.whole();
    double[][] logits = new ReferenceForward(tiny).logits(ids, List.of(0, 0));
    double nats = 0;
    for (int t = pair.context().length; t < ids.length; t++) {
      double sum = 0;
      for (double logit : logits[t - 1]) {
        sum += Math.exp(logit);
      }
      nats += Math.log(sum) - logits[t - 1][ids[t]];
    }
    return nats;
  }

  private TaskTokens tokens(Espalier opened, TaskData data) {
    return new TaskTokens(opened.tokenizer(), data, null, 265);
  }

  @Test
  void choicesThatShareTheirContextScoreAsIfEachWereRunAlone() throws IOException {
    TaskData data = task(ROWS);
    try (Espalier opened = Espalier.open(model, 2)) {
      TaskTokens tokens = tokens(opened, data);
      Likelihood likelihood = new Likelihood(opened.model(), opened.ops());
      for (TaskItem item : data.items()) {
        List<TaskTokens.Pair> pairs =
            item.choices().stream().map(choice -> tokens.encode(item, choice)).toList();
        List<Likelihood.Score> scores = likelihood.score(pairs, false);
        for (int i = 0; i < pairs.size(); i++) {
          assertEquals(nats(pairs.get(i)), scores.get(i).nats(), 1e-4);
        }
      }
    }
  }

  @Test
  void accuraciesFollowFromTheScoresUnderEachNorm() throws IOException {
    TaskData data = task(ROWS);
    int[] right = new int[3];
    Tasks.Result result;
    try (Espalier opened = Espalier.open(model, 1)) {
      TaskTokens tokens = tokens(opened, data);
      int[][] lengths = {{1, 7, 2}, {1, 2, 3}, {2, 9, 2}}; // characters
      int[][] bytes = {{1, 7, 3}, {1, 2, 3}, {2, 9, 2}};
      for (int q = 0; q < 3; q++) {
        TaskItem item = data.items().get(q);
        double[] plain = new double[3];
        double[] byLength = new double[3];
        double[] byBytes = new double[3];
        for (int c = 0; c < 3; c++) {
          plain[c] = -nats(tokens.encode(item, item.choices().get(c)));
          byLength[c] = plain[c] / lengths[q][c];
          byBytes[c] = plain[c] / bytes[q][c];
        }
        right[0] += best(plain) == item.gold() ? 1 : 0;
        right[1] += best(byLength) == item.gold() ? 1 : 0;
        right[2] += best(byBytes) == item.gold() ? 1 : 0;
      }
      result = opened.task(data, Listener.NONE);
    }
    List<String> names = List.of("acc", "acc_norm", "acc_bytes");
    for (int i = 0; i < 3; i++) {
      Tasks.Metric metric = result.metrics().get(i);
      assertEquals(names.get(i), metric.name());
      assertEquals(right[i] / 3.0, metric.value(), 1e-12);
      // Bernoulli with n - 1: sqrt(p (1 - p) / (n - 1)).
      double p = metric.value();
      assertEquals(Math.sqrt(p * (1 - p) / 2), metric.standardError(), 1e-12);
    }
  }

  private static int best(double[] values) {
    int best = 0;
    for (int i = 1; i < values.length; i++) {
      best = values[i] > values[best] ? i : best;
    }
    return best;
  }

  @Test
  void lastWordsGiveAPerplexityOfWords() throws IOException {
    TaskData data = task("{\"text\": \"a b ab\"}\n{\"text\": \"ab a\"}\n{\"text\": \"b ba\"}\n");
    try (Espalier opened = Espalier.open(model, 1)) {
      TaskTokens tokens = tokens(opened, data);
      double nats = 0;
      double greedy = 0;
      for (TaskItem item : data.items()) {
        TaskTokens.Pair pair = tokens.encode(item, item.choices().get(0));
        nats += nats(pair);
        double[][] logits = new ReferenceForward(tiny).logits(pair.whole(), List.of(0, 0));
        boolean all = true;
        for (int t = pair.context().length; t < pair.whole().length; t++) {
          all &= best(logits[t - 1]) == pair.whole()[t];
        }
        greedy += all ? 1 : 0;
      }
      Tasks.Result result = opened.task(data, Listener.NONE);
      assertEquals(greedy / 3, result.metrics().get(0).value(), 1e-12);
      assertEquals("perplexity", result.metrics().get(1).name());
      assertEquals(Math.exp(nats / 3), result.metrics().get(1).value(), Math.exp(nats / 3) * 1e-4);
    }
  }

  /** A model that always continues as asked knows every word, and one token makes it wrong. */
  @Test
  void theLikeliestWordIsFound() throws IOException {
    TaskData data = task("{\"text\": \"a b ab\"}\n");
    try (Espalier opened = Espalier.open(model, 1)) {
      TaskTokens tokens = tokens(opened, data);
      Likelihood likelihood = new Likelihood(opened.model(), opened.ops());
      TaskItem item = data.items().get(0);
      int[] context = tokens.encode(item, item.choices().get(0)).context();
      int next =
          best(new ReferenceForward(tiny).logits(context, List.of(0, 0))[context.length - 1]);
      for (int id : new int[] {next, (next + 1) % 265}) {
        TaskTokens.Pair pair = new TaskTokens.Pair(context, new int[] {id});
        assertEquals(id == next, likelihood.score(List.of(pair), true).get(0).greedy());
      }
    }
  }

  @Test
  void aContextTooLongLosesItsBeginningAndTheReportSaysSo() throws IOException {
    TaskData data = task("{\"text\": \"" + "b ".repeat(100) + "a\"}\n");
    try (Espalier opened = Espalier.open(model, 1)) {
      Tasks.Result result = opened.task(data, Listener.NONE);
      assertEquals("contexts-cut", result.events().get(0).kind());
      TaskTokens.Pair pair =
          tokens(opened, data).encode(data.items().get(0), data.items().get(0).choices().get(0));
      int[] whole = pair.whole();
      // 64 tokens are fed, one more is predicted.
      int[] kept = java.util.Arrays.copyOfRange(whole, whole.length - 65, whole.length - 1);
      TaskTokens.Pair last = new TaskTokens.Pair(kept, new int[] {whole[whole.length - 1]});
      assertEquals(1, pair.continuation().length);
      assertEquals(Math.exp(nats(last)), result.metrics().get(1).value(), 0.1);
    }
  }

  @Test
  void theCommandPrintsEveryTaskWithItsProtocol() throws IOException {
    task(ROWS);
    String file = folder.resolve("own.jsonl").toString();
    CommandRun run = CommandRun.of("eval", model.toString(), "--tasks", file, "--json");
    assertEquals(0, run.code(), run.err());
    JsonNode task = run.json().get("tasks").get(0);
    assertEquals("own", task.get("task").textValue());
    assertEquals(3, task.get("items").intValue());
    assertEquals(0, task.get("few_shot").intValue());
    assertEquals(64, task.get("token_sha256").textValue().length());
    JsonNode norm = task.get("metrics").get("acc_norm");
    assertEquals("characters of the choice", norm.get("normalisation").textValue());
    assertTrue(norm.get("stderr").isNumber());
    JsonNode limited =
        CommandRun.of("eval", model.toString(), "--tasks", file, "--limit", "1", "--json").json();
    assertEquals(1, limited.get("tasks").get(0).get("items").intValue());
    assertTrue(limited.at("/tasks/0/metrics/acc/stderr").isNull());
    CommandRun table = CommandRun.of("eval", model.toString(), "--tasks", file);
    assertTrue(table.out().contains("acc_norm") && table.out().contains("3 items"), table.out());
  }

  @Test
  void optionsOfTextsAndTasksDoNotMix() {
    String folder = model.toString();
    assertEquals(2, CommandRun.of("eval", folder).code());
    assertEquals(2, CommandRun.of("eval", folder, "--tasks", "nosuch").code());
    assertEquals(2, CommandRun.of("eval", folder, "--tasks", "piqa", "--data", "x.txt").code());
    assertEquals(2, CommandRun.of("eval", folder, "--tasks", "piqa", "--window", "9").code());
    assertEquals(2, CommandRun.of("eval", folder, "--data", "x.txt", "--data-dir", "y").code());
  }

  /** Counts that models/reference_forward.py found, in double precision and without a cache. */
  @Tag("slow")
  @ParameterizedTest
  @ValueSource(strings = {"stories260K", "tiny1m", "babyllama105", "stories3M"})
  void blimpAgreesWithAnIndependentProgram(String name) {
    Path shared = Shared.path("models", name);
    JsonNode expected = Shared.json(shared.resolve("expected.json")).get("pairs").get(0);
    TaskData data = TaskData.read("blimp", Shared.path("data"), 0);
    try (Espalier opened = Espalier.open(shared, 0)) {
      Tasks.Result result = opened.task(data, Listener.NONE);
      assertEquals(expected.get("pairs").longValue(), result.items());
      assertEquals(
          expected.get("right").longValue(),
          Math.round(result.metrics().get(0).value() * result.items()));
      assertEquals(67, new ArrayList<>(result.groups().keySet()).size());
    }
  }
}
