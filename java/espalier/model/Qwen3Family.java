// SPDX-License-Identifier: Apache-2.0
package espalier.model;

import java.util.List;

/** Qwen3, dense: an RMS norm on every query and key head before the rotation. */
record Qwen3Family() implements GatedFamily {
  private static final int DEFAULT_HEAD_WIDTH = 128;

  @Override
  public String modelType() {
    return "qwen3";
  }

  @Override
  public List<String> architectures() {
    return List.of("Qwen3ForCausalLM", "Qwen3Model");
  }

  @Override
  public int defaultContext() {
    return 32768;
  }

  @Override
  public ModelConfig.Biases biases(ConfigFields fields) {
    boolean attention = fields.flag("attention_bias", false);
    return new ModelConfig.Biases(attention, attention, false);
  }

  @Override
  public boolean headNorms() {
    return true;
  }

  @Override
  public int defaultHeadWidth(ConfigFields fields, int hidden, int heads) {
    if (fields.mentions("head_dim")) {
      throw fields.wrong("head_dim", "a number; absent means " + DEFAULT_HEAD_WIDTH);
    }
    return DEFAULT_HEAD_WIDTH;
  }

  @Override
  public List<Integer> windows(ConfigFields fields, int layers) {
    return QwenWindows.read(fields, layers);
  }
}
