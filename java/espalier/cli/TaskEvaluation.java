// SPDX-License-Identifier: Apache-2.0
package espalier.cli;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import espalier.Espalier;
import espalier.report.Event;
import espalier.runtime.Tasks;
import espalier.text.TaskData;
import java.io.PrintStream;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;

/** The part of {@code eval} that asks questions with known answers. */
final class TaskEvaluation {
  private final CommonOptions common;
  private final Path model;

  TaskEvaluation(CommonOptions common, Path model) {
    this.common = common;
    this.model = model;
  }

  /** Measures every task in the order asked for and prints the results. */
  void run(List<String> names, Path folder, int limit) {
    long begun = System.nanoTime();
    // All files first: a misspelt name must not cost the tasks before it.
    List<TaskData> tasks = names.stream().map(n -> TaskData.read(n, folder, limit)).toList();
    try (Espalier opened = Espalier.open(model, common.threads())) {
      List<Event> events = new ArrayList<>(opened.model().events());
      common.warn(events);
      List<Tasks.Result> results = new ArrayList<>();
      try (Progress progress = common.progress()) {
        for (TaskData task : tasks) {
          results.add(opened.task(task, common.listener(progress)));
        }
      }
      for (Tasks.Result result : results) {
        common.warn(result.events());
        events.addAll(result.events());
      }
      double seconds = (System.nanoTime() - begun) * 1e-9;
      if (common.json()) {
        common.print(json(tasks, results, events, seconds));
      } else {
        results.forEach(result -> table(common.console().out(), result));
      }
    }
  }

  private ObjectNode json(
      List<TaskData> tasks, List<Tasks.Result> results, List<Event> events, double seconds) {
    ObjectNode object =
        CommonOptions.result().put("command", "eval").put("model", model.toString());
    ArrayNode list = object.putArray("tasks");
    for (int i = 0; i < results.size(); i++) {
      Tasks.Result result = results.get(i);
      ObjectNode task =
          list.addObject()
              .put("task", result.task())
              .put("file", tasks.get(i).file().toString())
              .put("items", result.items())
              .put("available", result.available())
              .put("few_shot", 0)
              .put("context", result.template())
              .put("tokens", result.tokens())
              .put("token_sha256", result.tokenStreamSha256());
      ObjectNode metrics = task.putObject("metrics");
      result.metrics().forEach(metric -> put(metrics, metric.name(), metric));
      if (!result.groups().isEmpty()) {
        ObjectNode groups = task.putObject("groups");
        result.groups().forEach((name, metric) -> put(groups, name, metric));
      }
    }
    object
        .put("precision", "fp32")
        .put("seconds", Math.round(seconds * 1000) / 1000.0)
        .put("version", Version.number())
        .set("events", CommonOptions.events(events));
    return object;
  }

  /** JSON has no NaN: the error of a single item is null. */
  private static void put(ObjectNode into, String name, Tasks.Metric metric) {
    ObjectNode node = into.putObject(name).put("value", metric.value());
    if (Double.isNaN(metric.standardError())) {
      node.putNull("stderr");
    } else {
      node.put("stderr", metric.standardError());
    }
    node.put("normalisation", metric.normalisation());
  }

  private static void table(PrintStream out, Tasks.Result result) {
    for (Tasks.Metric metric : result.metrics()) {
      line(out, result.task(), metric);
    }
    String taken = result.items() < result.available() ? " of " + result.available() : "";
    out.println("  " + result.items() + taken + " items, 0-shot, tokens' SHA-256");
    out.println("  " + result.tokenStreamSha256());
    result.groups().forEach((name, metric) -> line(out, "  " + name, metric));
  }

  private static void line(PrintStream out, String name, Tasks.Metric metric) {
    out.println(
        String.format(Locale.ROOT, "%-48s %-10s %s", name, metric.name(), Tasks.words(metric)));
  }
}
