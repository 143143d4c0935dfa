// SPDX-License-Identifier: Apache-2.0
package espalier.model;

import java.util.List;

/** Qwen2 and Qwen2.5: biases on q, k and v whatever the config says, none elsewhere. */
record Qwen2Family() implements GatedFamily {
  @Override
  public String modelType() {
    return "qwen2";
  }

  @Override
  public List<String> architectures() {
    return List.of("Qwen2ForCausalLM", "Qwen2Model");
  }

  @Override
  public int defaultContext() {
    return 32768;
  }

  @Override
  public ModelConfig.Biases biases(ConfigFields fields) {
    return new ModelConfig.Biases(true, false, false);
  }

  @Override
  public boolean headNorms() {
    return false;
  }

  @Override
  public List<Integer> windows(ConfigFields fields, int layers) {
    return QwenWindows.read(fields, layers);
  }
}
