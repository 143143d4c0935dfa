// SPDX-License-Identifier: Apache-2.0
package espalier.text;

import java.nio.file.Path;
import java.util.Optional;
import java.util.function.Supplier;

/**
 * The tokenizer of a model's folder, opened when somebody first asks for it: texts that are token
 * ids already need none, and loading its native library takes longer than reading them.
 */
public final class FolderTokenizer implements Supplier<Tokenizer>, AutoCloseable {
  private final Path folder;
  private Optional<Tokenizer> found; // null until asked for

  public FolderTokenizer(Path folder) {
    this.folder = folder;
  }

  /**
   * Returns the tokenizer, which stays this object's; null for a model without one.
   *
   * @throws espalier.report.EspalierException as {@link Tokenizer#open}
   */
  @Override
  public Tokenizer get() {
    if (found == null) {
      found = Tokenizer.find(folder);
    }
    return found.orElse(null);
  }

  @Override
  public void close() {
    if (found != null) {
      found.ifPresent(Tokenizer::close);
    }
  }
}
