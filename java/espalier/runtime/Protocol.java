// SPDX-License-Identifier: Apache-2.0
package espalier.runtime;

import espalier.report.EspalierException;
import java.util.Arrays;
import java.util.stream.Collectors;

/** A named rule for turning texts into predictions; a perplexity means nothing without one. */
public enum Protocol {
  /**
   * Each document alone, with the special tokens of its tokenizer, cut to the model's context;
   * every token after the first is predicted.
   */
  DOCS("docs"),
  /**
   * The whole file as one sequence, cut into consecutive windows, a shorter rest dropped; each
   * window alone, every token of it after the first predicted.
   */
  STREAM("stream"),
  /**
   * The rule of llama.cpp's perplexity tool: as {@link #STREAM}, but the first token of every
   * window becomes BOS if the tokenizer adds one, and only tokens after the first of the second
   * half are predicted (255 of 512); the file must fill two windows.
   */
  LLAMA_CPP("llama.cpp");

  private final String label;

  Protocol(String label) {
    this.label = label;
  }

  /** Returns the name users type and reports show. */
  public String label() {
    return label;
  }

  /**
   * Finds a protocol by its label.
   *
   * @throws EspalierException (USAGE) naming the known ones
   */
  public static Protocol named(String label) {
    for (Protocol protocol : values()) {
      if (protocol.label.equals(label)) {
        return protocol;
      }
    }
    String known = Arrays.stream(values()).map(Protocol::label).collect(Collectors.joining(", "));
    throw EspalierException.usage("unknown protocol '" + label + "'", "Use one of " + known + ".");
  }

  @Override
  public String toString() {
    return label;
  }
}
