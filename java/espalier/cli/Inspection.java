// SPDX-License-Identifier: Apache-2.0
package espalier.cli;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import espalier.Espalier;
import espalier.checkpoint.Checkpoint;
import espalier.checkpoint.TensorSpec;
import espalier.internal.Json;
import espalier.report.EspalierException;
import espalier.report.Event;
import espalier.tensor.DType;
import java.io.PrintStream;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;
import java.util.function.Supplier;
import java.util.stream.Collectors;

/**
 * What a checkpoint says about itself, from headers and JSON files alone.
 *
 * @param config the keys of config.json that describe size and kind; null without a config
 * @param quantization quantization_config, or null
 * @param files weight files
 * @param tensors every tensor, file by file
 * @param parameters weights of the model, those behind codes and zeros that are left out included;
 *     stored elements where it was not opened
 * @param tokenizer tokens the tokenizer knows, −1 when there is none or it was not opened
 * @param contextLength tokens the model takes, −1 when it was not opened
 * @param stopTokens ids that end a text
 * @param unknownTensors tensors no part of the model reads
 * @param linears how the linears are stored, empty where the model was not opened
 * @param problem why it cannot be run, or empty
 * @param events what a user should know
 */
record Inspection(
    ObjectNode config,
    JsonNode quantization,
    List<Path> files,
    List<TensorSpec> tensors,
    long parameters,
    int tokenizer,
    long contextLength,
    List<Integer> stopTokens,
    List<String> unknownTensors,
    List<LinearForm> linears,
    String problem,
    List<Event> events) {
  /** Keys worth showing, of Llama-like configs and of GPT-2's. */
  private static final List<String> KEYS =
      List.of(
          "model_type",
          "architectures",
          "dtype",
          "torch_dtype",
          "num_hidden_layers",
          "n_layer",
          "hidden_size",
          "n_embd",
          "intermediate_size",
          "n_inner",
          "num_attention_heads",
          "n_head",
          "num_key_value_heads",
          "head_dim",
          "vocab_size",
          "max_position_embeddings",
          "n_positions",
          "rope_theta",
          "rope_scaling",
          "rope_parameters",
          "sliding_window",
          "tie_word_embeddings");

  /** Reads what the headers and config.json say. */
  static Inspection of(Checkpoint checkpoint) {
    ObjectNode config = checkpoint.json("config.json").orElse(null);
    ObjectNode shown = null;
    if (config != null) {
      shown = Json.STRICT.createObjectNode();
      for (String key : KEYS) {
        if (config.has(key)) {
          shown.set(key, config.get(key));
        }
      }
    }
    List<TensorSpec> tensors =
        checkpoint.names().stream().map(name -> checkpoint.spec(name).orElseThrow()).toList();
    return new Inspection(
        shown,
        config == null ? null : config.get("quantization_config"),
        checkpoint.weightFiles(),
        tensors,
        tensors.stream().mapToLong(tensor -> tensor.shape().elements()).sum(),
        -1,
        -1,
        List.of(),
        List.of(),
        List.of(),
        "",
        checkpoint.events());
  }

  /**
   * Returns the same with what opening the model adds, or with the reason why it cannot be opened.
   *
   * @param counted whether to read every weight of every linear and count its zeros
   * @throws EspalierException (INPUT) when sparse weights contradict themselves: no part of them
   *     means anything then
   */
  Inspection tried(Supplier<Espalier> opening, boolean counted) {
    try (Espalier opened = opening.get()) {
      List<LinearForm> forms = new ArrayList<>();
      opened
          .model()
          .linears()
          .forEach(
              (name, linear) -> forms.add(LinearForm.of(opened.context(), name, linear, counted)));
      List<Event> all = new ArrayList<>(events);
      opened.model().events().stream().filter(event -> !all.contains(event)).forEach(all::add);
      return new Inspection(
          config,
          quantization,
          files,
          tensors,
          opened.model().codecs().parameters(),
          opened.tokenizer() == null ? -1 : opened.tokenizer().vocabularySize(),
          opened.model().contextLength(),
          opened.model().stopTokens(),
          opened.model().unknownTensors(),
          List.copyOf(forms),
          "",
          List.copyOf(all));
    } catch (EspalierException e) {
      if (isStoredSparse() && e.kind() == EspalierException.Kind.INPUT) {
        throw e;
      }
      return new Inspection(
          config,
          quantization,
          files,
          tensors,
          parameters,
          tokenizer,
          contextLength,
          stopTokens,
          unknownTensors,
          linears,
          e.getMessage(),
          events);
    }
  }

  private boolean isStoredSparse() {
    return tensors.stream()
        .map(TensorSpec::name)
        .anyMatch(name -> name.endsWith(".bitmask") || name.endsWith(".positions"));
  }

  long sizeBytes() {
    return tensors.stream().mapToLong(TensorSpec::sizeBytes).sum();
  }

  /** Returns stored elements by type. */
  Map<DType, Long> byType() {
    return tensors.stream()
        .collect(
            Collectors.groupingBy(
                TensorSpec::dtype,
                TreeMap::new,
                Collectors.summingLong(tensor -> tensor.shape().elements())));
  }

  /** Adds everything to a JSON object. */
  void fill(ObjectNode object) {
    object.put("family", config == null ? "" : config.path("model_type").asText());
    object.set("config", config);
    object.put("runnable", problem.isEmpty() && contextLength >= 0);
    if (!problem.isEmpty()) {
      object.put("problem", problem);
    }
    object.put("parameters", parameters).put("size_bytes", sizeBytes());
    ObjectNode types = object.putObject("dtypes");
    byType().forEach((type, count) -> types.put(type.name(), count));
    object.set("quantization", quantization);
    if (tokenizer >= 0) {
      object.putObject("tokenizer").put("tokens", tokenizer);
    } else {
      object.putNull("tokenizer");
    }
    if (contextLength >= 0) {
      object.put("context_length", contextLength);
    }
    stopTokens.forEach(object.putArray("stop_tokens")::add);
    unknownTensors.forEach(object.putArray("unknown_tensors")::add);
    ArrayNode forms = object.putArray("linears");
    linears.forEach(linear -> linear.fill(forms.addObject()));
    ArrayNode names = object.putArray("files");
    files.forEach(file -> names.add(file.getFileName().toString()));
    ArrayNode table = object.putArray("tensors");
    for (TensorSpec tensor : tensors) {
      ObjectNode row = table.addObject().put("name", tensor.name());
      row.put("dtype", tensor.dtype().name());
      Arrays.stream(tensor.shape().toArray()).forEach(row.putArray("shape")::add);
    }
  }

  /** Prints everything for a person. */
  void print(Path path, PrintStream out) {
    out.println(path);
    if (config != null) {
      config.properties().forEach(entry -> row(out, entry.getKey(), entry.getValue().toString()));
    }
    row(out, "parameters", String.format("%,d", parameters));
    row(out, "bytes", String.format("%,d in %d files", sizeBytes(), files.size()));
    byType().forEach((type, count) -> row(out, "  " + type, String.format("%,d", count)));
    if (quantization != null) {
      row(
          out,
          "quantization",
          quantization.path("quant_method").asText() + " " + quantization.path("format").asText());
    }
    if (contextLength >= 0) {
      row(out, "context", String.valueOf(contextLength));
      row(out, "stop tokens", stopTokens.toString());
      row(out, "tokenizer", tokenizer < 0 ? "none" : tokenizer + " tokens");
    }
    if (!unknownTensors.isEmpty()) {
      row(out, "unknown tensors", String.join(", ", unknownTensors));
    }
    if (!problem.isEmpty()) {
      row(out, "cannot be run", problem);
    }
    out.println();
    printLinears(out);
    int width = tensors.stream().mapToInt(tensor -> tensor.name().length()).max().orElse(0);
    for (TensorSpec tensor : tensors) {
      String name = tensor.name().replaceAll("\\p{Cntrl}", "?");
      out.println(
          String.format(
              "%-" + Math.max(1, Math.min(80, width)) + "s  %-6s %s",
              name,
              tensor.dtype(),
              tensor.shape()));
    }
  }

  /** Of a model whose linears are all dense or plainly quantized the tensors say as much. */
  private void printLinears(PrintStream out) {
    if (linears.stream().noneMatch(LinearForm::isSparse)) {
      return;
    }
    int width = linears.stream().mapToInt(linear -> linear.name().length()).max().orElse(1);
    boolean counted = linears.stream().anyMatch(linear -> linear.census() != null);
    out.println(LinearForm.heading(width, counted));
    linears.forEach(linear -> out.println(linear.line(width)));
    double weights = linears.stream().mapToDouble(l -> (double) l.out() * l.in()).sum();
    double bits =
        linears.stream().mapToDouble(l -> l.bitsPerWeight() * l.out() * l.in()).sum() / weights;
    double kept =
        linears.stream()
            .mapToDouble(l -> counted ? l.census().nonZeros() : l.stored() * l.out() * l.in())
            .sum();
    out.println(
        String.format(
            Locale.ROOT, "all linears: %.3f bits a weight, density %.4f", bits, kept / weights));
    out.println();
  }

  private static void row(PrintStream out, String name, String value) {
    out.println(String.format("%-24s", name) + value);
  }
}
