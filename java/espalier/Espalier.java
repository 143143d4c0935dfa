// SPDX-License-Identifier: Apache-2.0
package espalier;

import espalier.kernel.Eager;
import espalier.model.Model;
import espalier.tensor.Context;
import espalier.text.ChatTemplate;
import espalier.text.Tokenizer;
import java.nio.file.Path;

/**
 * The front door. {@link #compress} makes a smaller checkpoint; an open {@code Espalier} runs one:
 * a model with its tokenizer on a context of its own. One thread at a time; close it when done.
 */
public final class Espalier implements AutoCloseable {
  private final Context context;
  private final Model model;
  private Tokenizer tokenizer;

  private Espalier(Context context, Model model) {
    this.context = context;
    this.model = model;
  }

  /** Describes a compression of the checkpoint in this folder; nothing happens before it is run. */
  public static CompressionJob compress(Path folder) {
    return new CompressionJob(folder);
  }

  /**
   * Opens a checkpoint, dense or compressed. The caller closes the result.
   *
   * @param threads to compute with, 0 for all processors
   */
  public static Espalier open(Path folder, int threads) {
    Context context = Context.cpu(threads);
    try {
      return new Espalier(context, Model.open(folder, context));
    } catch (RuntimeException | Error e) {
      context.close();
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

  /** Returns the model's tokenizer, opened on first use and closed with this. */
  public Tokenizer tokenizer() {
    if (tokenizer == null) {
      tokenizer = Tokenizer.open(model.checkpoint().folder());
    }
    return tokenizer;
  }

  /** Returns the model's chat template; throws if it has none. */
  public ChatTemplate chatTemplate() {
    return ChatTemplate.open(model.checkpoint().folder());
  }

  @Override
  public void close() {
    if (tokenizer != null) {
      tokenizer.close();
    }
    model.close();
    context.close();
  }
}
