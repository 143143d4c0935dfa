// SPDX-License-Identifier: Apache-2.0
package espalier.cli;

import com.fasterxml.jackson.databind.JsonNode;
import espalier.Shared;
import espalier.checkpoint.Checkpoint;
import espalier.checkpoint.TensorSpec;
import espalier.kernel.Convert;
import espalier.tensor.Context;
import espalier.tensor.Tensor;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import java.util.stream.StreamSupport;

/**
 * One case of the field: a command as users type it and what must come of it, judged by the rules
 * of {@code golden/README-field.md}.
 *
 * @param folder the case
 * @param out an empty scratch folder
 * @param faults what did not hold
 */
record FieldCase(Path folder, Path out, List<String> faults) {
  private static final Pattern TRACE =
      Pattern.compile(
          "(?m)^\\s+at [\\w.$/<>]+\\(|^Exception in thread|OutOfMemoryError|StackOverflowError");
  private static final Set<String> NOT_REPORTS =
      Set.of("config.json", "model.safetensors.index.json");

  /** Runs a case and returns what did not hold, empty when all did. */
  static List<String> faults(Path folder, Path out) {
    FieldCase run = new FieldCase(folder, out, new ArrayList<>());
    JsonNode json = Shared.json(folder.resolve("case.json"));
    JsonNode expect = json.get("expect");
    run.judge(expect, json.get("command"));
    if (run.faults.isEmpty() && expect.get("exit").textValue().equals("ok")) {
      if (expect.has("out")) {
        run.checkOut(expect.get("out"));
      }
      for (JsonNode then : expect.path("then")) {
        run.judge(then.get("expect"), then.get("command"));
      }
    }
    return run.faults;
  }

  private void judge(JsonNode expect, JsonNode command) {
    List<String> words =
        strings(command).stream()
            .map(w -> w.replace("{case}", folder.toString()).replace("{out}", out.toString()))
            .toList();
    CommandRun run = CommandRun.of(words);
    String text = run.out() + "\n" + run.err() + "\n" + reports();
    if (TRACE.matcher(run.out() + run.err()).find()) {
      faults.add("stack trace");
    }
    if (expect.get("exit").textValue().equals("reject")) {
      if (run.code() == 0 || run.code() >= 124) {
        faults.add("exit status " + run.code() + ", should be refused");
      }
      if (files(out).stream()
          .anyMatch(f -> f.toString().matches(".*(\\.safetensors|\\.index\\.json)"))) {
        faults.add("refused, but left weights behind");
      }
    } else if (run.code() != 0) {
      faults.add("exit status " + run.code() + ": " + run.err());
      return;
    }
    checkNumbers(expect, run);
    checkText(expect, run);
    for (String path :
        List.of(folder.toString(), folder.getFileName().toString(), out.toString())) {
      text = text.replace(path, "");
    }
    for (JsonNode word : expect.path("must_mention")) {
      List<String> options = word.isTextual() ? List.of(word.textValue()) : strings(word);
      String lower = text.toLowerCase(Locale.ROOT);
      if (options.stream().noneMatch(o -> mentions(lower, o.toLowerCase(Locale.ROOT)))) {
        faults.add("does not mention " + options + ": " + run.err());
      }
    }
  }

  private void checkNumbers(JsonNode expect, CommandRun run) {
    if (expect.path("perplexity").isNumber()) {
      JsonNode result = run.json();
      double want = expect.get("perplexity").doubleValue();
      double got = result.path("perplexity").doubleValue();
      if (!(Math.abs(got / want - 1) <= expect.path("rel").asDouble(1e-4))) {
        faults.add("perplexity " + got + ", expected " + want + " " + expect.path("readings"));
      }
      if (expect.has("predictions")
          && expect.get("predictions").longValue() != result.path("predictions").longValue()) {
        faults.add("predictions " + result.path("predictions"));
      }
    }
    if (expect.has("kl_max")) {
      double kl = run.json().path("kl").asDouble(Double.NaN);
      if (!(kl >= -1e-6 && kl <= expect.get("kl_max").doubleValue())) {
        faults.add("kl " + kl + ", at most " + expect.get("kl_max"));
      }
    }
  }

  /** The greedy text must end there; its ids are asked for by the same command with --json. */
  private void checkText(JsonNode expect, CommandRun run) {
    if (!expect.path("greedy_text").isTextual()) {
      return;
    }
    if (!run.out().strip().equals(expect.get("greedy_text").textValue().strip())) {
      faults.add("greedy text is " + run.out());
    }
    JsonNode command = Shared.json(folder.resolve("case.json")).get("command");
    List<String> words =
        new ArrayList<>(
            strings(command).stream().map(w -> w.replace("{case}", folder.toString())).toList());
    words.add("--json");
    int[] ids = Shared.ids(CommandRun.of(words).json().get("ids"));
    if (!Arrays.equals(ids, Shared.ids(expect.get("greedy_ids")))) {
      faults.add("greedy ids are " + Arrays.toString(ids));
    }
  }

  private void checkOut(JsonNode want) {
    Path written = out.resolve("q");
    if (!Files.isDirectory(written)) {
      faults.add("nothing written");
      return;
    }
    try (Context context = Context.cpu(1);
        Checkpoint got = Checkpoint.open(written);
        Checkpoint source = Checkpoint.open(folder)) {
      for (String name : want.path("finite").asBoolean() ? got.names() : List.<String>of()) {
        Tensor tensor = got.get(name);
        if (tensor.dtype().isFloat() && Convert.firstNonFinite(context, tensor) >= 0) {
          faults.add(name + " is not finite");
        }
      }
      for (String name : strings(want.path("tensors_equal"))) {
        TensorSpec spec = got.spec(name).orElse(null);
        if (spec == null
            || !spec.equals(source.spec(name).orElseThrow())
            || !Arrays.equals(got.get(name).toBytes(), source.get(name).toBytes())) {
          faults.add(name + " lost or changed");
        }
      }
      want.path("zero_rows")
          .properties()
          .forEach(
              entry ->
                  checkZeros(
                      got,
                      entry.getKey(),
                      entry.getValue().get(0).intValue(),
                      entry.getValue().get(1).intValue()));
    }
    for (String name : strings(want.path("files_equal"))) {
      if (!Files.exists(written.resolve(name)) || mismatch(folder, written, name)) {
        faults.add(name + " not carried over");
      }
    }
    List<String> ignore =
        strings(
            Shared.json(written.resolve("config.json")).path("quantization_config").path("ignore"));
    for (String name : strings(want.path("config_ignore_covers"))) {
      if (ignore.stream()
          .noneMatch(i -> i.equals(name) || i.startsWith("re:") && lookingAt(i, name))) {
        faults.add("ignore list lacks " + name);
      }
    }
  }

  private static boolean lookingAt(String rule, String name) {
    return Pattern.compile(rule.substring(3)).matcher(name).lookingAt();
  }

  private static boolean mismatch(Path a, Path b, String name) {
    try {
      return Files.mismatch(a.resolve(name), b.resolve(name)) >= 0;
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** Rows still stand for zero: every packed 4-bit code is 8, or every scale of the row is 0. */
  private void checkZeros(Checkpoint got, String name, int from, int to) {
    byte[] zeros = new byte[0];
    byte value = 0;
    Tensor rows = got.find(name + ".weight").orElse(null);
    if (rows == null) {
      rows = got.get(name + ".weight_packed");
      value = (byte) 0x88;
    }
    zeros = rows.rows(from, to).toBytes();
    for (byte b : zeros) {
      if (b != value) {
        faults.add(name + ": rows " + from + " to " + (to - 1) + " are no longer zero");
        return;
      }
    }
  }

  /** Text of every report the run left: what the case does not have itself, configs apart. */
  private String reports() {
    StringBuilder text = new StringBuilder();
    for (Path file : files(out)) {
      String name = file.getFileName().toString();
      if (name.matches(".*\\.(json|jsonl|html|txt|md|log)")
          && !NOT_REPORTS.contains(name)
          && !Files.exists(folder.resolve(name))) {
        try {
          text.append(Files.readString(file)).append('\n');
        } catch (IOException e) {
          throw new UncheckedIOException(e);
        }
      }
    }
    return text.toString();
  }

  private static List<Path> files(Path folder) {
    try (Stream<Path> walk = Files.walk(folder)) {
      return walk.filter(Files::isRegularFile).sorted().toList();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** Short words count only on their own (inf is not in info), numbers only whole. */
  private static boolean mentions(String text, String word) {
    String pattern = Pattern.quote(word);
    if (word.matches("[a-z]{1,4}")) {
      pattern = "(?<![a-z])" + pattern + "(?![a-z])";
    }
    if (Character.isDigit(word.charAt(0))) {
      pattern = "(?<!\\d)" + pattern;
    }
    if (Character.isDigit(word.charAt(word.length() - 1))) {
      pattern += "(?!\\d)";
    }
    Matcher matcher = Pattern.compile(pattern).matcher(text);
    return matcher.find();
  }

  private static List<String> strings(JsonNode list) {
    return StreamSupport.stream(list.spliterator(), false).map(JsonNode::textValue).toList();
  }
}
