// SPDX-License-Identifier: Apache-2.0
package espalier.runtime;

import espalier.report.Event;
import java.util.List;

/**
 * A finished continuation.
 *
 * @param promptIds what was given
 * @param ids what was generated; ends with the stop token when there was one
 * @param finish why it ended
 * @param events what happened on the way that a user should know
 */
public record Generation(
    List<Integer> promptIds, List<Integer> ids, Finish finish, List<Event> events) {
  public Generation {
    promptIds = List.copyOf(promptIds);
    ids = List.copyOf(ids);
    events = List.copyOf(events);
  }

  /** Why a continuation ended. */
  public enum Finish {
    /** As many tokens as asked for. */
    LENGTH,
    /** The model gave a stop token, the last of the ids. */
    STOP,
    /** The model's context is full. */
    CONTEXT,
    /** The caller cancelled. */
    CANCELLED
  }
}
