// SPDX-License-Identifier: Apache-2.0
package espalier.kernel;

import static espalier.kernel.Checks.matrix;
import static espalier.kernel.Checks.shaped;

import espalier.internal.Abi;
import espalier.internal.Native;
import espalier.internal.Words;
import espalier.tensor.Context;
import espalier.tensor.DType;
import espalier.tensor.Shape;
import espalier.tensor.Storage;
import espalier.tensor.Tensor;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.Collections;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Set;

/**
 * Records the addresses of one decode step and replays the whole token in one native call. Nothing
 * is computed while it records: the tensors it returns hold a step's results after {@link #run}.
 *
 * <p>What changes from token to token is the id, which lies in {@link #token}, and the position:
 * wherever an operation is told to start at the position that was recorded, a run starts at its
 * own. Bits are those of {@link Eager}.
 *
 * <p>It owns its results and its own memory; the operands it was given must stay open while it
 * runs, which every run checks.
 */
public final class Program implements Ops, AutoCloseable {
  /** Says which operation of a pass cannot be part of a program. */
  public static final class NotRecordable extends RuntimeException {
    private static final long serialVersionUID = 1L;

    NotRecordable(String message) {
      super(message);
    }
  }

  private static final int MOST_ARGUMENTS = 24;

  private final Context context;
  private final long position;
  private final long handle;
  private final Words base = new Words(MOST_ARGUMENTS);
  private final Words slope = new Words(MOST_ARGUMENTS);
  private final List<Storage> owned = new ArrayList<>();
  private final Set<Storage> borrowed = Collections.newSetFromMap(new IdentityHashMap<>());
  private final Tensor token;
  private final ByteBuffer tokenBytes;
  private Storage[] operands = {};
  private long end = Long.MAX_VALUE;
  private int calls;
  private int arguments;
  private boolean open = true;

  /**
   * Creates an empty program; the caller closes it before its operands.
   *
   * @param position where the step that is going to be recorded stands
   */
  public Program(Context context, long position) {
    this.context = context;
    this.position = position;
    Words out = new Words(1);
    Native.check(Abi.esp_program_create(context.handle(), out.address(0)));
    this.handle = out.get(0);
    this.token = result(DType.I32, 1);
    this.tokenBytes = token.buffer();
  }

  /** Returns where the id of a run's token lies: I32 [1]. */
  public Tensor token() {
    return token;
  }

  /** Returns the first position that a run cannot serve: a table or a cache ends there. */
  public long end() {
    return end;
  }

  /** Returns how many native calls a run makes. */
  public int calls() {
    return calls;
  }

  /**
   * Computes the step of token {@code id} at {@code position}.
   *
   * @throws IllegalStateException when an operand was closed since it was recorded
   */
  public void run(int id, long position) {
    if (position < 0 || position >= end || !open) {
      throw new IllegalStateException("position " + position + " of a program for " + end);
    }
    if (operands.length != borrowed.size()) {
      operands = borrowed.toArray(new Storage[0]);
    }
    for (Storage operand : operands) {
      operand.address();
    }
    tokenBytes.putInt(0, id);
    Native.check(Abi.esp_program_run(handle, position));
  }

  /**
   * Records that a row F32 [1, width] goes to row {@code position} of {@code rows} F32 [n, width];
   * returns rows [0, position] of the recorded step.
   */
  public Tensor store(Tensor row, Tensor rows) {
    matrix("rows", rows, DType.F32);
    long width = rows.dimension(1);
    shaped("row", row, DType.F32, 1, width);
    recordable(position < rows.dimension(0), "a cache without a row for position " + position);
    end = Math.min(end, rows.dimension(0));
    begin().word(width).word(DType.F32.code()).address(row);
    address(rows, 0, width * Float.BYTES).record("convert_to_f32");
    return rows.rows(0, position + 1);
  }

  /** Records the choice of the largest of F32 logits: I32 [1], −1 when there is none. */
  public Tensor argMax(Tensor logits) {
    Tensor y = result(DType.I32, 1);
    begin().word(logits.elements()).address(logits).address(y).record("arg_max");
    return y;
  }

  @Override
  public Context context() {
    return context;
  }

  /** Results stay where they were recorded. */
  @Override
  public boolean retains() {
    return true;
  }

  @Override
  public Tensor embed(Tensor ids, Tensor table) {
    long tokens = ids.elements();
    oneToken(tokens);
    Tensor y = floats(tokens, table.dimension(1));
    begin().word(tokens).word(table.dimension(0)).word(table.dimension(1)).address(ids);
    word(table.dtype().code()).address(table).address(y).record("embedding");
    return y;
  }

  @Override
  public Tensor embedPositions(long start, long tokens, Tensor table) {
    oneToken(tokens);
    atPosition(start);
    long width = table.dimension(1);
    end = Math.min(end, table.dimension(0));
    Tensor y = floats(tokens, width);
    begin().word(width).word(table.dtype().code());
    address(table, 0, table.dtype().bytes(width)).address(y).record("convert_to_f32");
    return y;
  }

  @Override
  public Tensor dense(Tensor x, Tensor weight, boolean inOut, Tensor bias) {
    long m = x.dimension(0);
    long k = x.dimension(1);
    long n = MatMul.outputs(x, weight, inOut, bias);
    Tensor y = floats(m, n);
    begin().word(m).word(n).word(k).address(x).word(k).word(weight.dtype().code()).address(weight);
    word(inOut ? n : k).optional(bias).address(y).word(n);
    return record(inOut ? "matmul_dense_in_out" : "matmul_dense", y);
  }

  @Override
  public Tensor packed(
      Tensor x,
      int bits,
      Tensor codes,
      Tensor scales,
      Tensor zeros,
      long group,
      Tensor groupIndex,
      Tensor bias) {
    long m = x.dimension(0);
    long k = x.dimension(1);
    long n = codes.dimension(0);
    MatMul.checkPacked(bits, codes, scales, zeros, group, n, k);
    MatMul.checkBias(bias, n);
    Tensor y = floats(m, n);
    boolean anyWidth = groupIndex != null || (bits != 4 && bits != 8);
    begin();
    if (anyWidth) {
      word(bits);
    }
    word(m).word(n).word(k).address(x).word(k).address(codes).word(codes.dimension(1));
    address(scales).optional(zeros).word(group);
    if (anyWidth) {
      optional(groupIndex);
    }
    optional(bias).address(y).word(n);
    return record(anyWidth ? "matmul_wna16" : "matmul_w" + bits + "a16", y);
  }

  @Override
  public Tensor packedRounded(
      Tensor x, int bits, Tensor codes, Tensor scales, Tensor zeros, long group, Tensor bias) {
    long m = x.dimension(0);
    long k = x.dimension(1);
    long n = codes.dimension(0);
    recordable(
        QuantizedActivations.multiplies(bits), "an int8 product with codes of " + bits + " bits");
    MatMul.checkPacked(bits, codes, scales, zeros, group, n, k);
    MatMul.checkBias(bias, n);
    Tensor rounded = result(DType.I8, m, k);
    Tensor tokenScales = floats(m);
    begin().word(m).word(k).address(x).word(k).address(rounded).word(k).address(tokenScales);
    record("quantize_tokens");
    Tensor y = floats(m, n);
    begin().word(m).word(n).word(k).address(rounded).word(k).address(tokenScales).address(codes);
    word(codes.dimension(1)).address(scales).optional(zeros).word(group).optional(bias);
    return address(y).word(n).record("matmul_w" + bits + "a8", y);
  }

  @Override
  public Tensor sparse(Tensor x, Sparse.Matrix weight, Tensor bias) {
    long m = x.dimension(0);
    long k = x.dimension(1);
    long n = weight.rows();
    Checks.require(k == weight.columns(), "x", x, "[., " + weight.columns() + "]");
    MatMul.checkBias(bias, n);
    Tensor y = floats(m, n);
    begin().word(m).word(n).word(k).address(x).word(k).word(weight.pattern().ordinal());
    word(weight.values().dtype().code()).address(weight.places()).optional(weight.rowOffsets());
    address(weight.values()).optional(weight.scales()).word(weight.group()).optional(bias);
    return address(y).word(n).record("matmul_sparse", y);
  }

  @Override
  public Tensor rmsNorm(Tensor x, Tensor weight, float eps) {
    long width = weight.elements();
    Tensor y = like(x);
    begin().word(x.elements() / width).word(width).address(x).word(width).address(weight);
    return real(eps).address(y).word(width).record("rms_norm", y);
  }

  @Override
  public Tensor layerNorm(Tensor x, Tensor weight, Tensor bias, float eps) {
    long width = weight.elements();
    Tensor y = like(x);
    begin().word(x.elements() / width).word(width).address(x).word(width).address(weight);
    return optional(bias).real(eps).address(y).word(width).record("layer_norm", y);
  }

  @Override
  public Tensor rotate(Tensor x, long heads, long start, Tensor cosines, Tensor sines) {
    oneToken(x.dimension(0));
    atPosition(start);
    shaped("sines", sines, DType.F32, cosines.shape().toArray());
    long positions = cosines.dimension(0);
    end = Math.min(end, positions);
    Tensor y = like(x);
    begin().word(x.elements()).word(DType.F32.code()).address(x).address(y);
    record("convert_to_f32");
    long width = x.dimension(1);
    begin().word(1).word(heads).word(width / heads).word(2 * cosines.dimension(1));
    word(0, 1).word(positions).address(cosines).address(sines).address(y).word(width);
    return record("rope", y);
  }

  @Override
  public Tensor attention(
      Tensor q,
      Tensor keys,
      Tensor values,
      long heads,
      long keyHeads,
      long start,
      long window,
      float scale) {
    oneToken(q.dimension(0));
    atPosition(start);
    recordable(keys.dimension(0) == start + 1, "attention over keys beyond its own position");
    shaped("values", values, DType.F32, keys.shape().toArray());
    long width = q.dimension(1);
    long headWidth = width / heads;
    shaped("keys", keys, DType.F32, start + 1, keyHeads * headWidth);
    Tensor y = like(q);
    begin().word(1).word(1, 1).word(heads).word(keyHeads).word(headWidth).word(0, 1);
    word(window).real(scale).address(q).word(width).address(keys).word(keys.dimension(1));
    address(values).word(values.dimension(1)).address(y).word(width);
    return record("attention", y);
  }

  @Override
  public Tensor siluMultiply(Tensor gate, Tensor up) {
    return pairwise("silu_mul", gate, up);
  }

  @Override
  public Tensor activation(Elementwise.Function function, Tensor x) {
    Tensor y = like(x);
    begin().word(x.elements()).word(function.ordinal()).address(x).address(y);
    return record("activation", y);
  }

  @Override
  public Tensor add(Tensor a, Tensor b) {
    return pairwise("add", a, b);
  }

  @Override
  public Tensor multiply(Tensor a, Tensor b) {
    return pairwise("multiply", a, b);
  }

  @Override
  public Tensor columns(Tensor x, long from, long to) {
    matrix("x", x, DType.F32);
    oneToken(x.dimension(0));
    Checks.require(
        from >= 0 && from <= to && to <= x.dimension(1), "columns", from + ".." + to, "" + x);
    Tensor y = floats(1, to - from);
    begin().word(to - from).word(DType.F32.code()).address(x, from * Float.BYTES, 0).address(y);
    return record("convert_to_f32", y);
  }

  private Tensor pairwise(String operation, Tensor a, Tensor b) {
    shaped("b", b, DType.F32, a.shape().toArray());
    Tensor y = like(a);
    return begin().word(a.elements()).address(a).address(b).address(y).record(operation, y);
  }

  private static void oneToken(long tokens) {
    recordable(tokens == 1, tokens + " tokens in one step");
  }

  private void atPosition(long start) {
    recordable(start == position, "a start at " + start + " in a step at " + position);
  }

  private static void recordable(boolean condition, String what) {
    if (!condition) {
      throw new NotRecordable("a program cannot hold " + what);
    }
  }

  private Tensor floats(long... dimensions) {
    return result(DType.F32, dimensions);
  }

  private Tensor like(Tensor x) {
    return floats(x.shape().toArray());
  }

  private Tensor result(DType dtype, long... dimensions) {
    Shape shape = Shape.of(dimensions);
    Storage storage = Storage.allocate(dtype.bytes(shape.elements()));
    owned.add(storage);
    return new Tensor(storage, 0, dtype, shape);
  }

  private Program begin() {
    arguments = 0;
    return this;
  }

  private Program word(long value) {
    return word(value, 0);
  }

  /** A word that grows by {@code perPosition} from one position to the next. */
  private Program word(long atZero, long perPosition) {
    base.set(arguments, atZero);
    slope.set(arguments++, perPosition);
    return this;
  }

  private Program real(float value) {
    return word(Float.floatToRawIntBits(value) & 0xFFFFFFFFL);
  }

  private Program address(Tensor tensor) {
    return address(tensor, 0, 0);
  }

  private Program address(Tensor tensor, long offsetBytes, long bytesPerPosition) {
    if (!owned.contains(tensor.storage())) {
      borrowed.add(tensor.storage());
    }
    return word(tensor.address() + offsetBytes, bytesPerPosition);
  }

  private Program optional(Tensor tensor) {
    return tensor == null ? word(0) : address(tensor);
  }

  private Tensor record(String operation, Tensor y) {
    record(operation);
    return y;
  }

  private void record(String operation) {
    Native.check(
        Abi.esp_program_append(handle, operation, arguments, base.address(0), slope.address(0)));
    calls++;
  }

  /** Frees the program and its results. Closing twice does nothing. */
  @Override
  public void close() {
    if (open) {
      open = false;
      Native.check(Abi.esp_program_destroy(handle));
      owned.forEach(Storage::close);
    }
  }
}
