// SPDX-License-Identifier: Apache-2.0
package espalier.runtime;

import espalier.kernel.Ops;
import espalier.model.Model;
import espalier.report.EspalierException;
import espalier.report.Event;
import espalier.report.Listener;
import espalier.text.TaskData;
import espalier.text.TaskItem;
import espalier.text.TaskShape;
import espalier.text.TaskTokens;
import espalier.text.TokenStream;
import espalier.text.Tokenizer;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.function.ToDoubleFunction;

/**
 * How often a model finds the right answer more likely than the others. The rules are those of
 * lm-evaluation-harness with no examples given: of several choices the one with the highest
 * log-probability wins, the first of equals; the length norms divide it by the characters ({@code
 * acc_norm}) or UTF-8 bytes ({@code acc_bytes}) of the choice as the task spells it.
 */
public final class Tasks {
  private Tasks() {}

  /**
   * A mean over items.
   *
   * @param name of the metric
   * @param value of it
   * @param standardError s/√n, s with n − 1; for a perplexity that of the mean times the value; NaN
   *     for a single item
   * @param normalisation what the log-probabilities are divided by, in words
   */
  public record Metric(String name, double value, double standardError, String normalisation) {}

  /**
   * What was measured, and on what.
   *
   * @param task name
   * @param items how many were asked
   * @param available how many the file holds
   * @param template of the context, empty when nothing is given
   * @param metrics the first is the one the task is known by
   * @param groups accuracy by group, in file order; empty when the task has none
   * @param tokens in all sequences, each choice a sequence
   * @param tokenStreamSha256 {@link TokenStream#sha256} of all sequences in order
   * @param events what a report should say
   */
  public record Result(
      String task,
      long items,
      long available,
      String template,
      List<Metric> metrics,
      Map<String, Metric> groups,
      long tokens,
      String tokenStreamSha256,
      List<Event> events) {}

  /** What became of one item. */
  private record Answer(TaskItem item, List<Likelihood.Score> scores) {
    /** Returns 1 when the right choice has the highest log-probability over {@code length}. */
    double right(ToDoubleFunction<TaskItem.Choice> length) {
      int best = 0;
      double highest = Double.NEGATIVE_INFINITY;
      for (int i = 0; i < scores.size(); i++) {
        double score = -scores.get(i).nats() / length.applyAsDouble(item.choices().get(i));
        if (score > highest) {
          highest = score;
          best = i;
        }
      }
      return best == item.gold() ? 1 : 0;
    }
  }

  /**
   * Measures a model on a task.
   *
   * @param tokenizer of the model
   * @throws EspalierException (INPUT) naming the row that cannot be encoded or the weight that is
   *     not finite, (INTERRUPTED) when the listener cancels
   */
  public static Result measure(
      Model model, Ops ops, Tokenizer tokenizer, TaskData data, Listener listener) {
    TaskTokens tokens =
        new TaskTokens(
            tokenizer,
            data,
            model.checkpoint().json("tokenizer_config.json").orElse(null),
            model.vocabulary());
    // Every row is encoded before anything is computed: a bad one must not cost an hour.
    List<List<TaskTokens.Pair>> encoded = new ArrayList<>();
    for (TaskItem item : data.items()) {
      encoded.add(item.choices().stream().map(c -> tokens.encode(item, c)).toList());
    }
    Likelihood likelihood = new Likelihood(model, ops);
    boolean word = data.shape() == TaskShape.LAST_WORD;
    List<Answer> answers = new ArrayList<>();
    for (int i = 0; i < encoded.size(); i++) {
      listener.checkCancelled();
      List<Likelihood.Score> scores = likelihood.score(encoded.get(i), word);
      for (Likelihood.Score score : scores) {
        Perplexity.requireFinite(score.nats(), i, ops.context(), model);
      }
      answers.add(new Answer(data.items().get(i), scores));
      listener.progress(data.name(), i + 1L, encoded.size(), "");
    }
    int[][] sequences =
        encoded.stream().flatMap(List::stream).map(TaskTokens.Pair::whole).toArray(int[][]::new);
    long count = 0;
    for (int[] sequence : sequences) {
      count += sequence.length;
    }
    return new Result(
        data.name(),
        answers.size(),
        data.available(),
        data.shape().template(),
        word ? word(answers) : choice(data.shape(), answers),
        groups(answers),
        count,
        TokenStream.sha256(sequences),
        events(data, likelihood.cut()));
  }

  private static List<Event> events(TaskData data, long cut) {
    return cut == 0
        ? List.of()
        : List.of(
            Event.warning(
                "contexts-cut",
                data.file().toString(),
                cut + " sequences were longer than the model's context and lost their beginning"));
  }

  private static List<Metric> choice(TaskShape shape, List<Answer> answers) {
    Metric plain = accuracy("acc", answers);
    // Where the choices are contexts or whole sentences, the task knows no length norm.
    if (shape == TaskShape.CONTEXT || shape == TaskShape.PAIR) {
      return List.of(plain);
    }
    return List.of(
        plain,
        mean(
            "acc_norm",
            "characters of the choice",
            answers,
            a -> a.right(c -> c.text().codePointCount(0, c.text().length()))),
        mean("acc_bytes", "UTF-8 bytes of the choice", answers, a -> a.right(Tasks::bytes)));
  }

  private static double bytes(TaskItem.Choice choice) {
    return choice.text().getBytes(java.nio.charset.StandardCharsets.UTF_8).length;
  }

  private static List<Metric> word(List<Answer> answers) {
    Metric nats = mean("nats", "none", answers, a -> a.scores().get(0).nats());
    double perplexity = Math.exp(nats.value());
    return List.of(
        mean("acc", "none", answers, a -> a.scores().get(0).greedy() ? 1 : 0),
        // d exp(x) = exp(x) dx
        new Metric("perplexity", perplexity, perplexity * nats.standardError(), "none"));
  }

  private static Map<String, Metric> groups(List<Answer> answers) {
    Map<String, List<Answer>> parts = new LinkedHashMap<>();
    for (Answer answer : answers) {
      if (!answer.item().group().isEmpty()) {
        parts.computeIfAbsent(answer.item().group(), name -> new ArrayList<>()).add(answer);
      }
    }
    Map<String, Metric> groups = new LinkedHashMap<>();
    parts.forEach((name, part) -> groups.put(name, accuracy("acc", part)));
    return groups;
  }

  private static Metric accuracy(String name, List<Answer> answers) {
    return mean(name, "none", answers, a -> a.right(c -> 1));
  }

  private static Metric mean(
      String name, String normalisation, List<Answer> answers, ToDoubleFunction<Answer> value) {
    double[] values = answers.stream().mapToDouble(value).toArray();
    double sum = 0;
    for (double v : values) {
      sum += v;
    }
    double mean = sum / values.length;
    double squares = 0;
    for (double v : values) {
      squares += (v - mean) * (v - mean);
    }
    double error =
        values.length < 2 ? Double.NaN : Math.sqrt(squares / (values.length - 1) / values.length);
    return new Metric(name, mean, error, normalisation);
  }

  /** Returns a metric in words: {@code 0.5276 ± 0.0136}. */
  public static String words(Metric metric) {
    return Double.isNaN(metric.standardError())
        ? String.format(Locale.ROOT, "%.4f", metric.value())
        : String.format(Locale.ROOT, "%.4f ± %.4f", metric.value(), metric.standardError());
  }
}
