// SPDX-License-Identifier: Apache-2.0
package espalier.model;

import com.fasterxml.jackson.databind.node.ObjectNode;
import espalier.checkpoint.CheckpointWriter;
import espalier.checkpoint.TensorSpec;
import espalier.report.EspalierException;
import espalier.tensor.Context;
import espalier.tensor.DType;
import espalier.tensor.Shape;
import espalier.tensor.Tensor;
import java.nio.FloatBuffer;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Random;

/**
 * The tensors that a config asks for, filled with a fresh start: matrices normal with a given
 * deviation, norms one, biases zero. A tensor's values depend on its name, its shape and the seed
 * alone.
 */
public final class FreshWeights {
  private final Map<String, TensorSpec> specs = new LinkedHashMap<>();

  /**
   * Reads a config.
   *
   * @param file names it in messages
   * @throws EspalierException as {@link ModelFamily#configure}, and for a size that only stored
   *     weights could tell
   */
  public FreshWeights(String file, ObjectNode json) {
    ConfigFields fields = new ConfigFields(file, json);
    ModelFamily family = Families.of(fields);
    ModelConfig config =
        family.configure(
            fields,
            linear -> {
              throw EspalierException.input(
                  file + ": the size of " + linear + " is not stated, and there are no weights yet",
                  "State num_key_value_heads in the file.");
            });
    long vocabulary = config.vocabulary();
    long width = config.hiddenSize();
    add(family.embedding() + ".weight", vocabulary, width);
    family.positions().ifPresent(module -> add(module + ".weight", config.contextLength(), width));
    for (int layer = 0; layer < config.layers(); layer++) {
      family.vectors(config, layer).forEach(this::add);
      for (LinearSpec linear : family.linears(config, layer)) {
        add(
            linear.name() + ".weight",
            linear.inOut() ? linear.in() : linear.out(),
            linear.inOut() ? linear.out() : linear.in());
        if (linear.bias()) {
          add(linear.name() + ".bias", linear.out());
        }
      }
    }
    family.finalVectors(config).forEach(this::add);
    if (!config.tied()) {
      add(ModelFamily.HEAD + ".weight", vocabulary, width);
    }
  }

  private void add(VectorSpec vector) {
    add(vector.name(), vector.length());
  }

  private void add(String name, long... shape) {
    specs.put(name, new TensorSpec(name, DType.F32, Shape.of(shape)));
  }

  /** Declares and writes every tensor, F32; begins the writer. */
  public void write(CheckpointWriter writer, Context context, double deviation, long seed) {
    specs.values().forEach(writer::declare);
    writer.begin();
    for (TensorSpec spec : specs.values()) {
      try (Context.Scope scope = context.scope()) {
        Tensor tensor = context.allocate(DType.F32, spec.shape().toArray());
        fill(tensor, spec.name(), deviation, seed);
        writer.write(spec.name(), tensor);
      }
    }
  }

  private static void fill(Tensor tensor, String name, double deviation, long seed) {
    FloatBuffer values = tensor.buffer().asFloatBuffer();
    if (tensor.shape().rank() == 1) {
      float value = name.endsWith(".bias") ? 0 : 1;
      while (values.hasRemaining()) {
        values.put(value);
      }
      return;
    }
    // Both the hash of a string and this generator are part of Java's specification.
    Random random = new Random(seed * 0x9E3779B97F4A7C15L + name.hashCode());
    while (values.hasRemaining()) {
      values.put((float) (deviation * random.nextGaussian()));
    }
  }
}
