// SPDX-License-Identifier: Apache-2.0
package espalier.codec;

import espalier.checkpoint.Checkpoint;
import espalier.checkpoint.TensorSpec;
import espalier.kernel.Convert;
import espalier.kernel.Quantize;
import espalier.layer.Linear;
import espalier.layer.Quantized;
import espalier.layer.Scheme;
import espalier.report.EspalierException;
import espalier.tensor.Context;
import espalier.tensor.DType;
import espalier.tensor.Shape;
import espalier.tensor.Tensor;
import java.nio.ByteBuffer;
import java.nio.FloatBuffer;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * compressed-tensors {@code int-quantized} ({@code naive-quantized} without activations); checked
 * against compressed-tensors 0.20.0.
 *
 * <pre>
 * module.weight             I8 [N, K]           q, a byte a code whatever its width
 * module.weight_scale       model dtype [N, G]  G = K / group, 1 per channel; [1] for one scale in all
 * module.weight_zero_point  I8 [N, G]           asymmetric only
 * </pre>
 *
 * Codes are packed into the bit streams that everything else reads, a copy of the context's scope.
 */
public final class IntQuantized implements LinearCodec {
  private static final String WEIGHT = ".weight";
  private static final String SCALE = ".weight_scale";
  private static final String ZERO = ".weight_zero_point";

  @Override
  public String format() {
    return "int-quantized";
  }

  @Override
  public boolean accepts(Checkpoint checkpoint, String module) {
    return checkpoint.spec(module + WEIGHT).filter(spec -> spec.dtype() == DType.I8).isPresent()
        && checkpoint.find(module + SCALE).isPresent();
  }

  @Override
  public List<String> names(Checkpoint checkpoint, String module) {
    List<String> names = new ArrayList<>();
    for (String suffix : List.of(WEIGHT, SCALE, ZERO)) {
      if (checkpoint.find(module + suffix).isPresent()) {
        names.add(module + suffix);
      }
    }
    return names;
  }

  @Override
  public Linear decode(
      Context context, Checkpoint checkpoint, String module, Scheme scheme, Tensor bias) {
    Tensor weight = checkpoint.get(module + WEIGHT);
    if (weight.shape().rank() != 2 || weight.dimension(1) == 0) {
      throw malformed(module + WEIGHT, weight, "a matrix");
    }
    long out = weight.dimension(0);
    long in = weight.dimension(1);
    if (!scheme.divides(in)) {
      throw malformed(module + WEIGHT, weight, "columns in " + scheme);
    }
    Tensor codes = Quantize.pack(context, weight, scheme.bits());
    requireWidth(context, module, weight, codes, scheme.bits());
    long groups = in / scheme.group(in);
    Tensor stored = checkpoint.get(module + SCALE);
    boolean single = stored.elements() == 1;
    if (!stored.dtype().isFloat()
        || (stored.elements() != out * groups && !(single && scheme.groupSize() == 0))) {
      throw malformed(module + SCALE, stored, "[" + out + ", " + groups + "] of floats");
    }
    Tensor wide = Convert.toFloat(context, stored);
    if (Convert.firstNonFinite(context, wide) >= 0) {
      throw EspalierException.input(
          checkpoint.folder() + ": " + module + SCALE + " holds NaN or infinity",
          "Quantize the model again; this file is damaged.");
    }
    Tensor scales = single ? repeated(context, wide, out) : wide.reshape(out, groups);
    Tensor zeros = null;
    if (!scheme.symmetric()) {
      zeros = checkpoint.get(module + ZERO);
      if (zeros.dtype() != DType.I8 || zeros.elements() != out * groups) {
        throw malformed(module + ZERO, zeros, "I8[" + out + ", " + groups + "]");
      }
      zeros = zeros.reshape(out, groups);
    }
    return new Quantized(scheme, in, codes, scales, zeros, null, stored.dtype(), bias);
  }

  /** A byte may hold more than the width allows; packing would cut it off in silence. */
  private static void requireWidth(
      Context context, String module, Tensor weight, Tensor codes, int bits) {
    if (bits == 8) {
      return;
    }
    long columns = weight.dimension(1);
    try (Context.Scope scope = context.scope()) {
      Tensor back = Quantize.unpack(context, codes, bits, columns);
      for (long row = 0; row < weight.dimension(0); row++) {
        ByteBuffer stored = weight.buffer(row * columns, columns);
        int at = stored.mismatch(back.buffer(row * columns, columns));
        if (at >= 0) {
          throw malformed(
              module + WEIGHT + "[" + row + ", " + at + "]",
              stored.get(at),
              "a code of " + bits + " bits");
        }
      }
    }
  }

  private static Tensor repeated(Context context, Tensor single, long out) {
    float scale = single.toFloats()[0];
    Tensor scales = context.allocate(DType.F32, out, 1);
    FloatBuffer to = scales.buffer().asFloatBuffer();
    while (to.hasRemaining()) {
      to.put(scale);
    }
    return scales;
  }

  @Override
  public List<TensorSpec> declare(
      String module, Scheme scheme, long out, long in, DType scaleType) {
    Shape groups = Shape.of(out, in / scheme.group(in));
    List<TensorSpec> tensors = new ArrayList<>();
    tensors.add(new TensorSpec(module + WEIGHT, DType.I8, Shape.of(out, in)));
    tensors.add(new TensorSpec(module + SCALE, scaleType, groups));
    if (!scheme.symmetric()) {
      tensors.add(new TensorSpec(module + ZERO, DType.I8, groups));
    }
    return tensors;
  }

  @Override
  public Map<String, Tensor> encode(Context context, String module, Quantized linear) {
    Map<String, Tensor> tensors = new LinkedHashMap<>();
    tensors.put(
        module + WEIGHT,
        Quantize.unpack(context, linear.codes(), linear.scheme().bits(), linear.inFeatures()));
    tensors.put(module + SCALE, linear.storedScales(context));
    if (linear.zeros() != null) {
      tensors.put(module + ZERO, linear.zeros());
    }
    return tensors;
  }

  private static EspalierException malformed(String name, Object found, String expected) {
    return EspalierException.input(
        name + " is " + found + ", expected " + expected,
        "Check that config.json belongs to these weights.");
  }
}
