// SPDX-License-Identifier: Apache-2.0
package espalier.cli;

import espalier.kernel.Eager;
import espalier.kernel.Ops;
import espalier.model.Model;
import espalier.report.EspalierException;
import espalier.tensor.Context;
import espalier.text.Tokenizer;
import java.nio.file.Files;
import java.nio.file.Path;

/**
 * A model ready to run, with the context it runs in and its tokenizer.
 *
 * @param context closed with this
 * @param model closed with this
 * @param tokenizer closed with this; null when the folder has none
 */
record OpenModel(Context context, Model model, Tokenizer tokenizer) implements AutoCloseable {
  /** Opens a model folder; the caller closes the result. */
  static OpenModel of(Path folder, int threads) {
    requireFolder(folder);
    // The tokenizer first: it is the cheapest to fail.
    Tokenizer tokenizer = Tokenizer.find(folder).orElse(null);
    Context context = null;
    try {
      context = Context.cpu(threads);
      return new OpenModel(context, Model.open(folder, context), tokenizer);
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

  static void requireFolder(Path folder) {
    if (!Files.isDirectory(folder)) {
      throw EspalierException.input(
          folder + (Files.exists(folder) ? " is not a model folder" : ": no such folder"),
          "Give the folder that holds config.json and model.safetensors.");
    }
  }

  Ops ops() {
    return new Eager(context);
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
