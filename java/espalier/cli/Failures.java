// SPDX-License-Identifier: Apache-2.0
package espalier.cli;

import espalier.report.EspalierException;
import espalier.report.EspalierException.Kind;
import java.io.IOException;
import java.io.PrintStream;
import java.io.UncheckedIOException;
import java.util.List;
import java.util.Locale;
import picocli.CommandLine;
import picocli.CommandLine.IExecutionExceptionHandler;
import picocli.CommandLine.IParameterExceptionHandler;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.ParseResult;
import picocli.CommandLine.UnmatchedArgumentException;

/** Turns whatever went wrong into one message, one thing to try and an exit code. */
final class Failures implements IExecutionExceptionHandler, IParameterExceptionHandler {
  private static final String REPORT = "Run again with --debug and report what it prints.";

  private final PrintStream err;

  Failures(PrintStream err) {
    this.err = err;
  }

  /** A command line that does not parse: exit code 2. */
  @Override
  public int handleParseException(ParameterException e, String[] words) {
    CommandLine command = e.getCommandLine();
    String name = command.getCommandSpec().qualifiedName();
    String advice = name + " --help";
    if (e instanceof UnmatchedArgumentException unmatched) {
      List<String> meant = unmatched.getSuggestions();
      if (!meant.isEmpty()) {
        advice = "did you mean " + String.join(" or ", meant) + "?";
      }
    }
    return report(
        EspalierException.usage(e.getMessage(), advice), List.of(words).contains("--debug"));
  }

  @Override
  public int handleExecutionException(Exception e, CommandLine command, ParseResult parsed) {
    boolean debug = parsed.subcommands().stream().anyMatch(sub -> sub.hasMatchedOption("--debug"));
    return report(e, debug || parsed.hasMatchedOption("--debug"));
  }

  /** Prints a failure and returns its exit code. */
  int report(Throwable thrown, boolean debug) {
    EspalierException failure = explain(thrown);
    err.println("error: " + failure.getMessage());
    if (!failure.advice().isEmpty()) {
      err.println("try: " + failure.advice());
    }
    if (debug) {
      thrown.printStackTrace(err);
    }
    return failure.kind().exitCode();
  }

  private static EspalierException explain(Throwable thrown) {
    if (thrown instanceof EspalierException known) {
      return known;
    }
    if (thrown instanceof OutOfMemoryError) {
      return EspalierException.resource(
          "the Java heap is full", "Set ESPALIER_JAVA_OPTS=-Xmx4g or more.", thrown);
    }
    if (thrown instanceof UncheckedIOException wrapped) {
      return explain(wrapped.getCause());
    }
    if (thrown instanceof IOException io) {
      return explain(io);
    }
    if (thrown instanceof UnsatisfiedLinkError || thrown instanceof NoClassDefFoundError) {
      return EspalierException.failed(
          "a library does not load: " + thrown.getMessage(),
          "Delete the folder target and build again.");
    }
    return EspalierException.failed("unexpected " + describe(thrown), REPORT);
  }

  private static EspalierException explain(IOException io) {
    String text = String.valueOf(io.getMessage());
    String lower = text.toLowerCase(Locale.ROOT);
    if (lower.contains("no space left") || lower.contains("quota exceeded")) {
      return EspalierException.resource(text, "Free some disk space.", io);
    }
    return new EspalierException(
        Kind.INPUT, describe(io), "Check that the file exists and may be read or written.", io);
  }

  private static String describe(Throwable thrown) {
    String name = thrown.getClass().getSimpleName();
    return thrown.getMessage() == null ? name : name + ": " + thrown.getMessage();
  }
}
