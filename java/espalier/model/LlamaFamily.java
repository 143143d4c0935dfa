// SPDX-License-Identifier: Apache-2.0
package espalier.model;

import java.util.List;

/** Llama 1 to 3.x, TinyLlama, SmolLM and whatever else is spelt as a Llama. */
record LlamaFamily() implements GatedFamily {
  @Override
  public String modelType() {
    return "llama";
  }

  @Override
  public List<String> architectures() {
    return List.of("LlamaForCausalLM", "LlamaModel", "LLaMAForCausalLM");
  }

  @Override
  public int defaultContext() {
    return 2048;
  }

  @Override
  public ModelConfig.Biases biases(ConfigFields fields) {
    boolean attention = fields.flag("attention_bias", false);
    return new ModelConfig.Biases(attention, attention, fields.flag("mlp_bias", false));
  }

  @Override
  public boolean headNorms() {
    return false;
  }
}
