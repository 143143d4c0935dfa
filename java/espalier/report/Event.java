// SPDX-License-Identifier: Apache-2.0
package espalier.report;

/**
 * Something a user should know happened: a fallback, a repair, a skip, a copy.
 *
 * @param severity how loud it is; a strict run turns a {@code WARNING} into an error
 * @param kind a stable, short, hyphenated name: {@code dead-columns}, {@code copied-verbatim}
 * @param where the tensor, layer, file or line it concerns
 * @param message one sentence for a person
 */
public record Event(Severity severity, String kind, String where, String message) {
  /** INFO is bookkeeping; WARNING is what a careful user would have asked about. */
  public enum Severity {
    INFO,
    WARNING
  }

  public static Event info(String kind, String where, String message) {
    return new Event(Severity.INFO, kind, where, message);
  }

  public static Event warning(String kind, String where, String message) {
    return new Event(Severity.WARNING, kind, where, message);
  }
}
