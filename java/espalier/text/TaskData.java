// SPDX-License-Identifier: Apache-2.0
package espalier.text;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import espalier.internal.Json;
import espalier.report.EspalierException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.regex.Pattern;
import java.util.stream.Stream;

/**
 * A file of questions with known answers: JSONL, every row of one {@link TaskShape}. Reads the file
 * once; holds it whole.
 *
 * @param name what the task is called
 * @param file where it lies
 * @param shape of every row
 * @param items in file order
 * @param available rows of the file, taken or not
 */
public record TaskData(
    String name, Path file, TaskShape shape, List<TaskItem> items, long available) {
  /** Tasks that go by a name, and the shape of their rows. */
  private static final Map<String, TaskShape> KNOWN =
      Map.of(
          "arc_easy", TaskShape.QUESTION,
          "arc_challenge", TaskShape.QUESTION,
          "piqa", TaskShape.QUESTION,
          "hellaswag", TaskShape.ENDING,
          "winogrande", TaskShape.CONTEXT,
          "blimp", TaskShape.PAIR,
          "lambada", TaskShape.LAST_WORD);

  /** Returns the tasks that go by a name, in order. */
  public static List<String> names() {
    return KNOWN.keySet().stream().sorted().toList();
  }

  /**
   * Reads a task.
   *
   * @param task a name from {@link #names()}, looked for in {@code folder} as {@code NAME.jsonl} or
   *     {@code NAME_SUFFIX.jsonl} (a suffix of letters and digits, as in {@code arc_easy_200}), or
   *     a path to a {@code .jsonl} file, whose shape its first row tells
   * @param folder of the named tasks; null when none was given
   * @param limit takes only the first rows, of every group where rows have groups; 0 for all
   * @throws EspalierException (USAGE) for an unknown name or one without a folder, (INPUT) naming
   *     the line that is not what it should be, or for a file without rows
   */
  public static TaskData read(String task, Path folder, int limit) {
    if (limit < 0) {
      throw EspalierException.usage(
          "limit is " + limit + ", expected 1 or more", "Leave it out to take all.");
    }
    TaskShape shape = KNOWN.get(task);
    if (shape != null) {
      return read(task, find(task, folder), shape, limit);
    }
    if (!task.endsWith(".jsonl") && !task.contains("/")) {
      throw EspalierException.usage(
          "unknown task '" + task + "'",
          "Use one of " + String.join(", ", names()) + ", or a path to a .jsonl file.");
    }
    Path file = Path.of(task);
    String name = file.getFileName().toString().replaceFirst("\\.jsonl$", "");
    return read(name, file, null, limit);
  }

  private static Path find(String task, Path folder) {
    if (folder == null) {
      throw EspalierException.usage(
          "task '" + task + "' needs a folder of task files",
          "Name it with --data-dir, or give a path to the task's .jsonl file.");
    }
    Pattern spelling = Pattern.compile(Pattern.quote(task) + "(_[A-Za-z0-9-]+)?\\.jsonl");
    List<Path> found;
    try (Stream<Path> files = Files.list(folder)) {
      found =
          files
              .filter(f -> spelling.matcher(f.getFileName().toString()).matches())
              .sorted()
              .toList();
    } catch (IOException e) {
      throw EspalierException.input(folder + ": cannot be listed", "Give a folder that exists.");
    }
    if (found.isEmpty()) {
      throw EspalierException.input(
          folder + " has no file of task '" + task + "'",
          "Put " + task + ".jsonl there, or give a path to the file instead of the name.");
    }
    if (found.size() > 1) {
      throw EspalierException.input(
          folder + " has more than one file of task '" + task + "': " + found,
          "Give a path to the one that is meant.");
    }
    return found.get(0);
  }

  private static TaskData read(String name, Path file, TaskShape wanted, int limit) {
    if (!Files.isRegularFile(file)) {
      throw EspalierException.input(file + " does not exist", "Give a .jsonl file.");
    }
    List<TaskItem> items = new ArrayList<>();
    Map<String, Integer> taken = new HashMap<>();
    TaskShape shape = wanted;
    long available = 0;
    try (Lines lines = new Lines(file)) {
      for (String line = lines.next(); line != null; line = lines.next()) {
        if (line.isBlank()) {
          continue;
        }
        available++;
        TaskShape.Row row = row(file, lines.number(), line);
        shape = shape(row, shape);
        TaskItem item = shape.read(row);
        if (taken.merge(item.group(), 1, Integer::sum) <= limit || limit == 0) {
          items.add(item);
        }
      }
    }
    if (items.isEmpty()) {
      throw EspalierException.input(file + " holds no row", "Give a file with a question a line.");
    }
    return new TaskData(name, file, shape, List.copyOf(items), available);
  }

  private static TaskShape.Row row(Path file, int number, String line) {
    String where = file + ", line " + number;
    JsonNode node;
    try {
      node = Json.STRICT.readTree(line);
    } catch (JsonProcessingException e) {
      throw EspalierException.input(
          where + " is not JSON: " + e.getOriginalMessage(), "Write one JSON object a line.");
    }
    if (!node.isObject()) {
      throw EspalierException.input(
          where + " is not a JSON object", "Write one JSON object a line.");
    }
    return new TaskShape.Row(where, number, node);
  }

  /** Returns the shape of a row, which must be {@code wanted} unless that is null. */
  private static TaskShape shape(TaskShape.Row row, TaskShape wanted) {
    Optional<TaskShape> found =
        wanted == null
            ? TaskShape.of(row.node())
            : Optional.of(wanted).filter(s -> s.keys().stream().allMatch(row.node()::hasNonNull));
    return found.orElseThrow(
        () -> {
          List<String> keys = new ArrayList<>();
          row.node().fieldNames().forEachRemaining(keys::add);
          return row.wrong(
              "looked for the keys "
                  + (wanted == null ? TaskShape.known() : String.join("+", wanted.keys()))
                  + ", found "
                  + (keys.isEmpty() ? "none" : String.join("+", keys)),
              "Only these shapes can be scored by likelihood; rename the keys if it is one.");
        });
  }
}
