// SPDX-License-Identifier: Apache-2.0
package espalier.text;

import java.util.Arrays;

/**
 * The text of ids that arrive one at a time, as generation makes them.
 *
 * <p>A character may take several tokens, and a token's text may depend on the one before (a space
 * at its front). So each piece is the difference of two decodings that share the last tokens
 * written, and it is held back while it ends in an unfinished character. Joined, the pieces are the
 * decoding of all ids, if the ids form valid text. Not for several threads at once.
 */
public final class TextStream {
  private static final int REPLACEMENT = 0xFFFD;

  private final Tokenizer tokenizer;
  private final boolean skipSpecial;

  /** Ids from the last piece written on; what stood before cannot change any more. */
  private int[] ids = new int[16];

  private int size;

  /** How many of {@link #ids} are written. */
  private int written;

  /** Starts an empty text; {@code skipSpecial} leaves out special tokens. */
  public TextStream(Tokenizer tokenizer, boolean skipSpecial) {
    this.tokenizer = tokenizer;
    this.skipSpecial = skipSpecial;
  }

  /**
   * Takes ids as read, such as those of a prompt: they are not written, but the text after them
   * begins as it would in their company.
   */
  public void begin(int... context) {
    for (int id : context) {
      push(id);
    }
    int from = Math.max(0, size - 8); // enough to complete any character of four bytes
    System.arraycopy(ids, from, ids, 0, size - from);
    size -= from;
    written = size;
  }

  /** Adds one id and returns the text that is now certain, often one token's, maybe empty. */
  public String append(int id) {
    push(id);
    return piece(false);
  }

  /** Returns what was held back, unfinished characters as U+FFFD. */
  public String finish() {
    return piece(true);
  }

  private void push(int id) {
    if (size == ids.length) {
      ids = Arrays.copyOf(ids, 2 * size);
    }
    ids[size++] = id;
  }

  private String piece(boolean last) {
    if (written == size) {
      return "";
    }
    String before = tokenizer.decode(Arrays.copyOf(ids, written), skipSpecial);
    String after = tokenizer.decode(Arrays.copyOf(ids, size), skipSpecial);
    if (!last && !after.isEmpty() && after.codePointBefore(after.length()) == REPLACEMENT) {
      return "";
    }
    String fresh;
    if (after.startsWith(before)) {
      fresh = after.substring(before.length());
    } else {
      // Bytes that never became a character changed how the tokens before them decode.
      fresh = tokenizer.decode(Arrays.copyOfRange(ids, written, size), skipSpecial);
    }
    if (fresh.isEmpty() && !last) {
      return "";
    }
    System.arraycopy(ids, written, ids, 0, size - written);
    size -= written;
    written = size;
    return fresh;
  }
}
