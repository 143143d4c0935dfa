// SPDX-License-Identifier: Apache-2.0
package espalier.model;

import java.util.Collections;
import java.util.List;

/** Mistral 7B, Nemo and Small: a Llama without biases, with one window for all layers or none. */
record MistralFamily() implements GatedFamily {
  /** The window of version 0.1; null, not absence, means none. */
  private static final int DEFAULT_WINDOW = 4096;

  @Override
  public String modelType() {
    return "mistral";
  }

  @Override
  public List<String> architectures() {
    return List.of("MistralForCausalLM", "MistralModel");
  }

  @Override
  public int defaultContext() {
    return 131072;
  }

  @Override
  public ModelConfig.Biases biases(ConfigFields fields) {
    return new ModelConfig.Biases(false, false, false);
  }

  @Override
  public boolean headNorms() {
    return false;
  }

  @Override
  public List<Integer> windows(ConfigFields fields, int layers) {
    int absent = fields.mentions("sliding_window") ? 0 : DEFAULT_WINDOW;
    return Collections.nCopies(layers, fields.count("sliding_window", absent));
  }
}
