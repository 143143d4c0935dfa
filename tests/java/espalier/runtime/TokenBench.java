// SPDX-License-Identifier: Apache-2.0
package espalier.runtime;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import espalier.Espalier;
import espalier.kernel.Eager;
import espalier.kernel.Program;
import espalier.layer.Linear;
import espalier.model.Model;
import espalier.tensor.Context;
import espalier.tensor.Precision;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.Writer;
import java.lang.management.ManagementFactory;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Random;
import java.util.function.DoubleSupplier;

/**
 * What of the machine whole tokens use: decoding as a share of read bandwidth ÷ bytes of weights a
 * token reads, reading a prompt as a share of the fused multiply-add peak. Rounds are interleaved:
 * a share is taken against ceilings measured just before and after, and the median round counts.
 * One thread is timed by its processor time, which other processes hardly change; all threads by
 * the clock, which means something on an idle machine only.
 *
 * <pre>
 * cmake --build target/native --target probe
 * java -cp target/test-classes:target/classes:target/lib/* espalier.runtime.TokenBench \
 *     MODEL PROBE [--rounds N] [--tokens N] [--prompt N] [--threads N] [--json FILE]
 * </pre>
 */
public final class TokenBench {
  private static final double PROBE_SECONDS = 0.1;

  private final Path folder;
  private final Probe probe;
  private int rounds = 9;
  private int tokens = 8;
  private int prompt = 512;
  private List<Integer> threads = List.of(1, Runtime.getRuntime().availableProcessors());

  private TokenBench(Path folder, Probe probe) {
    this.folder = folder;
    this.probe = probe;
  }

  public static void main(String[] words) throws IOException {
    try (Probe probe = new Probe(words[1])) {
      TokenBench bench = new TokenBench(Path.of(words[0]), probe);
      Path file = null;
      for (int i = 2; i < words.length; i += 2) {
        switch (words[i]) {
          case "--rounds" -> bench.rounds = Integer.parseInt(words[i + 1]);
          case "--tokens" -> bench.tokens = Integer.parseInt(words[i + 1]);
          case "--prompt" -> bench.prompt = Integer.parseInt(words[i + 1]);
          case "--threads" -> bench.threads = List.of(Integer.parseInt(words[i + 1]));
          case "--json" -> file = Path.of(words[i + 1]);
          default -> throw new IllegalArgumentException("unknown option " + words[i]);
        }
      }
      ObjectNode result = bench.run();
      if (file != null) {
        Files.writeString(file, result.toPrettyString() + "\n");
      }
    }
  }

  private ObjectNode run() throws IOException {
    ObjectNode root = new ObjectMapper().createObjectNode();
    root.put("schema", "espalier-tokens-1")
        .put("model", folder.getFileName().toString())
        .put("cpu_features", Context.cpuFeatures())
        .put("load", ManagementFactory.getOperatingSystemMXBean().getSystemLoadAverage())
        .put("rounds", rounds)
        .put("decoded_tokens_a_round", tokens)
        .put("prompt_tokens", prompt);
    root.put(
        "units",
        "triples are lower quartile, median, upper quartile over the rounds; share = rate / rate of"
            + " the ceilings before and after; one thread by processor time, all threads by the"
            + " clock");
    for (int count : threads.stream().distinct().toList()) {
      String name = count == 1 ? "one_thread" : count + "_threads";
      measure(root.putObject(name), count);
    }
    return root;
  }

  private void measure(ObjectNode node, int threads) throws IOException {
    try (Espalier opened = Espalier.open(folder, threads)) {
      opened.context().setPrecision(Precision.BF16);
      Model model = opened.model();
      Work work = Work.of(model, prompt);
      node.put("bytes_per_token", work.bytes()).put("flop_of_prompt", work.flop());
      int[] ids = new Random(1).ints(prompt, 0, (int) model.vocabulary()).toArray();
      Series decode = new Series("decode", "read", "tokens/s", 1.0 / tokens, work.bytes() * 1e-9);
      Series prefill =
          new Series("prefill", "fp32", "tokens/s", 1.0 / prompt, work.flop() / prompt * 1e-9);
      for (int round = 0; round <= rounds; round++) {
        try (KvCache cache = new KvCache(model.blocks().size(), prompt + tokens * (rounds + 2L));
            Decoder decoder = decoder(model, opened.ops(), cache)) {
          double read = seconds(threads, () -> decoder.feed(ids));
          decoder.feed(1); // records
          double decoded = seconds(threads, () -> decode(decoder));
          // The first round warms up: pages, caches, compiled code.
          prefill.add(round > 0, read, threads);
          decode.add(round > 0, decoded, threads);
        }
      }
      decode.report(node, threads);
      prefill.report(node, threads);
    }
  }

  private static Decoder decoder(Model model, Eager ops, KvCache cache) {
    return new Decoder(model, ops, cache, position -> new Program(ops.context(), position));
  }

  private void decode(Decoder decoder) {
    for (int i = 0; i < tokens; i++) {
      decoder.feed(Math.max(0, decoder.best()));
    }
  }

  /** Returns the seconds of a body: of processor time for one thread, else of the clock. */
  private static double seconds(int threads, Runnable body) {
    DoubleSupplier clock =
        threads == 1
            ? () -> ManagementFactory.getThreadMXBean().getCurrentThreadCpuTime() * 1e-9
            : () -> System.nanoTime() * 1e-9;
    double begin = clock.getAsDouble();
    body.run();
    return clock.getAsDouble() - begin;
  }

  /** The rounds of one measurement, with its ceiling before and after each. */
  private final class Series {
    private final String name;
    private final String ceiling;
    private final String unit;
    private final double perItem;
    private final double workPerItem;
    private final List<Double> rates = new ArrayList<>();
    private final List<Double> ceilings = new ArrayList<>();
    private final List<Double> shares = new ArrayList<>();
    private double before = Double.NaN;

    /**
     * @param perItem reciprocal of the items in a round
     * @param workPerItem 1e9 bytes or FLOP
     */
    Series(String name, String ceiling, String unit, double perItem, double workPerItem) {
      this.name = name;
      this.ceiling = ceiling;
      this.unit = unit;
      this.perItem = perItem;
      this.workPerItem = workPerItem;
    }

    void add(boolean counts, double seconds, int threads) throws IOException {
      double after = probe.rate(ceiling, threads, PROBE_SECONDS);
      if (counts) {
        double limit = (before + after) / 2;
        double rate = 1 / (seconds * perItem);
        rates.add(rate);
        ceilings.add(limit);
        shares.add(rate * workPerItem / limit);
      }
      before = after;
    }

    void report(ObjectNode node, int threads) {
      ObjectNode here = node.putObject(name);
      here.put("ceiling", ceiling);
      triple(here, "rate", rates);
      triple(here, "ceiling_rate", ceilings);
      triple(here, "share", shares);
      System.out.printf(
          Locale.ROOT,
          "%d thread%s  %-8s %8.2f %s, %5.1f %% of %s (%.1f)%n",
          threads,
          threads == 1 ? " " : "s",
          name,
          quartile(rates, 2),
          unit,
          100 * quartile(shares, 2),
          ceiling,
          quartile(ceilings, 2));
    }
  }

  private static void triple(ObjectNode node, String name, List<Double> values) {
    var array = node.putArray(name);
    for (int i = 1; i <= 3; i++) {
      array.add(Double.parseDouble(String.format(Locale.ROOT, "%.4g", quartile(values, i))));
    }
  }

  private static double quartile(List<Double> values, int which) {
    double[] sorted = values.stream().mapToDouble(Double::doubleValue).sorted().toArray();
    return sorted[Math.min(sorted.length - 1, sorted.length * which / 4)];
  }

  /**
   * What tokens cost at least.
   *
   * @param bytes of weights that one decoded token reads, as they are stored in the file: scales in
   *     16 bits, the head once
   * @param flop of the products of a prompt whose last token alone passes the head, and of the
   *     scores and mixes of its pairs of tokens
   */
  private record Work(double bytes, double flop) {
    static Work of(Model model, int prompt) {
      double bytes = 0;
      double flop = 0;
      for (var block : model.blocks()) {
        for (Linear linear : block.linears().values()) {
          double weights = (double) linear.inFeatures() * linear.outFeatures();
          bytes += weights * linear.bitsPerWeight() / Byte.SIZE;
          flop += 2 * weights * prompt;
        }
        // 2 products of 2 FLOP a dimension for every pair that sees each other.
        flop += 4.0 * model.config().queryWidth() * prompt * (prompt + 1) / 2;
      }
      double head = (double) model.head().inFeatures() * model.head().outFeatures();
      bytes += head * model.head().bitsPerWeight() / Byte.SIZE;
      return new Work(bytes, flop + 2 * head);
    }
  }

  /** The process that measures ceilings; see tests/bench/probe/probe.cpp. */
  private static final class Probe implements AutoCloseable {
    private final Process process;
    private final Writer questions;
    private final BufferedReader answers;

    Probe(String program) throws IOException {
      process = new ProcessBuilder(program).redirectError(ProcessBuilder.Redirect.INHERIT).start();
      questions = process.outputWriter(StandardCharsets.US_ASCII);
      answers =
          new BufferedReader(
              new InputStreamReader(process.getInputStream(), StandardCharsets.US_ASCII));
    }

    /** Returns 1e9 bytes or FLOP a second. */
    double rate(String ceiling, int threads, double seconds) throws IOException {
      questions.write(ceiling + " " + threads + " " + seconds + "\n");
      questions.flush();
      String answer = answers.readLine();
      if (answer == null) {
        throw new IOException("the probe has ended");
      }
      return Double.parseDouble(answer);
    }

    @Override
    public void close() throws IOException {
      questions.close();
      process.destroy();
    }
  }
}
