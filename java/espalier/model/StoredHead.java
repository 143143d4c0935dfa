// SPDX-License-Identifier: Apache-2.0
package espalier.model;

import espalier.checkpoint.Checkpoint;
import espalier.codec.Codecs;
import espalier.layer.Linear;
import espalier.report.EspalierException;
import espalier.report.Event;
import espalier.tensor.Tensor;
import java.util.Optional;

/**
 * Decides between a stored head and the embedding: a stored one that differs counts, whatever
 * {@code tie_word_embeddings} says, as in transformers 5.
 */
record StoredHead(
    Checkpoint checkpoint,
    Codecs codecs,
    ModelFamily family,
    ModelConfig config,
    StoredWeights weights) {

  /**
   * Returns the head when it is a matrix of its own, empty when it is the embedding.
   *
   * @throws EspalierException (INPUT) when there is none and the config does not tie it, or when
   *     its shape is not the config's
   */
  Optional<Linear> find() {
    String name = ModelFamily.HEAD + ".weight";
    if (!codecs.has(ModelFamily.HEAD)) {
      if (config.tied()) {
        return Optional.empty();
      }
      throw EspalierException.input(
          checkpoint.folder() + ": no tensor " + name + ", and tie_word_embeddings is not true",
          "If the head is the embedding, state \"tie_word_embeddings\": true in config.json.");
    }
    if (config.tied()) {
      Optional<Tensor> stored = checkpoint.find(name);
      Tensor table = checkpoint.get(weights.storedName(family.embedding()) + ".weight");
      if (stored.isPresent() && weights.outline() && sameShape(stored.get(), table)) {
        weights.note(
            Event.info(
                "head-not-compared",
                name,
                "tie_word_embeddings is true and a head is stored; without reading both they are"
                    + " taken to be equal"));
        weights.take(name);
        return Optional.empty();
      }
      if (stored.isPresent() && sameBytes(stored.get(), table)) {
        weights.take(name);
        return Optional.empty();
      }
      weights.note(
          Event.warning(
              "head-not-tied",
              name,
              "tie_word_embeddings is true but the stored head differs from the embedding;"
                  + " the stored head counts"));
    }
    LinearSpec spec =
        new LinearSpec(
            ModelFamily.HEAD,
            config.hiddenSize(),
            "the hidden size",
            config.vocabulary(),
            "vocab_size",
            false,
            false);
    return Optional.of(weights.linear(spec, "the head"));
  }

  private static boolean sameShape(Tensor a, Tensor b) {
    return a.dtype() == b.dtype() && a.shape().equals(b.shape());
  }

  private static boolean sameBytes(Tensor a, Tensor b) {
    if (!sameShape(a, b)) {
      return false;
    }
    long chunk = 1L << 26; // buffers reach 2 GiB at most; and no more than two chunks stay resident
    for (long at = 0; at < a.sizeBytes(); at += chunk) {
      long bytes = Math.min(chunk, a.sizeBytes() - at);
      if (a.buffer(at, bytes).mismatch(b.buffer(at, bytes)) >= 0) {
        return false;
      }
      a.forget(at, bytes);
      b.forget(at, bytes);
    }
    return true;
  }
}
