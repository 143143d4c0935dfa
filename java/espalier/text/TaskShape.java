// SPDX-License-Identifier: Apache-2.0
package espalier.text;

import com.fasterxml.jackson.databind.JsonNode;
import espalier.report.EspalierException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.stream.Collectors;

/**
 * The shapes a row of a task may have, and the prompt each stands for: those of EleutherAI's
 * lm-evaluation-harness with no examples given.
 */
public enum TaskShape {
  /**
   * A question and its answers (ARC, PIQA): {@code query + "\nAnswer:"}, then {@code " " + one}.
   */
  QUESTION("{query}\\nAnswer:", "query", "choices", "gold") {
    @Override
    TaskItem read(Row row) {
      String context = row.text("query") + "\nAnswer:";
      return item(row, context, row.texts("choices"), row.index("gold", row.count("choices")));
    }
  },

  /**
   * A text and its endings (HellaSwag): {@code ctx}, then {@code " " + one}, both freed of the
   * marks of the captions they come from. With {@code activity_label}, {@code ctx_a} and {@code
   * ctx_b} the context is made of these.
   */
  ENDING("{ctx}", "ctx", "endings", "label") {
    @Override
    TaskItem read(Row row) {
      String context = row.text("ctx");
      if (row.has("activity_label") && row.has("ctx_a") && row.has("ctx_b")) {
        String second = row.text("ctx_b");
        String capital = second.isEmpty() ? "" : capitalized(second);
        context = row.text("activity_label") + ": " + row.text("ctx_a") + " " + capital;
      }
      List<String> endings = row.texts("endings").stream().map(TaskShape::withoutMarks).toList();
      return item(row, withoutMarks(context), endings, row.index("label", endings.size()));
    }
  },

  /** One continuation after each of several contexts (WinoGrande's partial scoring). */
  CONTEXT("{context_options}", "context_options", "continuation", "gold") {
    @Override
    TaskItem read(Row row) {
      String continuation = row.text("continuation").strip();
      List<TaskItem.Choice> choices =
          row.texts("context_options").stream()
              .map(context -> new TaskItem.Choice(context, " " + continuation, continuation))
              .toList();
      return new TaskItem("", choices, row.index("gold", choices.size()), row.line());
    }
  },

  /** A sentence and the same made wrong (BLiMP), each as it stands after the text's start. */
  PAIR("", "good", "bad") {
    @Override
    TaskItem read(Row row) {
      List<TaskItem.Choice> choices = new ArrayList<>();
      for (String sentence : List.of(row.text("good"), row.text("bad"))) {
        choices.add(new TaskItem.Choice("", sentence, sentence));
      }
      return new TaskItem(row.has("uid") ? row.text("uid") : "", choices, 0, row.line());
    }
  },

  /** A text whose last word is asked for (LAMBADA); words are parted by single spaces. */
  LAST_WORD("{text without its last word}", "text") {
    @Override
    TaskItem read(Row row) {
      String text = row.text("text");
      int space = text.lastIndexOf(' ');
      if (space < 0) {
        throw row.wrong("text has a single word", "a last word needs words before it");
      }
      String word = text.substring(space + 1);
      if (word.isEmpty()) {
        throw row.wrong("text ends in a space", "end it with the word that is asked for");
      }
      TaskItem.Choice choice = new TaskItem.Choice(text.substring(0, space), " " + word, word);
      return new TaskItem("", List.of(choice), 0, row.line());
    }
  };

  private final String template;
  private final List<String> keys;

  TaskShape(String template, String... keys) {
    this.template = template;
    this.keys = List.of(keys);
  }

  /** Returns the prompt, keys in braces; empty when nothing is given. */
  public String template() {
    return template;
  }

  /** Returns the keys a row must have. */
  public List<String> keys() {
    return keys;
  }

  /** Makes an item of one row; errors name the line. */
  abstract TaskItem read(Row row);

  /** Returns the shape whose keys a row has, if one. */
  static Optional<TaskShape> of(JsonNode row) {
    return Arrays.stream(values())
        .filter(shape -> shape.keys.stream().allMatch(row::hasNonNull))
        .findFirst();
  }

  /** Returns every shape's keys in words. */
  static String known() {
    return Arrays.stream(values())
        .map(shape -> String.join("+", shape.keys))
        .collect(Collectors.joining(", "));
  }

  private static TaskItem item(Row row, String context, List<String> texts, int gold) {
    List<TaskItem.Choice> choices =
        texts.stream().map(text -> new TaskItem.Choice(context, " " + text, text)).toList();
    return new TaskItem("", choices, gold, row.line());
  }

  /** The captions' own marks: " [title]" is a full stop, other brackets are remarks. */
  private static String withoutMarks(String text) {
    return text.strip().replace(" [title]", ". ").replaceAll("\\[.*?\\]", "").replace("  ", " ");
  }

  private static String capitalized(String text) {
    int first = text.offsetByCodePoints(0, 1);
    return text.substring(0, first).toUpperCase(java.util.Locale.ROOT)
        + text.substring(first).toLowerCase(java.util.Locale.ROOT);
  }

  /**
   * A row being read.
   *
   * @param where file and line, for errors
   * @param line from 1
   * @param node a JSON object
   */
  record Row(String where, int line, JsonNode node) {
    boolean has(String key) {
      return node.hasNonNull(key);
    }

    String text(String key) {
      if (!node.get(key).isTextual()) {
        throw wrong(key + " is not a string", "write it as one");
      }
      return node.get(key).textValue();
    }

    int count(String key) {
      return node.get(key).size();
    }

    List<String> texts(String key) {
      JsonNode list = node.get(key);
      if (!list.isArray() || list.size() < 2) {
        throw wrong(key + " is not a list of two or more", "give every choice as a string");
      }
      List<String> texts = new ArrayList<>();
      for (JsonNode element : list) {
        if (!element.isTextual() || element.textValue().isBlank()) {
          throw wrong(key + " holds " + element + ", not a text", "give every choice as a string");
        }
        texts.add(element.textValue());
      }
      return texts;
    }

    /** Returns an index below {@code count}; upstream files also spell it as a string. */
    int index(String key, int count) {
      JsonNode value = node.get(key);
      boolean digits = value.isTextual() && value.textValue().matches("[0-9]{1,3}");
      if (!digits && !(value.isIntegralNumber() && value.canConvertToInt())) {
        throw wrong(key + " is " + value + ", not an index", "count the choices from 0");
      }
      int index = digits ? Integer.parseInt(value.textValue()) : value.intValue();
      if (index < 0 || index >= count) {
        throw wrong(
            key + " is " + index + ", but there are " + count + " choices",
            "count the choices from 0");
      }
      return index;
    }

    EspalierException wrong(String what, String advice) {
      return EspalierException.input(where + ": " + what, advice);
    }
  }
}
