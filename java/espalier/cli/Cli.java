// SPDX-License-Identifier: Apache-2.0
package espalier.cli;

import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.OutputStream;
import java.io.PrintStream;
import java.io.PrintWriter;
import java.nio.charset.StandardCharsets;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.function.Supplier;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Help;
import picocli.CommandLine.ParameterException;

/**
 * The command line. {@link #run} is all of it but the process: same arguments, same streams, an
 * exit code instead of an exit.
 *
 * <p>Exit codes: 0 done, 1 failed, 2 wrong usage, 3 unreadable or invalid input, 4 unsupported, 5
 * out of memory, disk or device, 130 interrupted.
 */
@Command(
    name = "espalier",
    header = "Compresses large language models.",
    description = {
      "",
      "  espalier compress MODEL --scheme W4A16 --data texts.jsonl -o OUT",
      "  espalier eval OUT --data eval.jsonl --against MODEL",
      "  espalier generate OUT --prompt \"Once upon a time\"",
      ""
    },
    footer = {
      "",
      "Exit codes: 0 done, 1 failed, 2 wrong usage, 3 invalid input, 4 unsupported, 5 out of memory",
      "or disk, 130 interrupted. 'espalier COMMAND --help' shows the options of a command."
    },
    synopsisSubcommandLabel = "COMMAND",
    versionProvider = Version.class,
    mixinStandardHelpOptions = true)
public final class Cli implements Runnable {
  /** How long an interrupted command may take to clean up before the process ends anyway. */
  private static final long GRACE_SECONDS = 20;

  private final Console console;

  private Cli(Console console) {
    this.console = console;
  }

  /** Every command, in the order help lists them. */
  private static Map<String, Supplier<Object>> commands() {
    Map<String, Supplier<Object>> commands = new LinkedHashMap<>();
    commands.put("compress", CompressCommand::new);
    commands.put("train", TrainCommand::new);
    commands.put("eval", EvalCommand::new);
    commands.put("generate", GenerateCommand::new);
    commands.put("inspect", InspectCommand::new);
    return commands;
  }

  /** Runs a command line and ends the process with its exit code. */
  public static void main(String[] words) {
    ResultStream results = new ResultStream(new FileOutputStream(FileDescriptor.out));
    PrintStream out = utf8(results);
    PrintStream err = utf8(new FileOutputStream(FileDescriptor.err));
    boolean terminal = Boolean.getBoolean("espalier.terminal");
    Console console = new Console(out, err, System.getenv(), terminal);
    CountDownLatch ended = new CountDownLatch(1);
    Runtime.getRuntime().addShutdownHook(new Thread(() -> interrupt(console, ended)));
    int code = run(words, console);
    if (code == 0 && results.lost() != null) {
      code = new Failures(err).report(results.lost(), List.of(words).contains("--debug"));
    }
    ended.countDown();
    System.exit(code);
  }

  /** On Ctrl-C the command is asked to stop and given time to leave nothing half-written. */
  private static void interrupt(Console console, CountDownLatch ended) {
    console.cancel();
    try {
      if (!ended.await(GRACE_SECONDS, TimeUnit.SECONDS)) {
        console.err().println("error: interrupted before the command could clean up");
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  private static PrintStream utf8(OutputStream stream) {
    return new PrintStream(stream, true, StandardCharsets.UTF_8);
  }

  /** Runs a command line in this process and returns its exit code; never ends the process. */
  public static int run(String[] words, PrintStream out, PrintStream err) {
    return run(words, new Console(out, err, Map.of("CI", "true"), false));
  }

  static int run(String[] words, Console console) {
    Failures failures = new Failures(console.err());
    try {
      return commandLine(console, failures, words).execute(words);
    } catch (Error e) {
      // picocli hands on exceptions only; memory that ran out and native faults arrive here.
      return failures.report(e, List.of(words).contains("--debug"));
    } finally {
      console.out().flush();
      console.err().flush();
    }
  }

  private static CommandLine commandLine(Console console, Failures failures, String[] words) {
    CommandLine line = new CommandLine(new Cli(console));
    Map<String, Supplier<Object>> commands = commands();
    if (words.length > 0 && commands.containsKey(words[0])) {
      // Reading the annotations of the other commands takes longer than small models do.
      line.addSubcommand(words[0], commands.get(words[0]).get());
    } else {
      commands.forEach((name, command) -> line.addSubcommand(name, command.get()));
    }
    line.setOut(writer(console.out()));
    line.setErr(writer(console.err()));
    Help.Ansi ansi = console.colours() ? Help.Ansi.ON : Help.Ansi.OFF;
    line.setColorScheme(Help.defaultColorScheme(ansi));
    line.setUsageHelpAutoWidth(false);
    line.setUsageHelpWidth(100);
    for (CommandLine command : line.getSubcommands().values()) {
      command.getCommandSpec().mixinStandardHelpOptions(true).versionProvider(new Version());
      command.getCommandSpec().usageMessage().showDefaultValues(true).sortOptions(false);
    }
    line.setParameterExceptionHandler(failures);
    line.setExecutionExceptionHandler(failures);
    return line;
  }

  private static PrintWriter writer(PrintStream stream) {
    return new PrintWriter(stream, true, StandardCharsets.UTF_8);
  }

  Console console() {
    return console;
  }

  @Override
  public void run() {
    CommandLine line = new CommandLine(this);
    throw new ParameterException(line, "no command given");
  }
}
