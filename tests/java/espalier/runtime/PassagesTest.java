// SPDX-License-Identifier: Apache-2.0
package espalier.runtime;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import espalier.report.EspalierException;
import espalier.report.EspalierException.Kind;
import espalier.runtime.Passages.Choice;
import espalier.text.TextData;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class PassagesTest {
  private static final int CONTEXT = 16;
  private static final int VOCABULARY = 100;

  @TempDir Path folder;

  /** A file of token ids, one document for each length, counting up over the whole file. */
  private TextData ids(int... lengths) throws IOException {
    StringBuilder lines = new StringBuilder();
    int next = 0;
    for (int length : lengths) {
      int from = next;
      String list =
          IntStream.range(from, from + length)
              .mapToObj(i -> String.valueOf(i % VOCABULARY))
              .collect(Collectors.joining(","));
      lines.append("{\"input_ids\": [").append(list).append("]}\n");
      next += length;
    }
    Path file = Files.writeString(folder.resolve("ids.jsonl"), lines);
    return TextData.open(file, null, () -> null);
  }

  private static Passages make(TextData data, Protocol protocol, int window, int limit) {
    return Passages.of(data, null, new Choice(protocol, window, limit), CONTEXT, VOCABULARY);
  }

  @Test
  void documentsStandAloneAndAreCutToTheContext() throws IOException {
    Passages passages = make(ids(3, 20, 1, 2), Protocol.DOCS, 0, 0);
    List<Integer> lengths = passages.list().stream().map(p -> p.ids().length).toList();
    assertEquals(List.of(3, CONTEXT, 2), lengths);
    assertEquals(2 + 15 + 1, passages.predictions());
    assertEquals(3 + 16 + 2, passages.tokens());
    assertEquals(CONTEXT, passages.window());
    assertEquals("documents-cut", passages.events().get(0).kind());
  }

  @Test
  void theLimitCountsDocumentsAsTheyStandInTheFile() throws IOException {
    assertEquals(1, make(ids(1, 4, 5), Protocol.DOCS, 0, 2).list().size());
  }

  @Test
  void windowsAreConsecutiveAndTheRestIsDropped() throws IOException {
    Passages passages = make(ids(5, 18), Protocol.STREAM, 8, 0);
    assertEquals(2, passages.list().size());
    assertArrayEquals(new int[] {8, 9, 10, 11, 12, 13, 14, 15}, passages.list().get(1).ids());
    assertEquals(2 * 7, passages.predictions());
    assertEquals(1, make(ids(23), Protocol.STREAM, 8, 1).list().size());
  }

  @Test
  void theDefaultWindowIsNoLongerThanTheContext() throws IOException {
    Passages passages = make(ids(40), Protocol.STREAM, 0, 0);
    assertEquals(CONTEXT, passages.window());
    assertEquals("window-shortened", passages.events().get(0).kind());
  }

  @Test
  void theRuleOfLlamaCppScoresWhatFollowsTheFirstOfTheSecondHalf() throws IOException {
    Passages passages = make(ids(16), Protocol.LLAMA_CPP, 8, 0);
    assertEquals(5, passages.list().get(0).firstPredicted());
    assertEquals(2 * 3, passages.predictions());
    // Its own window: 255 of 512.
    Passages whole =
        Passages.of(ids(1024), null, new Choice(Protocol.LLAMA_CPP, 0, 0), 512, VOCABULARY);
    assertEquals(2 * 255, whole.predictions());
  }

  @Test
  void theHashNamesTheTokens() throws IOException {
    String hash = make(ids(5, 6), Protocol.DOCS, 0, 0).tokenStreamSha256();
    assertEquals(64, hash.length());
    assertEquals(hash, make(ids(5, 6), Protocol.DOCS, 0, 0).tokenStreamSha256());
    assertNotEquals(hash, make(ids(5, 7), Protocol.DOCS, 0, 0).tokenStreamSha256());
  }

  @Test
  void aTokenWithoutARowIsNamedWithItsLine() throws IOException {
    Path file = folder.resolve("odd.jsonl");
    Files.writeString(file, "{\"input_ids\": [1, 2]}\n\n{\"input_ids\": [1, 100]}\n");
    TextData data = TextData.open(file, null, () -> null);
    for (Protocol protocol : List.of(Protocol.DOCS, Protocol.STREAM)) {
      EspalierException refusal =
          assertThrows(EspalierException.class, () -> make(data, protocol, 4, 0));
      assertEquals(Kind.INPUT, refusal.kind());
      assertTrue(refusal.getMessage().contains("line 3"), refusal.getMessage());
      assertTrue(refusal.getMessage().contains("100"), refusal.getMessage());
    }
  }

  @Test
  void nothingToPredictIsAnError() throws IOException {
    TextData short1 = ids(1, 1);
    EspalierException docs =
        assertThrows(EspalierException.class, () -> make(short1, Protocol.DOCS, 0, 0));
    assertTrue(docs.getMessage().contains("nothing to predict"), docs.getMessage());
    assertEquals(Kind.INPUT, docs.kind());
    TextData seven = ids(7);
    assertThrows(EspalierException.class, () -> make(seven, Protocol.STREAM, 8, 0));
    TextData fifteen = ids(15);
    assertThrows(EspalierException.class, () -> make(fifteen, Protocol.LLAMA_CPP, 8, 0));
  }

  @Test
  void wrongRequestsAreUsageErrors() throws IOException {
    TextData data = ids(40);
    for (int[] wrong : new int[][] {{17, 0}, {-1, 0}, {3, 0}, {8, -1}}) {
      EspalierException refusal =
          assertThrows(
              EspalierException.class, () -> make(data, Protocol.STREAM, wrong[0], wrong[1]));
      assertEquals(Kind.USAGE, refusal.kind());
    }
    assertEquals(
        Kind.USAGE, assertThrows(EspalierException.class, () -> Protocol.named("wiki")).kind());
  }

  @Test
  void logitsAreTakenInPiecesThatCoverEveryPrediction() {
    Passage passage = new Passage(new int[300], 7);
    long vocabulary = (1 << 22) / 100;
    int covered = 6;
    for (RowRange range : RowRange.of(passage, vocabulary)) {
      assertEquals(covered, range.from());
      assertTrue(range.to() - range.from() <= 100);
      covered = range.to();
    }
    assertEquals(299, covered);
    assertEquals(1, RowRange.of(new Passage(new int[2], 1), 1L << 40).size());
  }
}
