// SPDX-License-Identifier: Apache-2.0
package espalier.text;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import espalier.report.EspalierException;
import java.util.Arrays;
import java.util.Optional;

/**
 * Turns a choice into the ids that are given and the ids that are scored, as lm-evaluation-harness
 * does: white space at the end of the context belongs to the continuation; the context and the
 * whole are encoded, and what the whole has past the context's length is scored. So a token that
 * reaches over the border is scored too, and the context's last token may differ from the whole's.
 *
 * <p>What the tokenizer puts before a text (BOS) is given; what it puts after one (EOS) is not
 * there, since the text goes on. A tokenizer that puts nothing before a text leaves an empty
 * context without anything to predict from: then its BOS, else its EOS is given.
 */
public final class TaskTokens {
  private final Tokenizer tokenizer;
  private final TaskData data;
  private final int[] leading;
  private final int prefix;
  private final long embeddingRows;

  /**
   * A choice in ids.
   *
   * @param context at least one
   * @param continuation at least one
   */
  public record Pair(int[] context, int[] continuation) {
    /** Returns both, one after the other. */
    public int[] whole() {
      int[] ids = Arrays.copyOf(context, context.length + continuation.length);
      System.arraycopy(continuation, 0, ids, context.length, continuation.length);
      return ids;
    }
  }

  /**
   * Prepares to encode a task.
   *
   * @param settings tokenizer_config.json, which names BOS and EOS; null when there is none
   * @param embeddingRows of the model; a token past it is refused
   */
  public TaskTokens(Tokenizer tokenizer, TaskData data, ObjectNode settings, long embeddingRows) {
    this.tokenizer = tokenizer;
    this.data = data;
    this.leading = leading(tokenizer);
    this.prefix =
        leading.length > 0
            ? leading[0]
            : special(tokenizer, settings, "bos_token")
                .or(() -> special(tokenizer, settings, "eos_token"))
                .orElse(-1);
    this.embeddingRows = embeddingRows;
  }

  /**
   * Returns a choice in ids.
   *
   * @throws EspalierException (INPUT) naming the line, when nothing is left to score, when there is
   *     nothing to predict from, or for a token without an embedding row
   */
  public Pair encode(TaskItem item, TaskItem.Choice choice) {
    String context = choice.context().stripTrailing();
    String continuation = choice.context().substring(context.length()) + choice.continuation();
    int[] given;
    int[] scored;
    if (context.isEmpty()) {
      if (prefix < 0) {
        throw wrong(
            item,
            "nothing to predict the first token from: the tokenizer has neither BOS nor EOS",
            "Add bos_token to tokenizer_config.json.");
      }
      given = new int[] {prefix};
      scored = tokenizer.encode(continuation, false);
    } else {
      given = encode(context);
      int[] whole = encode(context + continuation);
      scored = Arrays.copyOfRange(whole, Math.min(given.length, whole.length), whole.length);
    }
    if (scored.length == 0) {
      throw wrong(
          item, "'" + choice.text() + "' adds no token to its context", "Leave this row out.");
    }
    Pair pair = new Pair(given, scored);
    for (int id : pair.whole()) {
      if (id < 0 || id >= embeddingRows) {
        throw Samples.missingRow(data.file(), item.line(), id, embeddingRows, tokenizer);
      }
    }
    return pair;
  }

  private EspalierException wrong(TaskItem item, String what, String advice) {
    return EspalierException.input(data.file() + ", line " + item.line() + ": " + what, advice);
  }

  private int[] encode(String text) {
    int[] plain = tokenizer.encode(text, false);
    int[] ids = Arrays.copyOf(leading, leading.length + plain.length);
    System.arraycopy(plain, 0, ids, leading.length, plain.length);
    return ids;
  }

  /** Returns the ids the tokenizer puts before every text. */
  private static int[] leading(Tokenizer tokenizer) {
    int[] plain = tokenizer.encode("a", false);
    int[] full = tokenizer.encode("a", true);
    for (int count = 0; count + plain.length <= full.length; count++) {
      if (Arrays.equals(full, count, count + plain.length, plain, 0, plain.length)) {
        return Arrays.copyOf(full, count);
      }
    }
    return new int[0];
  }

  private static Optional<Integer> special(Tokenizer tokenizer, ObjectNode settings, String key) {
    if (settings == null) {
      return Optional.empty();
    }
    JsonNode value = settings.path(key);
    String token = value.isObject() ? value.path("content").asText("") : value.asText("");
    if (value.isNull() || token.isEmpty()) {
      return Optional.empty();
    }
    int[] ids = tokenizer.encode(token, false);
    return ids.length == 1 ? Optional.of(ids[0]) : Optional.empty();
  }
}
