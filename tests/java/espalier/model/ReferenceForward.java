// SPDX-License-Identifier: Apache-2.0
package espalier.model;

import java.util.List;
import java.util.Map;

/**
 * The forward pass of a {@link TinyModels} in double precision and plain loops, written from the
 * formulas. It shares no code with what it checks; rotary frequencies are handed in, since their
 * variants have goldens and a test of their own.
 */
public final class ReferenceForward {
  private final TinyModels model;
  private final double[] frequencies; // null for plain ones from rope_theta
  private final double attentionFactor;

  public ReferenceForward(TinyModels model) {
    this(model, null, 1);
  }

  ReferenceForward(TinyModels model, double[] frequencies, double attentionFactor) {
    this.model = model;
    this.frequencies = frequencies;
    this.attentionFactor = attentionFactor;
  }

  /** Returns logits [tokens][vocabulary] of one sequence; {@code windows} per layer, 0 for all. */
  public double[][] logits(int[] ids, List<Integer> windows) {
    return model.config().get("model_type").equals("gpt2") ? gpt2(ids) : gated(ids, windows);
  }

  private double[][] gated(int[] ids, List<Integer> windows) {
    double eps = ((Number) model.config().get("rms_norm_eps")).doubleValue();
    int heads = model.integer("num_attention_heads");
    double[][] x = rows(values("model.embed_tokens.weight"), ids);
    for (int layer = 0; layer < model.integer("num_hidden_layers"); layer++) {
      String p = "model.layers." + layer + ".";
      double[][] n = rms(x, values(p + "input_layernorm.weight"), eps);
      double[][] q = linear(n, p + "self_attn.q_proj");
      double[][] k = linear(n, p + "self_attn.k_proj");
      double[][] v = linear(n, p + "self_attn.v_proj");
      int width = q[0].length / heads;
      int keyHeads = k[0].length / width;
      if (model.tensors().containsKey(p + "self_attn.q_norm.weight")) {
        q = headNorm(q, width, values(p + "self_attn.q_norm.weight"), eps);
        k = headNorm(k, width, values(p + "self_attn.k_norm.weight"), eps);
      }
      rotate(q, width);
      rotate(k, width);
      double[][] mixed = attention(q, k, v, heads, keyHeads, windows.get(layer));
      x = add(x, linear(mixed, p + "self_attn.o_proj"));
      n = rms(x, values(p + "post_attention_layernorm.weight"), eps);
      double[][] gate = linear(n, p + "mlp.gate_proj");
      double[][] up = linear(n, p + "mlp.up_proj");
      for (int t = 0; t < gate.length; t++) {
        for (int i = 0; i < gate[t].length; i++) {
          gate[t][i] = activate((String) model.config().get("hidden_act"), gate[t][i]) * up[t][i];
        }
      }
      x = add(x, linear(gate, p + "mlp.down_proj"));
    }
    x = rms(x, values("model.norm.weight"), eps);
    boolean own = model.tensors().containsKey("lm_head.weight");
    return linear(x, own ? "lm_head" : "model.embed_tokens");
  }

  private double[][] gpt2(int[] ids) {
    double eps = ((Number) model.config().get("layer_norm_epsilon")).doubleValue();
    int heads = model.integer("n_head");
    int[] places = new int[ids.length];
    for (int t = 0; t < ids.length; t++) {
      places[t] = t;
    }
    double[][] x =
        add(
            rows(values("transformer.wte.weight"), ids),
            rows(values("transformer.wpe.weight"), places));
    int hidden = x[0].length;
    for (int layer = 0; layer < model.integer("n_layer"); layer++) {
      String p = "transformer.h." + layer + ".";
      double[][] joint = conv(layerNorm(x, p + "ln_1", eps), p + "attn.c_attn");
      double[][][] parts = new double[3][ids.length][hidden];
      for (int part = 0; part < 3; part++) {
        for (int t = 0; t < ids.length; t++) {
          System.arraycopy(joint[t], part * hidden, parts[part][t], 0, hidden);
        }
      }
      double[][] mixed = attention(parts[0], parts[1], parts[2], heads, heads, 0);
      x = add(x, conv(mixed, p + "attn.c_proj"));
      double[][] wide = conv(layerNorm(x, p + "ln_2", eps), p + "mlp.c_fc");
      for (double[] row : wide) {
        for (int i = 0; i < row.length; i++) {
          row[i] = activate((String) model.config().get("activation_function"), row[i]);
        }
      }
      x = add(x, conv(wide, p + "mlp.c_proj"));
    }
    boolean own = model.tensors().containsKey("lm_head.weight");
    return linear(layerNorm(x, "transformer.ln_f", eps), own ? "lm_head" : "transformer.wte");
  }

  private TinyModels.Values values(String name) {
    return model.tensors().get(name);
  }

  private static double[][] rows(TinyModels.Values table, int[] ids) {
    int width = (int) table.shape()[1];
    double[][] x = new double[ids.length][width];
    for (int t = 0; t < ids.length; t++) {
      for (int i = 0; i < width; i++) {
        x[t][i] = table.values()[ids[t] * width + i];
      }
    }
    return x;
  }

  private double[][] linear(double[][] x, String module) {
    TinyModels.Values w = values(module + ".weight");
    int out = (int) w.shape()[0];
    int in = (int) w.shape()[1];
    return product(x, module, out, in, (o, i) -> w.values()[o * in + i]);
  }

  private double[][] conv(double[][] x, String module) {
    TinyModels.Values w = values(module + ".weight");
    int in = (int) w.shape()[0];
    int out = (int) w.shape()[1];
    return product(x, module, out, in, (o, i) -> w.values()[i * out + o]);
  }

  private interface Entry {
    double at(int out, int in);
  }

  private double[][] product(double[][] x, String module, int out, int in, Entry weight) {
    TinyModels.Values bias = values(module + ".bias");
    double[][] y = new double[x.length][out];
    for (int t = 0; t < x.length; t++) {
      for (int o = 0; o < out; o++) {
        double sum = bias == null ? 0 : bias.values()[o];
        for (int i = 0; i < in; i++) {
          sum += x[t][i] * weight.at(o, i);
        }
        y[t][o] = sum;
      }
    }
    return y;
  }

  private static double[][] rms(double[][] x, TinyModels.Values weight, double eps) {
    double[][] y = new double[x.length][];
    for (int t = 0; t < x.length; t++) {
      double squares = 0;
      for (double value : x[t]) {
        squares += value * value;
      }
      double root = Math.sqrt(squares / x[t].length + eps);
      y[t] = new double[x[t].length];
      for (int i = 0; i < y[t].length; i++) {
        y[t][i] = x[t][i] / root * weight.values()[i];
      }
    }
    return y;
  }

  private static double[][] headNorm(
      double[][] x, int width, TinyModels.Values weight, double eps) {
    double[][] y = new double[x.length][x[0].length];
    for (int t = 0; t < x.length; t++) {
      for (int from = 0; from < x[t].length; from += width) {
        double[] head = java.util.Arrays.copyOfRange(x[t], from, from + width);
        System.arraycopy(rms(new double[][] {head}, weight, eps)[0], 0, y[t], from, width);
      }
    }
    return y;
  }

  private double[][] layerNorm(double[][] x, String module, double eps) {
    Map<String, TinyModels.Values> all = model.tensors();
    float[] weight = all.get(module + ".weight").values();
    float[] bias = all.get(module + ".bias").values();
    double[][] y = new double[x.length][x[0].length];
    for (int t = 0; t < x.length; t++) {
      double mean = java.util.Arrays.stream(x[t]).average().orElseThrow();
      double variance =
          java.util.Arrays.stream(x[t]).map(v -> (v - mean) * (v - mean)).average().orElseThrow();
      for (int i = 0; i < y[t].length; i++) {
        y[t][i] = (x[t][i] - mean) / Math.sqrt(variance + eps) * weight[i] + bias[i];
      }
    }
    return y;
  }

  private void rotate(double[][] x, int width) {
    for (int t = 0; t < x.length; t++) {
      for (int from = 0; from < x[t].length; from += width) {
        for (int i = 0; i < width / 2; i++) {
          double theta = ((Number) model.config().getOrDefault("rope_theta", 1e4)).doubleValue();
          double frequency =
              frequencies == null ? Math.pow(theta, -2.0 * i / width) : frequencies[i];
          double c = Math.cos(t * frequency) * attentionFactor;
          double s = Math.sin(t * frequency) * attentionFactor;
          double a = x[t][from + i];
          double b = x[t][from + i + width / 2];
          x[t][from + i] = a * c - b * s;
          x[t][from + i + width / 2] = b * c + a * s;
        }
      }
    }
  }

  private static double[][] attention(
      double[][] q, double[][] k, double[][] v, int heads, int keyHeads, int window) {
    int width = q[0].length / heads;
    double[][] y = new double[q.length][q[0].length];
    for (int t = 0; t < q.length; t++) {
      int first = window == 0 ? 0 : Math.max(0, t - window + 1);
      for (int h = 0; h < heads; h++) {
        int g = h / (heads / keyHeads);
        double[] weights = new double[t + 1];
        double total = 0;
        for (int j = first; j <= t; j++) {
          double score = 0;
          for (int i = 0; i < width; i++) {
            score += q[t][h * width + i] * k[j][g * width + i];
          }
          weights[j] = Math.exp(score / Math.sqrt(width));
          total += weights[j];
        }
        for (int j = first; j <= t; j++) {
          for (int i = 0; i < width; i++) {
            y[t][h * width + i] += weights[j] / total * v[j][g * width + i];
          }
        }
      }
    }
    return y;
  }

  private static double[][] add(double[][] a, double[][] b) {
    for (int t = 0; t < a.length; t++) {
      for (int i = 0; i < a[t].length; i++) {
        a[t][i] += b[t][i];
      }
    }
    return a;
  }

  private static double activate(String name, double x) {
    return switch (name) {
      case "silu", "swish" -> x / (1 + Math.exp(-x));
      case "relu" -> Math.max(x, 0);
      case "gelu" -> x * normalDistribution(x);
      default -> 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x * x * x)));
    };
  }

  /** Φ(x) = ½ + φ(x) (x + x³/3 + x⁵/15 + …), which converges fast for the small x here. */
  private static double normalDistribution(double x) {
    double term = x;
    double sum = x;
    for (int i = 3; i < 200; i += 2) {
      term *= x * x / i;
      sum += term;
    }
    return 0.5 + sum * Math.exp(-x * x / 2) / Math.sqrt(2 * Math.PI);
  }
}
