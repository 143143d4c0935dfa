// SPDX-License-Identifier: Apache-2.0
package espalier.text;

import espalier.report.EspalierException;
import espalier.report.Event;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Supplier;

/**
 * The documents read from a file, and what was left out.
 *
 * @param documents in file order
 * @param available how many the file holds
 * @param requested how many were asked for
 * @param shortened how many of {@code documents} were cut to the length asked for
 * @param file where they come from
 * @param tokenizer names tokens in messages, gives null for a model without one; not owned
 */
public record Samples(
    List<Document> documents,
    long available,
    int requested,
    int shortened,
    Path file,
    Supplier<Tokenizer> tokenizer) {

  /** Returns the ids of every document, in order. */
  public int[][] ids() {
    return documents.stream().map(Document::ids).toArray(int[][]::new);
  }

  /** Returns how many tokens the documents have together. */
  public long tokens() {
    return documents.stream().mapToLong(document -> document.ids().length).sum();
  }

  /** Returns {@link TokenStream#sha256} of the documents. */
  public String sha256() {
    return TokenStream.sha256(ids());
  }

  /**
   * Refuses a token that the embedding has no row for.
   *
   * @param embeddingRows of the model
   * @throws EspalierException INPUT naming the token and its line
   */
  public void requireRows(long embeddingRows) {
    for (Document document : documents) {
      for (int id : document.ids()) {
        if (id < 0 || id >= embeddingRows) {
          throw missingRow(file, document.line(), id, embeddingRows, tokenizer.get());
        }
      }
    }
  }

  static EspalierException missingRow(
      Path file, int line, int id, long embeddingRows, Tokenizer tokenizer) {
    boolean known = tokenizer != null && id >= 0 && id < tokenizer.vocabularySize();
    String text = known ? tokenizer.decode(new int[] {id}, false) : "";
    String token = text.isEmpty() ? "token " + id : "token " + id + " ('" + text + "')";
    return EspalierException.input(
        file
            + ", line "
            + line
            + ": "
            + token
            + " has no row in the embedding, which has "
            + embeddingRows,
        "take the tokenizer and the checkpoint from the same model, or leave this text out");
  }

  /** Returns what a report should say about the choice of documents. */
  public List<Event> events() {
    List<Event> events = new ArrayList<>();
    if (documents.size() < requested) {
      String message = requested + " documents were asked for, the file holds " + available;
      events.add(Event.warning("few-documents", file.toString(), message));
    }
    if (shortened > 0) {
      String message = shortened + " of " + documents.size() + " documents were cut at the end";
      events.add(Event.info("documents-cut", file.toString(), message));
    }
    return events;
  }
}
