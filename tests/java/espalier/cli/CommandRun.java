// SPDX-License-Identifier: Apache-2.0
package espalier.cli;

import com.fasterxml.jackson.databind.JsonNode;
import espalier.internal.Json;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.List;

/**
 * A command line run in this process.
 *
 * @param code exit code
 * @param out standard output
 * @param err standard error
 */
public record CommandRun(int code, String out, String err) {
  public static CommandRun of(List<String> words) {
    return of(words.toArray(String[]::new));
  }

  public static CommandRun of(String... words) {
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    ByteArrayOutputStream err = new ByteArrayOutputStream();
    int code =
        Cli.run(
            words,
            new PrintStream(out, true, StandardCharsets.UTF_8),
            new PrintStream(err, true, StandardCharsets.UTF_8));
    return new CommandRun(
        code, out.toString(StandardCharsets.UTF_8), err.toString(StandardCharsets.UTF_8));
  }

  /** Returns the one JSON object on standard output; fails when there is anything else. */
  public JsonNode json() {
    try {
      JsonNode value = Json.STRICT.readTree(out);
      if (!value.isObject()) {
        throw new AssertionError("not a JSON object: " + out);
      }
      return value;
    } catch (IOException e) {
      throw new AssertionError("not JSON: " + out + err, e);
    }
  }
}
