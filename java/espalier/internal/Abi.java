// SPDX-License-Identifier: Apache-2.0
package espalier.internal;

import org.bytedeco.javacpp.Loader;
import org.bytedeco.javacpp.annotation.Cast;
import org.bytedeco.javacpp.annotation.NoException;
import org.bytedeco.javacpp.annotation.Platform;

/**
 * The C ABI, line by line as in {@code native/include/espalier.h}; that header documents every
 * function. Addresses travel as {@code long}. Only {@code espalier.tensor} and {@code
 * espalier.kernel} may call it.
 */
@Platform(include = "espalier.h", link = "espalier")
@NoException
public final class Abi {
  static {
    Loader.load();
  }

  private Abi() {}

  public static native String esp_last_error();

  public static native String esp_cpu_features();

  public static native int esp_context_create(int threads, @Cast("esp_context**") long out);

  public static native int esp_context_destroy(@Cast("esp_context*") long ctx);

  public static native void esp_context_cancel(@Cast("esp_context*") long ctx);

  public static native int esp_context_set_precision(@Cast("esp_context*") long ctx, int precision);

  public static native int esp_context_threads(@Cast("const esp_context*") long ctx);

  public static native int esp_blas_open(String path);

  public static native int esp_memory_allocate(long bytes, @Cast("void**") long out);

  public static native int esp_memory_free(@Cast("void*") long address, long bytes);

  public static native int esp_memory_sparse(@Cast("void*") long address, long bytes);

  public static native int esp_file_map(
      String path, @Cast("void**") long address, @Cast("int64_t*") long size);

  public static native int esp_file_spill(String folder, long bytes, @Cast("void**") long address);

  public static native int esp_file_unmap(@Cast("void*") long address, long size);

  public static native int esp_file_forget(@Cast("const void*") long address, long bytes);

  public static native int esp_variant_count();

  public static native String esp_variant_operation(int i);

  public static native String esp_variant_name(int i);

  public static native String esp_variant_isa(int i);

  public static native int esp_variant_runs(int i);

  public static native int esp_variant_pin(
      @Cast("esp_context*") long ctx, String operation, String name);

  public static native int esp_convert_to_f32(
      @Cast("esp_context*") long ctx,
      long n,
      int dtype,
      @Cast("const void*") long x,
      @Cast("float*") long y);

  public static native int esp_convert_from_f32(
      @Cast("esp_context*") long ctx,
      long n,
      int dtype,
      @Cast("const float*") long x,
      @Cast("void*") long y);

  public static native int esp_first_nonfinite(
      @Cast("esp_context*") long ctx,
      long n,
      int dtype,
      @Cast("const void*") long x,
      @Cast("int64_t*") long first);

  public static native int esp_matmul_dense(
      @Cast("esp_context*") long ctx,
      long m,
      long n,
      long k,
      @Cast("const float*") long x,
      long ldx,
      int wdtype,
      @Cast("const void*") long w,
      long ldw,
      @Cast("const float*") long bias,
      @Cast("float*") long y,
      long ldy);

  public static native int esp_matmul_dense_in_out(
      @Cast("esp_context*") long ctx,
      long m,
      long n,
      long k,
      @Cast("const float*") long x,
      long ldx,
      int wdtype,
      @Cast("const void*") long w,
      long ldw,
      @Cast("const float*") long bias,
      @Cast("float*") long y,
      long ldy);

  public static native int esp_matmul_w4a16(
      @Cast("esp_context*") long ctx,
      long m,
      long n,
      long k,
      @Cast("const float*") long x,
      long ldx,
      @Cast("const uint32_t*") long codes,
      long ldcodes,
      @Cast("const float*") long scales,
      @Cast("const int8_t*") long zeros,
      long group,
      @Cast("const float*") long bias,
      @Cast("float*") long y,
      long ldy);

  public static native int esp_matmul_w8a16(
      @Cast("esp_context*") long ctx,
      long m,
      long n,
      long k,
      @Cast("const float*") long x,
      long ldx,
      @Cast("const uint32_t*") long codes,
      long ldcodes,
      @Cast("const float*") long scales,
      @Cast("const int8_t*") long zeros,
      long group,
      @Cast("const float*") long bias,
      @Cast("float*") long y,
      long ldy);

  public static native int esp_matmul_wna16(
      @Cast("esp_context*") long ctx,
      int bits,
      long m,
      long n,
      long k,
      @Cast("const float*") long x,
      long ldx,
      @Cast("const uint32_t*") long codes,
      long ldcodes,
      @Cast("const float*") long scales,
      @Cast("const int8_t*") long zeros,
      long group,
      @Cast("const int32_t*") long groupIndex,
      @Cast("const float*") long bias,
      @Cast("float*") long y,
      long ldy);

  public static native int esp_dequantize(
      @Cast("esp_context*") long ctx,
      int bits,
      long n,
      long k,
      @Cast("const uint32_t*") long codes,
      long ldcodes,
      @Cast("const float*") long scales,
      @Cast("const int8_t*") long zeros,
      long group,
      @Cast("const int32_t*") long groupIndex,
      @Cast("float*") long w,
      long ldw);

  public static native int esp_quantize_tokens(
      @Cast("esp_context*") long ctx,
      long rows,
      long cols,
      @Cast("const float*") long x,
      long ldx,
      @Cast("int8_t*") long codes,
      long ldcodes,
      @Cast("float*") long scales);

  public static native int esp_matmul_w8a8(
      @Cast("esp_context*") long ctx,
      long m,
      long n,
      long k,
      @Cast("const int8_t*") long x,
      long ldx,
      @Cast("const float*") long xScales,
      @Cast("const uint32_t*") long codes,
      long ldcodes,
      @Cast("const float*") long scales,
      @Cast("const int8_t*") long zeros,
      long group,
      @Cast("const float*") long bias,
      @Cast("float*") long y,
      long ldy);

  public static native int esp_matmul_w4a8(
      @Cast("esp_context*") long ctx,
      long m,
      long n,
      long k,
      @Cast("const int8_t*") long x,
      long ldx,
      @Cast("const float*") long xScales,
      @Cast("const uint32_t*") long codes,
      long ldcodes,
      @Cast("const float*") long scales,
      @Cast("const int8_t*") long zeros,
      long group,
      @Cast("const float*") long bias,
      @Cast("float*") long y,
      long ldy);

  public static native int esp_embedding(
      @Cast("esp_context*") long ctx,
      long tokens,
      long vocabulary,
      long width,
      @Cast("const int32_t*") long ids,
      int dtype,
      @Cast("const void*") long table,
      @Cast("float*") long y);

  public static native int esp_rms_norm(
      @Cast("esp_context*") long ctx,
      long rows,
      long cols,
      @Cast("const float*") long x,
      long ldx,
      @Cast("const float*") long weight,
      float eps,
      @Cast("float*") long y,
      long ldy);

  public static native int esp_layer_norm(
      @Cast("esp_context*") long ctx,
      long rows,
      long cols,
      @Cast("const float*") long x,
      long ldx,
      @Cast("const float*") long weight,
      @Cast("const float*") long bias,
      float eps,
      @Cast("float*") long y,
      long ldy);

  public static native int esp_rope(
      @Cast("esp_context*") long ctx,
      long tokens,
      long heads,
      long headDim,
      long rotary,
      long start,
      long positions,
      @Cast("const float*") long cosines,
      @Cast("const float*") long sines,
      @Cast("float*") long x,
      long ldx);

  public static native int esp_attention(
      @Cast("esp_context*") long ctx,
      long tokens,
      long keys,
      long heads,
      long kvHeads,
      long headDim,
      long start,
      long window,
      float scale,
      @Cast("const float*") long q,
      long ldq,
      @Cast("const float*") long k,
      long ldk,
      @Cast("const float*") long v,
      long ldv,
      @Cast("float*") long y,
      long ldy);

  public static native int esp_silu_mul(
      @Cast("esp_context*") long ctx,
      long n,
      @Cast("const float*") long gate,
      @Cast("const float*") long up,
      @Cast("float*") long y);

  public static native int esp_activation(
      @Cast("esp_context*") long ctx,
      long n,
      int kind,
      @Cast("const float*") long x,
      @Cast("float*") long y);

  public static native int esp_add(
      @Cast("esp_context*") long ctx,
      long n,
      @Cast("const float*") long a,
      @Cast("const float*") long b,
      @Cast("float*") long y);

  public static native int esp_multiply(
      @Cast("esp_context*") long ctx,
      long n,
      @Cast("const float*") long a,
      @Cast("const float*") long b,
      @Cast("float*") long y);

  public static native int esp_cross_entropy(
      @Cast("esp_context*") long ctx,
      long rows,
      long vocabulary,
      @Cast("const float*") long logits,
      long ldlogits,
      @Cast("const int32_t*") long targets,
      @Cast("double*") long loss);

  public static native int esp_divergence(
      @Cast("esp_context*") long ctx,
      long rows,
      long vocabulary,
      @Cast("const float*") long p,
      long ldp,
      @Cast("const float*") long q,
      long ldq,
      @Cast("double*") long kl,
      @Cast("uint8_t*") long sameTop);

  public static native int esp_arg_max(
      @Cast("esp_context*") long ctx,
      long n,
      @Cast("const float*") long logits,
      @Cast("int32_t*") long index);

  public static native int esp_program_create(
      @Cast("esp_context*") long ctx, @Cast("esp_program**") long out);

  public static native int esp_program_destroy(@Cast("esp_program*") long program);

  public static native int esp_program_append(
      @Cast("esp_program*") long program,
      String operation,
      int arguments,
      @Cast("const int64_t*") long base,
      @Cast("const int64_t*") long slope);

  public static native int esp_program_run(@Cast("esp_program*") long program, long position);

  public static native int esp_quantize_range(
      @Cast("esp_context*") long ctx,
      long rows,
      long cols,
      @Cast("const float*") long w,
      long ldw,
      int bits,
      int symmetric,
      long group,
      int scaleDtype,
      int mseGrid,
      double mseShrink,
      double mseNorm,
      int msePatience,
      int tellTies,
      @Cast("float*") long scales,
      @Cast("int8_t*") long zeros);

  public static native int esp_quantize_nearest(
      @Cast("esp_context*") long ctx,
      long rows,
      long cols,
      @Cast("const float*") long w,
      long ldw,
      int bits,
      long group,
      @Cast("const float*") long scales,
      @Cast("const int8_t*") long zeros,
      int tellTies,
      @Cast("int8_t*") long codes);

  public static native int esp_pack(
      @Cast("esp_context*") long ctx,
      long rows,
      long cols,
      int bits,
      @Cast("const int8_t*") long codes,
      @Cast("uint32_t*") long words,
      long ldwords);

  public static native int esp_unpack(
      @Cast("esp_context*") long ctx,
      long rows,
      long cols,
      int bits,
      @Cast("const uint32_t*") long words,
      long ldwords,
      @Cast("int8_t*") long codes);

  public static native int esp_gram(
      @Cast("esp_context*") long ctx,
      long tokens,
      long k,
      int dtype,
      @Cast("const void*") long x,
      long ldx,
      @Cast("double*") long h);

  public static native int esp_quadratic_form(
      @Cast("esp_context*") long ctx,
      long rows,
      long k,
      @Cast("const float*") long a,
      @Cast("const float*") long b,
      long ld,
      @Cast("const double*") long h,
      @Cast("double*") long value);

  public static native int esp_permute_columns(
      @Cast("esp_context*") long ctx,
      long rows,
      long cols,
      int elementBytes,
      @Cast("const void*") long from,
      @Cast("const int32_t*") long order,
      int back,
      @Cast("void*") long to);

  public static native int esp_hessian(
      @Cast("esp_context*") long ctx,
      long n,
      long first,
      long rows,
      @Cast("const double*") long gram,
      long ld,
      double scale,
      @Cast("const int32_t*") long order,
      @Cast("const double*") long diagonal,
      @Cast("double*") long h);

  public static native int esp_cross_gram(
      @Cast("esp_context*") long ctx,
      long rows,
      long k,
      @Cast("const float*") long x,
      @Cast("const float*") long reference,
      long ld,
      @Cast("double*") long c);

  public static native int esp_divide(
      @Cast("esp_context*") long ctx,
      long n,
      @Cast("const double*") long u,
      @Cast("const int32_t*") long order,
      double scale,
      @Cast("const double*") long c,
      @Cast("float*") long x);

  public static native int esp_add_product(
      @Cast("esp_context*") long ctx,
      long rows,
      long k,
      @Cast("const float*") long w,
      @Cast("const float*") long m,
      @Cast("float*") long y);

  public static native int esp_cholesky_reversed(
      @Cast("esp_context*") long ctx,
      long n,
      @Cast("double*") long h,
      @Cast("int64_t*") long pivot);

  public static native int esp_gptq_solve(
      @Cast("esp_context*") long ctx,
      long rows,
      long cols,
      @Cast("float*") long w,
      @Cast("const double*") long u,
      int bits,
      int symmetric,
      long group,
      @Cast("const int32_t*") long fixedGroup,
      int scaleDtype,
      @Cast("float*") long scales,
      @Cast("int8_t*") long zeros,
      @Cast("int8_t*") long codes);

  // ---- sparse weights

  public static native int esp_matmul_sparse(
      @Cast("esp_context*") long ctx,
      long m,
      long rows,
      long cols,
      @Cast("const float*") long x,
      long ldx,
      int pattern,
      int dtype,
      @Cast("const uint8_t*") long places,
      @Cast("const int64_t*") long rowOffsets,
      @Cast("const void*") long values,
      @Cast("const float*") long scales,
      long group,
      @Cast("const float*") long bias,
      @Cast("float*") long y,
      long ldy);

  public static native String esp_matmul_sparse_path(
      @Cast("const esp_context*") long ctx,
      long m,
      long rows,
      long cols,
      int pattern,
      int dtype,
      long kept);

  public static native int esp_sparse_expand(
      @Cast("esp_context*") long ctx,
      long rows,
      long cols,
      int pattern,
      int dtype,
      @Cast("const uint8_t*") long places,
      @Cast("const int64_t*") long rowOffsets,
      @Cast("const void*") long values,
      @Cast("const float*") long scales,
      long group,
      @Cast("float*") long y,
      long ldy);

  public static native int esp_sparse_codes(
      @Cast("esp_context*") long ctx,
      long rows,
      long cols,
      int pattern,
      int dtype,
      @Cast("const uint8_t*") long places,
      @Cast("const int64_t*") long rowOffsets,
      @Cast("const void*") long values,
      @Cast("int8_t*") long codes);

  public static native int esp_sparse_places(
      @Cast("esp_context*") long ctx,
      long rows,
      long cols,
      int pattern,
      int dtype,
      @Cast("const void*") long w,
      @Cast("const uint8_t*") long mask,
      @Cast("uint8_t*") long places,
      @Cast("int64_t*") long rowOffsets,
      @Cast("int64_t*") long kept);

  public static native int esp_sparse_pack(
      @Cast("esp_context*") long ctx,
      long rows,
      long cols,
      int pattern,
      int dtype,
      @Cast("const void*") long w,
      @Cast("const uint8_t*") long places,
      @Cast("const int64_t*") long rowOffsets,
      @Cast("void*") long values);

  public static native int esp_sparse_check(
      @Cast("esp_context*") long ctx,
      long rows,
      long cols,
      int pattern,
      int dtype,
      @Cast("const uint8_t*") long places,
      @Cast("const int64_t*") long rowOffsets,
      @Cast("int64_t*") long row,
      @Cast("int64_t*") long kept,
      @Cast("int64_t*") long valueBytes);

  public static native int esp_spmm_f32(
      @Cast("esp_context*") long ctx,
      long rows,
      long cols,
      long n,
      @Cast("const uint8_t*") long places,
      @Cast("const int64_t*") long rowOffsets,
      @Cast("const float*") long values,
      @Cast("const float*") long b,
      long ldb,
      @Cast("float*") long y,
      long ldy);

  // ---- pruning

  public static native int esp_select_smallest(
      @Cast("esp_context*") long ctx,
      long rows,
      long cols,
      @Cast("const float*") long x,
      @Cast("const float*") long factor,
      int perRow,
      long count,
      int allTies,
      @Cast("uint8_t*") long kept);

  public static native int esp_select_nm(
      @Cast("esp_context*") long ctx,
      long rows,
      long cols,
      @Cast("const float*") long x,
      @Cast("const float*") long factor,
      int n,
      int m,
      @Cast("uint8_t*") long kept);

  public static native int esp_apply_mask(
      @Cast("esp_context*") long ctx,
      long rows,
      long cols,
      @Cast("const uint8_t*") long kept,
      @Cast("float*") long w);

  public static native int esp_column_squares(
      @Cast("esp_context*") long ctx,
      long tokens,
      long cols,
      @Cast("const float*") long x,
      @Cast("double*") long sums);

  public static native int esp_sparsegpt_solve(
      @Cast("esp_context*") long ctx,
      long rows,
      long cols,
      @Cast("float*") long w,
      @Cast("const double*") long u,
      @Cast("const float*") long importance,
      int drop,
      int of,
      double sparsity,
      long width,
      int preserve,
      int bits,
      int symmetric,
      long group,
      @Cast("const int32_t*") long fixedGroup,
      int scaleDtype,
      @Cast("float*") long scales,
      @Cast("int8_t*") long zeros,
      @Cast("int8_t*") long codes,
      @Cast("uint8_t*") long kept,
      @Cast("void*") long work,
      long workBytes);

  public static native long esp_sparsegpt_work_bytes(
      long rows, long cols, long group, int fixedGroups);
}
