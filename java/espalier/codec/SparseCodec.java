// SPDX-License-Identifier: Apache-2.0
package espalier.codec;

import espalier.checkpoint.Checkpoint;
import espalier.kernel.Convert;
import espalier.kernel.Quantize;
import espalier.kernel.Sparse.Matrix;
import espalier.kernel.Sparse.Pattern;
import espalier.layer.Dense;
import espalier.layer.Linear;
import espalier.layer.Quantized;
import espalier.layer.Scheme;
import espalier.layer.Sparse;
import espalier.layer.SparseKind;
import espalier.layer.SparseQuantized;
import espalier.tensor.Context;
import espalier.tensor.DType;
import espalier.tensor.Tensor;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Our compact sparse format, version 1: a linear of which only kept weights are stored. Other
 * programs do not read it.
 *
 * <pre>
 * bitmask  module.bitmask       U8  [N, ⌈K/8⌉]  bit c mod 8 of byte c div 8: column c is kept; pad bits 0
 *          module.row_offsets   I64 [N]         kept weights in the rows before
 *          module.values        kind [kept]     row by row, in the order of columns
 * 2:4      module.positions     U8  [N, ⌈K/8⌉]  bits 2(j mod 4) of byte j div 4: place of kept weight j in
 *                                               its four columns, two ascending places each; pad bits 0
 *          module.values        kind [N, K/2]
 * kind     BF16 | F16 | F32     the weights
 *          I8                   codes, a byte each
 *          U8                   codes + 8, the low half of a byte first, every row beginning a byte, a
 *                               last half byte being 8; so [N, ⌈K/4⌉] in 2:4 and [Σ ⌈kept in row/2⌉] else
 * codes    module.weight_scale  F32 | F16 | BF16 [N, K/group]; W = scale · code
 * </pre>
 *
 * N = out, K = in features; {@code module.bias} stays as it is. A kept weight may be 0: so a file
 * has the size that was planned. Version and modules stand in config.json, see {@link
 * SparseConfig}; the version also in {@code __metadata__} of every weight file, under {@link
 * SparseConfig#KEY}.
 */
public final class SparseCodec implements LinearReader {
  static final String BITMASK = ".bitmask";
  static final String OFFSETS = ".row_offsets";
  static final String POSITIONS = ".positions";
  static final String VALUES = ".values";
  static final String SCALE = ".weight_scale";

  private final SparseConfig config;

  SparseCodec(SparseConfig config) {
    this.config = config;
  }

  @Override
  public String format() {
    return "sparse";
  }

  @Override
  public boolean accepts(Checkpoint checkpoint, String module) {
    return checkpoint.spec(module + VALUES).isPresent();
  }

  @Override
  public List<String> names(Checkpoint checkpoint, String module) {
    if (!accepts(checkpoint, module)) {
      return List.of();
    }
    return List.of(BITMASK, OFFSETS, POSITIONS, VALUES, SCALE).stream()
        .map(suffix -> module + suffix)
        .filter(name -> checkpoint.spec(name).isPresent())
        .toList();
  }

  @Override
  public long weights(Checkpoint checkpoint, String module, Scheme scheme) {
    return checkpoint.get(module + firstPlaces(config.module(module).pattern())).dimension(0)
        * config.module(module).columns();
  }

  private static String firstPlaces(Pattern pattern) {
    return pattern == Pattern.BITMASK ? BITMASK : POSITIONS;
  }

  @Override
  public Linear decode(
      Context context, Checkpoint checkpoint, String module, Scheme scheme, Tensor bias) {
    SparseConfig.Module stated = config.module(module);
    return decode(
        context,
        checkpoint,
        module,
        stated.pattern(),
        stated.columns(),
        stated.kind(),
        scheme,
        bias);
  }

  /**
   * Reads a module that is stored so.
   *
   * @param scheme of codes, null for floating-point values
   * @throws espalier.report.EspalierException (INPUT) naming the tensor that is damaged
   */
  public static Linear decode(
      Context context,
      Checkpoint checkpoint,
      String module,
      Pattern pattern,
      long in,
      SparseKind kind,
      Scheme scheme,
      Tensor bias) {
    SparseTensors stored = new SparseTensors(checkpoint, module);
    String placesName = firstPlaces(pattern);
    Tensor places = checkpoint.get(module + placesName);
    if (places.dtype() != DType.U8 || places.shape().rank() != 2) {
      throw stored.malformed(placesName, places, "U8[., .]");
    }
    long out = places.dimension(0);
    Tensor offsets = null;
    if (pattern == Pattern.BITMASK) {
      stored.requireBitmask(context, BITMASK, OFFSETS, VALUES, out, in, kind);
      offsets = checkpoint.get(module + OFFSETS);
    } else {
      if (in % 4 != 0) {
        throw stored.malformed(POSITIONS, "for " + in + " columns", "a multiple of 4");
      }
      stored.shaped(VALUES, kind.dtype(), out, kind.elements(in / 2));
      stored.requirePositions(context, POSITIONS, out, in, kind);
    }
    Tensor values = checkpoint.get(module + VALUES);
    if (scheme == null) {
      return new Sparse(new Matrix(pattern, out, in, places, offsets, values, null, 0), bias);
    }
    Tensor scales = stored.scales(context, SCALE, out, in / scheme.group(in));
    return new SparseQuantized(
        scheme,
        new Matrix(pattern, out, in, places, offsets, values, scales, scheme.group(in)),
        checkpoint.get(module + SCALE).dtype(),
        bias);
  }

  /**
   * Returns a linear in its sparse form, its new tensors in the context's current scope.
   *
   * @param linear a matrix with zeros in place, or codes with zeros
   * @throws IllegalArgumentException when it has fewer zeros than the layout was made for
   */
  public static Linear compacted(Context context, SparseLayout layout, Linear linear) {
    if (linear instanceof Sparse || linear instanceof SparseQuantized) {
      return linear;
    }
    if (linear instanceof Quantized quantized) {
      Tensor codes =
          Quantize.unpack(
              context, quantized.codes(), quantized.scheme().bits(), quantized.inFeatures());
      return new SparseQuantized(
          quantized.scheme(),
          new SparsePacking(context, layout).pack(codes, quantized.scales()),
          layout.scaleType(),
          quantized.bias());
    }
    return new Sparse(
        new SparsePacking(context, layout).pack(linear.weight(context), null), linear.bias());
  }

  /**
   * Returns a sparse linear with its zeros in place, as {@link Dense} in the type of its values or
   * as {@link Quantized}, in the context's current scope; any other linear as it is.
   */
  public static Linear expanded(Context context, Linear linear) {
    if (linear instanceof SparseQuantized sparse) {
      Tensor codes = context.allocate(DType.I8, sparse.outFeatures(), sparse.inFeatures());
      espalier.kernel.Sparse.codes(context, sparse.matrix(), codes);
      return new Quantized(
          sparse.scheme(),
          sparse.inFeatures(),
          Quantize.pack(context, codes, sparse.scheme().bits()),
          sparse.matrix().scales(),
          null,
          null,
          sparse.scaleType(),
          sparse.bias());
    }
    if (linear instanceof Sparse sparse) {
      Tensor values = sparse.weight(context);
      return new Dense(
          sparse.type() == DType.F32 ? values : Convert.fromFloat(context, values, sparse.type()),
          sparse.bias());
    }
    return linear;
  }

  /** Returns a module's tensors by full name, without its bias. */
  public static Map<String, Tensor> encode(Context context, String module, Linear linear) {
    Matrix matrix =
        linear instanceof Sparse sparse ? sparse.matrix() : ((SparseQuantized) linear).matrix();
    Map<String, Tensor> tensors = new LinkedHashMap<>();
    tensors.put(module + firstPlaces(matrix.pattern()), matrix.places());
    if (matrix.rowOffsets() != null) {
      tensors.put(module + OFFSETS, matrix.rowOffsets());
    }
    tensors.put(module + VALUES, matrix.values());
    if (linear instanceof SparseQuantized quantized) {
      tensors.put(module + SCALE, quantized.storedScales(context));
    }
    return tensors;
  }
}
