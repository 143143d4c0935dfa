// SPDX-License-Identifier: Apache-2.0
package espalier.cli;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import espalier.internal.Json;
import espalier.report.EspalierException;
import espalier.report.Event;
import espalier.report.Listener;
import java.util.List;
import java.util.Locale;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** The options every command has, and what follows from them: how to speak to the user. */
final class CommonOptions {
  /** Version of the objects {@code --json} prints; it rises when a key changes its meaning. */
  private static final int SCHEMA = 1;

  /** The most threads a context takes. */
  private static final int MOST_THREADS = 256;

  @Spec(Spec.Target.MIXEE)
  private CommandSpec command;

  @Option(names = "--json", description = "Print one JSON object on standard output.")
  private boolean json;

  @Option(
      names = "--threads",
      paramLabel = "N",
      defaultValue = "0",
      description =
          "Threads to compute with; 0 takes every processor. Results do not depend on it.")
  private int threads;

  @Option(names = "--strict", description = "Treat every warning as an error.")
  private boolean strict;

  @Option(
      names = {"-q", "--quiet"},
      description = "Print nothing but the result and errors.")
  private boolean quiet;

  @Option(names = "--debug", description = "Print the stack trace of an error.")
  private boolean debug;

  boolean json() {
    return json;
  }

  /** Returns the threads to compute with, 0 for every processor. */
  int threads() {
    if (threads < 0 || threads > MOST_THREADS) {
      throw EspalierException.usage(
          "--threads is " + threads + ", expected 0 to " + MOST_THREADS,
          "Leave it out to use every processor.");
    }
    return threads;
  }

  boolean strict() {
    return strict;
  }

  boolean quiet() {
    return quiet;
  }

  boolean debug() {
    return debug;
  }

  /** Returns the console of the running command line. */
  Console console() {
    return ((Cli) command.root().userObject()).console();
  }

  /** Returns how progress is shown; the caller closes it before it prints a result. */
  Progress progress() {
    return quiet ? Progress.SILENT : Progress.on(console());
  }

  /** Returns a listener that shows progress, shows warnings and stops on Ctrl-C. */
  Listener listener(Progress progress) {
    Console console = console();
    return new Listener() {
      @Override
      public void progress(String stage, long done, long total, String detail) {
        // A layer is worth a line of a log; a text among hundreds is not.
        if (stage.equals("compress")) {
          progress.update(stage, done, total, detail);
        } else {
          progress.tick(stage, done, total, detail);
        }
      }

      @Override
      public void event(Event event) {
        warn(List.of(event));
      }

      @Override
      public boolean cancelled() {
        return console.isCancelled();
      }
    };
  }

  /**
   * Shows the warnings among events on standard error.
   *
   * @throws EspalierException (FAILED) for the first warning of a strict run
   */
  void warn(List<Event> events) {
    for (Event event : events) {
      if (event.severity() != Event.Severity.WARNING) {
        continue;
      }
      String text = event.where() + ": " + event.message();
      if (strict) {
        throw EspalierException.failed(text, "Leave out --strict to go on all the same.");
      }
      if (!quiet) {
        console().err().println("warning: " + text);
      }
    }
  }

  /** Returns an object to print with {@link #print}, its schema version first. */
  static ObjectNode result() {
    return Json.STRICT.createObjectNode().put("schema", SCHEMA);
  }

  /** Returns events as objects of severity, kind, where and message. */
  static ArrayNode events(List<Event> events) {
    ArrayNode list = Json.STRICT.createArrayNode();
    for (Event event : events) {
      list.addObject()
          .put("severity", event.severity().name().toLowerCase(Locale.ROOT))
          .put("kind", event.kind())
          .put("where", event.where())
          .put("message", event.message());
    }
    return list;
  }

  /** Prints a JSON value on one line of standard output. */
  void print(JsonNode value) {
    try {
      console().out().println(Json.STRICT.writeValueAsString(value));
    } catch (JsonProcessingException e) {
      throw new IllegalStateException("a tree of plain values does not serialise", e);
    }
  }
}
