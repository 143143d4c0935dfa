// SPDX-License-Identifier: Apache-2.0
package espalier.compress;

import espalier.checkpoint.Checkpoint;
import espalier.internal.Version;
import espalier.kernel.Eager;
import espalier.kernel.Variants;
import espalier.model.Model;
import espalier.tensor.Context;
import espalier.tensor.Tensor;
import espalier.text.TokenStream;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Random;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.stream.Collectors;
import java.util.zip.CRC32C;

/**
 * Everything that the bytes of an output follow from, in a form that a later process can compare.
 * The number of threads is not among it: results do not depend on it.
 *
 * <p>Weights count by content: every byte of every tensor, by CRC-32C, which runs at the speed of
 * memory and rides on the pass that looks for NaN. It tells any accident (a change of up to 32
 * adjacent bits for certain, any other but for 1 in 2³²); it is no defence against forgery. The
 * rest counts as text or by SHA-256.
 *
 * @param facts what each input is, by the name messages give it
 * @param weights checksum of every stored tensor, by name
 */
record RunInputs(Map<String, String> facts, Map<String, Long> weights) {
  private static final long CHUNK_BYTES = 1L << 26;

  /**
   * Rows and columns of the product that is tried: beyond the blocks of a kernel, and no multiple.
   */
  private static final int TRIED = 333;

  /** What the run was asked, apart from model and recipe. */
  record Request(long shardBytes, long seed, List<int[]> texts) {}

  /**
   * Describes a run.
   *
   * @param weights see {@link #checksum}
   */
  static RunInputs of(
      Context context, Model model, Plan plan, Request request, Map<String, Long> weights) {
    Checkpoint source = model.checkpoint();
    Map<String, String> facts = new LinkedHashMap<>();
    facts.put("version of this program", Version.TEXT);
    facts.put("config.json", source.sha256("config.json"));
    facts.put("weight headers", source.headersSha256());
    for (Path file : source.companions()) {
      facts.put("file " + source.folder().relativize(file), source.sha256(file));
    }
    facts.put("recipe", plan.recipeText());
    StringBuilder linears = new StringBuilder();
    plan.linears().forEach(planned -> linears.append(planned).append('\n'));
    facts.put("plan", RunState.sha256(linears.toString()));
    facts.put(
        "output format",
        plan.formats().stream().map(OutputFormat::text).collect(Collectors.joining(",")));
    facts.put("shard size", Long.toString(request.shardBytes()));
    facts.put("seed", Long.toString(request.seed()));
    facts.put("calibration tokens", TokenStream.sha256(request.texts().toArray(int[][]::new)));
    facts.put("type of hidden states", model.stateType().name());
    facts.put("instruction sets", Context.cpuFeatures());
    facts.put("kernel variants", kernels());
    facts.put("last bits of products on this machine", arithmetic(context));
    // Tables of sines come from the Java library, and their last bits from its release.
    facts.put("Java release", Integer.toString(Runtime.version().feature()));
    return new RunInputs(facts, new TreeMap<>(weights));
  }

  /** Returns the checksum of a tensor's bytes. */
  static long checksum(Tensor tensor) {
    CRC32C sum = new CRC32C();
    for (long at = 0; at < tensor.sizeBytes(); at += CHUNK_BYTES) {
      sum.update(tensor.buffer(at, Math.min(CHUNK_BYTES, tensor.sizeBytes() - at)));
    }
    return sum.getValue();
  }

  /**
   * Returns a checksum of fixed products and of a factored Hessian. OpenBLAS chooses among kernels
   * of its own by the model of the processor, and each has its own order of summing.
   */
  private static String arithmetic(Context context) {
    try (Context.Scope scope = context.scope()) {
      Random random = new Random(TRIED);
      float[] values = new float[TRIED * TRIED];
      for (int i = 0; i < values.length; i++) {
        values[i] = random.nextFloat() - 0.5f;
      }
      Tensor matrix = context.floats(values, TRIED, TRIED);
      Tensor product = new Eager(context).dense(matrix, matrix, false, null);
      Statistics statistics = new Statistics(context, TRIED);
      statistics.add(product);
      Tensor factor = statistics.factor(Gptq.DEFAULT_DAMPING, false).upper();
      return String.format("%08x%08x", checksum(product), checksum(factor));
    }
  }

  /** Returns, line by line, the rows of every operation that can run here, best first. */
  private static String kernels() {
    Map<String, List<String>> rows = new TreeMap<>();
    for (Variants.Variant variant : Variants.all()) {
      if (variant.runs()) {
        rows.computeIfAbsent(variant.operation(), o -> new ArrayList<>()).add(variant.name());
      }
    }
    StringBuilder text = new StringBuilder();
    rows.forEach(
        (operation, names) ->
            text.append(operation).append(": ").append(String.join(", ", names)).append('\n'));
    return text.toString();
  }

  /** Names every input that is not what it was when {@code begun} was described. */
  List<String> changesSince(RunInputs begun) {
    List<String> changes = new ArrayList<>();
    Set<String> names = new LinkedHashSet<>(facts.keySet());
    names.addAll(begun.facts().keySet());
    for (String name : names) {
      String before = begun.facts().get(name);
      String now = facts.get(name);
      if (now == null || !now.equals(before)) {
        changes.add(name + change(before, now));
      }
    }
    if (changes.size() > 1) {
      // It follows from recipe, config and program, and changes with any of them.
      changes.removeIf(change -> change.startsWith("plan"));
    }
    List<String> tensors = new ArrayList<>();
    Set<String> all = new TreeSet<>(weights.keySet());
    all.addAll(begun.weights().keySet());
    for (String tensor : all) {
      if (!Objects.equals(weights.get(tensor), begun.weights().get(tensor))) {
        tensors.add(tensor);
      }
    }
    if (!tensors.isEmpty()) {
      String more = tensors.size() == 1 ? "" : " and " + (tensors.size() - 1) + " more";
      changes.add("weights (" + tensors.get(0) + more + ")");
    }
    return changes;
  }

  private static String change(String before, String now) {
    if (before == null) {
      return " (there was none)";
    }
    if (now == null) {
      return " (is gone)";
    }
    if (before.contains("\n") || now.contains("\n")) {
      return firstLine(before.lines().toList(), now.lines().toList());
    }
    boolean digest = before.matches("[0-9a-f]{64}") && now.matches("[0-9a-f]{64}");
    return digest ? "" : " (was " + before + ", is " + now + ")";
  }

  private static String firstLine(List<String> before, List<String> now) {
    int line = 0;
    while (line < before.size() && line < now.size() && before.get(line).equals(now.get(line))) {
      line++;
    }
    String was = line < before.size() ? "'" + before.get(line).strip() + "'" : "the end";
    String is = line < now.size() ? "'" + now.get(line).strip() + "'" : "the end";
    return " (line " + (line + 1) + " was " + was + ", is " + is + ")";
  }
}
