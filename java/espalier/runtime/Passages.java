// SPDX-License-Identifier: Apache-2.0
package espalier.runtime;

import espalier.report.EspalierException;
import espalier.report.Event;
import espalier.text.Document;
import espalier.text.Samples;
import espalier.text.TextData;
import espalier.text.TokenStream;
import espalier.text.Tokenizer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * What an evaluation predicts: every passage, made from a file under one protocol before anything
 * is computed.
 *
 * @param protocol the rule they were made by
 * @param window tokens of a window; for {@link Protocol#DOCS} the length documents are cut to
 * @param list the passages with at least one prediction, in file order
 * @param tokens how many tokens they have together
 * @param tokenStreamSha256 {@link TokenStream#sha256} of the passages
 * @param events what a report should say about the choice
 */
public record Passages(
    Protocol protocol,
    int window,
    List<Passage> list,
    long tokens,
    String tokenStreamSha256,
    List<Event> events) {
  /** The window of the stream protocols unless one is asked for. */
  public static final int DEFAULT_WINDOW = 512;

  /** The fewest tokens of a window that leave a prediction under every protocol. */
  private static final int LEAST_WINDOW = 4;

  /**
   * Which part of a file is wanted.
   *
   * @param protocol how texts become predictions
   * @param window tokens of a window; 0 for 512 (or the context, when that is shorter), and under
   *     {@link Protocol#DOCS} for the context
   * @param limit the most documents or windows; 0 for all
   */
  public record Choice(Protocol protocol, int window, int limit) {}

  /**
   * Makes the passages of a file.
   *
   * @param tokenizer tells whether BOS is added; null when the model has none
   * @param context the most tokens the model takes
   * @param vocabulary rows of the embedding
   * @throws EspalierException (INPUT) for a token without an embedding row, naming it and its line,
   *     or when nothing is left to predict; (USAGE) for a window that does not fit the context
   */
  public static Passages of(
      TextData data, Tokenizer tokenizer, Choice choice, int context, long vocabulary) {
    if (choice.limit() < 0) {
      throw EspalierException.usage(
          "limit is " + choice.limit() + ", expected 1 or more", "Leave it out to take all.");
    }
    List<Event> events = new ArrayList<>();
    int window = window(choice, context, events);
    List<Passage> list =
        choice.protocol() == Protocol.DOCS
            ? documents(data, window, choice.limit(), vocabulary, events)
            : windows(data, tokenizer, choice, window, vocabulary);
    if (list.isEmpty()) {
      throw EspalierException.input(
          data.file() + " leaves nothing to predict: no text has two tokens",
          "Give a file with longer texts.");
    }
    int[][] ids = list.stream().map(Passage::ids).toArray(int[][]::new);
    long tokens = Arrays.stream(ids).mapToLong(passage -> passage.length).sum();
    return new Passages(
        choice.protocol(),
        window,
        List.copyOf(list),
        tokens,
        TokenStream.sha256(ids),
        List.copyOf(events));
  }

  /** Returns how many tokens are scored. */
  public long predictions() {
    return list.stream().mapToLong(Passage::predictions).sum();
  }

  private static int window(Choice choice, int context, List<Event> events) {
    int asked = choice.window();
    if (asked == 0) {
      if (choice.protocol() == Protocol.DOCS || context >= DEFAULT_WINDOW) {
        return choice.protocol() == Protocol.DOCS ? context : DEFAULT_WINDOW;
      }
      events.add(
          Event.info(
              "window-shortened",
              "window",
              "windows of " + context + " instead of 512 tokens: the model's context is shorter"));
      return context;
    }
    if (asked < LEAST_WINDOW || asked > context) {
      throw EspalierException.usage(
          "window is "
              + asked
              + ", expected "
              + LEAST_WINDOW
              + " to the model's context of "
              + context,
          "Change --window or leave it out.");
    }
    return asked;
  }

  private static List<Passage> documents(
      TextData data, int length, int limit, long vocabulary, List<Event> events) {
    Samples samples = data.documents(limit == 0 ? Integer.MAX_VALUE : limit, length);
    samples.requireRows(vocabulary);
    if (samples.shortened() > 0) {
      events.add(
          Event.info(
              "documents-cut",
              data.file().toString(),
              samples.shortened() + " documents were cut to " + length + " tokens"));
    }
    List<Passage> list = new ArrayList<>();
    for (Document document : samples.documents()) {
      // A single token has nothing before it that could predict it.
      if (document.ids().length > 1) {
        list.add(new Passage(document.ids(), 1));
      }
    }
    return list;
  }

  private static List<Passage> windows(
      TextData data, Tokenizer tokenizer, Choice choice, int window, long vocabulary) {
    boolean halves = choice.protocol() == Protocol.LLAMA_CPP;
    int[] stream = data.joinedStream();
    data.requireRows(stream, vocabulary);
    int least = halves ? 2 : 1;
    if (stream.length / window < least) {
      throw EspalierException.input(
          data.file()
              + " has "
              + stream.length
              + " tokens, protocol "
              + choice.protocol()
              + " needs "
              + least * window,
          "Give a longer text or a smaller --window.");
    }
    int count = stream.length / window;
    if (choice.limit() > 0) {
      count = Math.min(count, choice.limit());
    }
    int bos = halves ? leadingToken(tokenizer) : -1;
    List<Passage> list = new ArrayList<>(count);
    for (int i = 0; i < count; i++) {
      int[] ids = Arrays.copyOfRange(stream, i * window, (i + 1) * window);
      if (bos >= 0) {
        ids[0] = bos;
      }
      list.add(new Passage(ids, halves ? window / 2 + 1 : 1));
    }
    return list;
  }

  /** Returns the token the tokenizer puts before every text, or −1 if it puts none. */
  private static int leadingToken(Tokenizer tokenizer) {
    if (tokenizer == null) {
      return -1;
    }
    int[] plain = tokenizer.encode("a", false);
    int[] full = tokenizer.encode("a", true);
    boolean leads = full.length > plain.length && (plain.length == 0 || full[0] != plain[0]);
    return leads ? full[0] : -1;
  }
}
