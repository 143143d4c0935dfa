// SPDX-License-Identifier: Apache-2.0
package espalier.text;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import espalier.Shared;
import espalier.report.EspalierException;
import espalier.report.EspalierException.Kind;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Task files: what their rows stand for, and which rows are refused. */
class TaskDataTest {
  private static final String PIQA = "{\"query\": \"Question: q\", \"choices\": [\"x\", \"y\"], ";

  @TempDir Path folder;

  private String file(String name, String text) throws IOException {
    return Files.writeString(folder.resolve(name), text).toString();
  }

  private EspalierException refusal(String task, Path dir) {
    return assertThrows(EspalierException.class, () -> TaskData.read(task, dir, 0));
  }

  @Test
  void aQuestionAsksForItsAnswer() throws IOException {
    TaskData data = TaskData.read(file("own.jsonl", PIQA + "\"gold\": 1}\n\n"), null, 0);
    assertEquals("own", data.name());
    TaskItem item = data.items().get(0);
    assertEquals(1, item.gold());
    assertEquals(new TaskItem.Choice("Question: q\nAnswer:", " y", "y"), item.choices().get(1));
  }

  @Test
  void captionsLoseTheirMarks() throws IOException {
    // The expected strings follow from the four steps that lm-evaluation-harness documents in code.
    String row =
        "{\"ctx\": \"How to swim [title] Get in. [step] Now  go\", \"endings\": [\"[a] in\","
            + " \" out \"], \"label\": \"1\"}";
    TaskItem item = TaskData.read(file("h.jsonl", row), null, 0).items().get(0);
    assertEquals("How to swim. Get in. Now go", item.choices().get(0).context());
    assertEquals(" out", item.choices().get(1).continuation());
    assertEquals(1, item.gold());
    String parts =
        "{\"activity_label\": \"Diving\", \"ctx_a\": \"A man.\", \"ctx_b\": \"he Jumps\", \"ctx\":"
            + " \"A man. he Jumps\", \"endings\": [\"in\", \"out\"], \"label\": 0}";
    assertEquals(
        "Diving: A man. He jumps",
        TaskData.read(file("p.jsonl", parts), null, 0).items().get(0).choices().get(0).context());
  }

  @Test
  void theLastWordIsAskedForWithItsSpace() throws IOException {
    TaskItem item =
        TaskData.read(file("l.jsonl", "{\"text\": \"a b\\n c\"}"), null, 0).items().get(0);
    assertEquals(List.of(new TaskItem.Choice("a b\n", " c", "c")), item.choices());
  }

  @Test
  void aLimitCountsInEveryGroup() throws IOException {
    StringBuilder rows = new StringBuilder();
    for (String uid : List.of("x", "x", "y", "x", "y")) {
      rows.append("{\"uid\": \"" + uid + "\", \"good\": \"g\", \"bad\": \"b\"}\n");
    }
    file("blimp_5.jsonl", rows.toString());
    TaskData data = TaskData.read("blimp", folder, 1);
    assertEquals(List.of(1, 3), data.items().stream().map(TaskItem::line).toList());
    assertEquals(5, data.available());
  }

  @Test
  void everySharedTaskIsRead() {
    Path shared = Shared.path("data");
    for (String task : List.of("arc_easy", "piqa", "hellaswag", "winogrande")) {
      assertEquals(200, TaskData.read(task, shared, 0).items().size(), task);
    }
    assertEquals(500, TaskData.read("lambada", shared, 0).items().size());
    TaskData blimp = TaskData.read("blimp", shared, 0);
    assertEquals(67 * 20, blimp.items().size());
    assertEquals(67, blimp.items().stream().map(TaskItem::group).distinct().count());
  }

  @Test
  void anotherShapeIsRefusedByItsKeys() {
    Path gsm = Shared.path("data", "gsm8k_test200.jsonl");
    EspalierException e = refusal(gsm.toString(), null);
    assertEquals(Kind.INPUT, e.kind());
    assertTrue(e.getMessage().contains("line 1") && e.getMessage().contains("question+answer"));
    assertTrue(e.getMessage().contains("query+choices+gold"), e.getMessage());
  }

  @Test
  void aMisspeltTaskIsRefusedWithTheKnownOnes() {
    EspalierException e = refusal("arc_esay", folder);
    assertEquals(Kind.USAGE, e.kind());
    assertTrue(e.getMessage().contains("arc_esay") && e.advice().contains("arc_easy"));
    assertEquals(Kind.USAGE, refusal("piqa", null).kind());
    assertEquals(Kind.INPUT, refusal("piqa", folder).kind());
    assertEquals(Kind.INPUT, refusal("piqa", folder.resolve("missing")).kind());
    assertEquals(Kind.INPUT, refusal(folder.resolve("no.jsonl").toString(), null).kind());
  }

  @Test
  void twoFilesOfOneTaskAreAQuestion() throws IOException {
    file("piqa.jsonl", PIQA + "\"gold\": 0}");
    file("piqa_200.jsonl", PIQA + "\"gold\": 0}");
    assertTrue(refusal("piqa", folder).getMessage().contains("more than one"));
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      textBlock =
          """
          \\n\\n                                                 | holds no row
          {"good": "a", "bad": 3}                                | bad is not a string
          {"good": "a", "bad": "b"}\\n{"text": "a b"}            | line 2: looked for
          [1]                                                    | not a JSON object
          {"good"                                                | not JSON
          {}                                                     | found none
          {"text": "word"}                                       | single word
          {"text": "two "}                                       | ends in a space
          {"query": "q", "choices": ["a"], "gold": 0}            | two or more
          {"query": "q", "choices": ["a", ""], "gold": 0}        | not a text
          {"query": "q", "choices": ["a", "b"], "gold": 2}       | gold is 2
          {"query": "q", "choices": ["a", "b"], "gold": -1}      | gold is -1
          {"query": "q", "choices": ["a", "b"], "gold": 0.5}     | not an index
          {"query": "q", "choices": ["a", "b"], "gold": "A"}     | not an index
          {"ctx": "", "endings": ["a", "b"], "label": ""}        | not an index
          {"context_options": "x", "continuation": "", "gold": 0} | two or more
          """)
  void aRowThatIsNotWhatItShouldBeIsNamed(String text, String message) throws IOException {
    String task = file("bad.jsonl", text.replace("\\n", "\n"));
    EspalierException e = refusal(task, null);
    assertEquals(Kind.INPUT, e.kind());
    assertTrue(e.getMessage().contains(message), e.getMessage());
    assertTrue(!e.advice().isEmpty());
  }

  @Test
  void anEmptyFileIsRefused() throws IOException {
    assertTrue(refusal(file("e.jsonl", ""), null).getMessage().contains("holds no row"));
  }

  @Test
  void spacesAtTheEndOfTheContextBelongToTheContinuation() throws IOException {
    TaskData data = TaskData.read(file("w.jsonl", "{\"text\": \"a  b\"}"), null, 0);
    TaskItem item = data.items().get(0);
    assertEquals("a ", item.choices().get(0).context());
    try (Tokenizer tokenizer = Tokenizer.open(TinyTokenizer.write(folder.resolve("t")))) {
      TaskTokens tokens = new TaskTokens(tokenizer, data, null, 265);
      TaskTokens.Pair pair = tokens.encode(item, item.choices().get(0));
      assertArrayEquals(new int[] {1, TinyTokenizer.SPACE_A}, pair.context());
      // "▁a▁▁b" after "▁a": two spaces and the word.
      assertArrayEquals(
          new int[] {TinyTokenizer.SPACE, TinyTokenizer.SPACE, TinyTokenizer.B},
          pair.continuation());
    }
  }

  @Test
  void aTokenOverTheBorderIsScoredWithWhatFollowsTheContext() throws IOException {
    String row = "{\"context_options\": [\"a\", \"b\"], \"continuation\": \"b\", \"gold\": 0}";
    TaskData data = TaskData.read(file("m.jsonl", row), null, 0);
    try (Tokenizer tokenizer = Tokenizer.open(TinyTokenizer.write(folder.resolve("t")))) {
      TaskTokens tokens = new TaskTokens(tokenizer, data, null, 265);
      TaskItem item = data.items().get(0);
      TaskItem.Choice merged = new TaskItem.Choice("a a", "b b", "b b");
      // whole: <s> ▁a ▁ab ▁ b; context: <s> ▁a ▁a
      TaskTokens.Pair pair = tokens.encode(item, merged);
      assertArrayEquals(
          new int[] {1, TinyTokenizer.SPACE_A, TinyTokenizer.SPACE_A}, pair.context());
      assertArrayEquals(new int[] {TinyTokenizer.SPACE, TinyTokenizer.B}, pair.continuation());
      TaskItem.Choice swallowed = new TaskItem.Choice("a", "b", "b");
      assertTrue(
          assertThrows(EspalierException.class, () -> tokens.encode(item, swallowed))
              .getMessage()
              .contains("adds no token"));
      TaskTokens.Pair sentence = tokens.encode(item, new TaskItem.Choice("", "ab", "ab"));
      assertArrayEquals(new int[] {1}, sentence.context());
      assertArrayEquals(new int[] {TinyTokenizer.SPACE_AB}, sentence.continuation());
      TaskTokens narrow = new TaskTokens(tokenizer, data, null, 262);
      assertThrows(
          EspalierException.class, () -> narrow.encode(item, new TaskItem.Choice("b", " a", "a")));
    }
  }
}
