// SPDX-License-Identifier: Apache-2.0
package espalier;

import espalier.kernel.Eager;
import espalier.model.Model;
import espalier.report.EspalierException;
import espalier.report.Listener;
import espalier.runtime.Divergence;
import espalier.runtime.Generation;
import espalier.runtime.Generator;
import espalier.runtime.Passages;
import espalier.runtime.Perplexity;
import espalier.runtime.Sampling;
import espalier.runtime.Tasks;
import espalier.tensor.Context;
import espalier.tensor.Precision;
import espalier.text.ChatTemplate;
import espalier.text.TaskData;
import espalier.text.TextData;
import espalier.text.Tokenizer;
import java.nio.file.Files;
import java.nio.file.Path;

/**
 * The front door. {@link #compress} makes a smaller checkpoint; an open {@code Espalier} runs one:
 * a model with its tokenizer on a context of its own. One thread at a time; close it when done.
 */
public final class Espalier implements AutoCloseable {
  private final Path folder;
  private final Context context;
  private final Model model;
  private final Tokenizer tokenizer;

  private Espalier(Path folder, Context context, Model model, Tokenizer tokenizer) {
    this.folder = folder;
    this.context = context;
    this.model = model;
    this.tokenizer = tokenizer;
  }

  /** Describes a compression of the checkpoint in this folder; nothing happens before it is run. */
  public static CompressionJob compress(Path folder) {
    return new CompressionJob(folder);
  }

  /**
   * Opens a checkpoint, dense or compressed. The caller closes the result.
   *
   * @param threads to compute with, 0 for all processors
   * @throws EspalierException (INPUT) when the folder is missing or its files are at fault
   */
  public static Espalier open(Path folder, int threads) {
    if (!Files.isDirectory(folder)) {
      throw EspalierException.input(
          folder + (Files.exists(folder) ? " is not a model folder" : ": no such folder"),
          "Give the folder that holds config.json and model.safetensors.");
    }
    // The tokenizer first: it is the cheapest to fail.
    Tokenizer tokenizer = Tokenizer.find(folder).orElse(null);
    Context context = null;
    try {
      context = Context.cpu(threads);
      return new Espalier(folder, context, Model.open(folder, context), tokenizer);
    } catch (Throwable e) {
      if (context != null) {
        context.close();
      }
      if (tokenizer != null) {
        tokenizer.close();
      }
      throw e;
    }
  }

  public Model model() {
    return model;
  }

  public Context context() {
    return context;
  }

  /** Returns operations on this context. */
  public Eager ops() {
    return new Eager(context);
  }

  /** Returns the model's tokenizer, closed with this; null when the folder has none. */
  public Tokenizer tokenizer() {
    return tokenizer;
  }

  /** Opens a file of texts in this model's tokens. */
  public TextData texts(Path file) {
    return TextData.open(file, tokenizer, () -> ChatTemplate.open(folder));
  }

  /** Returns the passages of a file that an evaluation predicts. */
  public Passages passages(Path file, Passages.Choice choice) {
    return Passages.of(texts(file), tokenizer, choice, model.contextLength(), model.vocabulary());
  }

  /** Measures perplexity; see {@link Perplexity#measure}. */
  public Perplexity.Result perplexity(Passages passages, Listener listener) {
    return Perplexity.measure(model, ops(), passages, listener);
  }

  /** Compares this model with the dense one in a folder; see {@link Divergence#measure}. */
  public Divergence.Result divergence(Path dense, Passages passages, Listener listener) {
    try (Model reference = Model.open(dense, context)) {
      reference.events().forEach(listener::event);
      return Divergence.measure(reference, model, ops(), passages, listener);
    }
  }

  /**
   * Asks the questions of a task; see {@link Tasks#measure}.
   *
   * @throws EspalierException (INPUT) when the model has no tokenizer
   */
  public Tasks.Result task(TaskData task, Listener listener) {
    return Tasks.measure(model, ops(), requireTokenizer(), task, listener);
  }

  /**
   * Continues a text, in bf16 precision: packed products round activations once, by less than bf16.
   *
   * @param tokens the most to generate
   * @return the continuation, without special tokens
   * @throws EspalierException (INPUT) when the model has no tokenizer
   */
  public String generate(String prompt, Sampling sampling, int tokens) {
    int[] ids = requireTokenizer().encode(prompt);
    Precision before = context.precision();
    context.setPrecision(Precision.BF16);
    Generation result;
    try {
      result = new Generator(model, ops()).generate(ids, tokens, sampling);
    } finally {
      context.setPrecision(before);
    }
    return tokenizer.decode(result.ids().stream().mapToInt(Integer::intValue).toArray(), true);
  }

  private Tokenizer requireTokenizer() {
    if (tokenizer == null) {
      throw EspalierException.input(
          folder + " has no tokenizer", "Take the tokenizer.json of this model.");
    }
    return tokenizer;
  }

  @Override
  public void close() {
    model.close();
    context.close();
    if (tokenizer != null) {
      tokenizer.close();
    }
  }
}
