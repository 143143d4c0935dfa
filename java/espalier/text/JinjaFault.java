// SPDX-License-Identifier: Apache-2.0
package espalier.text;

import espalier.report.EspalierException;

/** The three ways a chat template ends badly, each with the template's name and a line. */
final class JinjaFault {
  private JinjaFault() {}

  /** The template is not well formed. */
  static EspalierException syntax(String origin, int line, String message) {
    return EspalierException.input(
        "chat template " + origin + ", line " + line + ": " + message,
        "check the template with the tool that wrote it, or give texts under the key text");
  }

  /** The template is Jinja, but more of it than this engine reads. */
  static EspalierException unsupported(String origin, int line, String construct) {
    return EspalierException.unsupported(
        "chat template " + origin + ", line " + line + ": " + construct + " is not supported",
        "render the conversations elsewhere and give them under the key text");
  }

  /** The template cannot be rendered with these messages. */
  static EspalierException rendering(String origin, int line, String message) {
    return EspalierException.input(
        "chat template " + origin + ", line " + line + ": " + message,
        "compare the roles and keys of the messages with what the template asks for");
  }

  /** A value was used in a way its type does not allow; the runtime adds where. */
  static final class Misuse extends RuntimeException {
    private static final long serialVersionUID = 1L;
    private final boolean unsupported;

    private Misuse(String message, boolean unsupported) {
      super(message, null, false, false);
      this.unsupported = unsupported;
    }

    static Misuse of(String message) {
      return new Misuse(message, false);
    }

    static Misuse unsupported(String construct) {
      return new Misuse(construct, true);
    }

    EspalierException at(String origin, int line) {
      return unsupported
          ? JinjaFault.unsupported(origin, line, getMessage())
          : rendering(origin, line, getMessage());
    }
  }
}
