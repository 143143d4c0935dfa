// SPDX-License-Identifier: Apache-2.0
package espalier.model;

import java.util.List;

/**
 * Channels that a block carries from one module straight into others, declared once and used by
 * every method that works across linears: smoothing, activation-aware scaling, rotation, structured
 * pruning.
 *
 * <p>Output feature {@code from + i} of the source is input feature i of the targets, i &lt; to −
 * from; for {@code HEADS} and {@code VALUE} with fewer key heads than heads, through {@link
 * #targetHeads}.
 *
 * @param kind what lies between source and targets
 * @param source canonical name of a norm (without ".weight") or linear
 * @param from first output feature of the source that takes part
 * @param to past the last
 * @param targets linears that read the channels as their inputs
 * @param together linears whose outputs are multiplied with or scored against the source's: the
 *     gate of an up projection, the keys of a query; what removes a channel of one removes it from
 *     all
 * @param heads heads of the block's attention, 1 where heads play no part
 * @param keyHeads key heads, 1 where heads play no part
 */
public record Coupling(
    Kind kind,
    String source,
    long from,
    long to,
    List<String> targets,
    List<String> together,
    int heads,
    int keyHeads) {
  /** What lies between the source and its targets. */
  public enum Kind {
    /** A norm's weight: channel c times s, columns c of the targets by 1/s, leaves y unchanged. */
    NORM(true),
    /** Values into the attention output, mixed over tokens only: scaling commutes. */
    VALUE(true),
    /** The factor of a gated activation into the down projection: scaling commutes. */
    GATED(true),
    /** Through an activation function: channels may be removed, but scaling does not commute. */
    ACTIVATED(false),
    /** Query heads (with keys and values) into the attention output: whole heads may be removed. */
    HEADS(false);

    private final boolean scales;

    Kind(boolean scales) {
      this.scales = scales;
    }

    /** Returns whether a positive factor on a source channel may move to the targets' columns. */
    public boolean scales() {
      return scales;
    }
  }

  public Coupling {
    targets = List.copyOf(targets);
    together = List.copyOf(together);
  }

  /** Returns how many target heads read one head of the source. */
  public int targetHeads() {
    return heads / keyHeads;
  }

  static Coupling plain(Kind kind, String source, long width, List<String> targets) {
    return new Coupling(kind, source, 0, width, targets, List.of(), 1, 1);
  }
}
