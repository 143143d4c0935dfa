// SPDX-License-Identifier: Apache-2.0
package espalier.report;

/**
 * The one exception of the library: what failed, in which file, tensor or line, and one thing to
 * try. Its {@link Kind} is the exit code of the command line.
 */
public final class EspalierException extends RuntimeException {
  /** Who has to act, and the exit code that says so. */
  public enum Kind {
    /** The run failed for a reason of its own (a verification that did not hold, a bug). */
    FAILED(1),
    /** The request is wrong: an option, a recipe, a value. */
    USAGE(2),
    /** A file is unreadable, malformed or inconsistent. */
    INPUT(3),
    /** The input is sound but this version cannot do it: a family, a scheme, a format. */
    UNSUPPORTED(4),
    /** Memory, disk or device gave out. */
    RESOURCE(5),
    /** The caller cancelled. */
    INTERRUPTED(130);

    private final int exitCode;

    Kind(int exitCode) {
      this.exitCode = exitCode;
    }

    /** Returns the process exit status of this kind. */
    public int exitCode() {
      return exitCode;
    }
  }

  private final Kind kind;
  private final String advice;

  /** Creates an exception; {@code advice} is one thing to try, or empty. */
  public EspalierException(Kind kind, String message, String advice, Throwable cause) {
    super(message, cause);
    this.kind = kind;
    this.advice = advice;
  }

  public EspalierException(Kind kind, String message, String advice) {
    this(kind, message, advice, null);
  }

  public EspalierException(Kind kind, String message) {
    this(kind, message, "", null);
  }

  /** A wrong request: exit code 2. */
  public static EspalierException usage(String message, String advice) {
    return new EspalierException(Kind.USAGE, message, advice);
  }

  /** An unreadable or inconsistent input: exit code 3. */
  public static EspalierException input(String message, String advice) {
    return new EspalierException(Kind.INPUT, message, advice);
  }

  /** A sound input that this version cannot handle: exit code 4. */
  public static EspalierException unsupported(String message, String advice) {
    return new EspalierException(Kind.UNSUPPORTED, message, advice);
  }

  /** Memory, disk or device exhausted: exit code 5. */
  public static EspalierException resource(String message, String advice, Throwable cause) {
    return new EspalierException(Kind.RESOURCE, message, advice, cause);
  }

  /** A check of ours that did not hold: exit code 1. */
  public static EspalierException failed(String message, String advice) {
    return new EspalierException(Kind.FAILED, message, advice);
  }

  public Kind kind() {
    return kind;
  }

  /** Returns one thing to try, or an empty string. */
  public String advice() {
    return advice;
  }
}
