// SPDX-License-Identifier: Apache-2.0
//
// The whole C ABI of Espalier: the only header that Java sees.
//
// Conventions.
//  * Every function returns an esp_status (0 = OK). After any other status esp_last_error() gives
//  this
//    thread's message: "op: what=value, expected ...".
//  * Nothing here throws, exits, prints or keeps a pointer it was given, except esp_file_map (until
//    esp_file_unmap) and the context.
//  * Sizes and leading dimensions are int64_t and count elements, not bytes. Matrices are
//  row-major;
//    a leading dimension is the distance of two rows. Weights are [out, in].
//  * Pointers are host memory, naturally aligned for their type. Outputs must not overlap inputs
//  unless
//    the function says "in place".
//  * Zero sizes are legal and do nothing. Negative sizes are INVALID_ARGUMENT.
//  * Results have the same bits for any number of threads.
#ifndef ESPALIER_H
#define ESPALIER_H

#include <stdint.h>

#if defined(__GNUC__)
#define ESP_EXPORT __attribute__((visibility("default")))
#else
#define ESP_EXPORT
#endif

#ifdef __cplusplus
#define ESP_NOEXCEPT noexcept
extern "C" {
#else
#define ESP_NOEXCEPT
#endif

typedef int32_t esp_status;
enum {
  ESP_OK = 0,
  ESP_INVALID_ARGUMENT = 1,
  ESP_UNSUPPORTED = 2,
  ESP_OUT_OF_MEMORY = 3,
  ESP_DEVICE = 4,
  ESP_NUMERICAL = 5,
  ESP_IO = 6,
  ESP_INTERNAL = 7,
  ESP_CANCELLED = 8
};

// Element types, in the order of the safetensors library. espalier.tensor.DType mirrors it by
// ordinal.
typedef int32_t esp_dtype;
enum {
  ESP_BOOL = 0,
  ESP_F4 = 1,
  ESP_F6_E2M3 = 2,
  ESP_F6_E3M2 = 3,
  ESP_U8 = 4,
  ESP_I8 = 5,
  ESP_F8_E5M2 = 6,
  ESP_F8_E4M3 = 7,
  ESP_F8_E8M0 = 8,
  ESP_F8_E4M3FNUZ = 9,
  ESP_F8_E5M2FNUZ = 10,
  ESP_I16 = 11,
  ESP_U16 = 12,
  ESP_F16 = 13,
  ESP_BF16 = 14,
  ESP_I32 = 15,
  ESP_U32 = 16,
  ESP_F32 = 17,
  ESP_C64 = 18,
  ESP_F64 = 19,
  ESP_I64 = 20,
  ESP_U64 = 21,
  // Of scales only: BF16 values that are F16 values too.
  ESP_BF16_AND_F16 = 64
};

// How exact the products of a context must be. FP32: as fp32 arithmetic on the operands (the
// default). BF16: an operation may round activations once, by less than bf16 would; where it does,
// it says so.
typedef int32_t esp_precision;
enum { ESP_PRECISION_FP32 = 0, ESP_PRECISION_BF16 = 1 };

typedef struct esp_context esp_context;

// ---- library
// --------------------------------------------------------------------------------------------

// The calling thread's last message; "" when there is none. Owned by the library, valid until the
// thread's next call.
ESP_EXPORT const char* esp_last_error(void) ESP_NOEXCEPT;

// Instruction sets this CPU offers and ESPALIER_ISA allows, space separated, best first, for
// example "avx2 scalar". Static storage.
ESP_EXPORT const char* esp_cpu_features(void) ESP_NOEXCEPT;

// Creates a context with a pool of `threads` workers (the caller counts as one; 0 = all
// processors). The caller owns *out and gives it to esp_context_destroy. A context serves one
// calling thread at a time.
ESP_EXPORT esp_status esp_context_create(int32_t threads, esp_context** out) ESP_NOEXCEPT;
ESP_EXPORT esp_status esp_context_destroy(esp_context* ctx) ESP_NOEXCEPT;
// Asks the long operations (gram, quadratic_form, cholesky_reversed, gptq_solve, sparsegpt_solve)
// that run on ctx, or will, to return CANCELLED at their next step; their outputs are undefined
// then. For good. From any thread, also from one that must not wait, while ctx exists.
ESP_EXPORT void esp_context_cancel(esp_context* ctx) ESP_NOEXCEPT;
ESP_EXPORT esp_status esp_context_set_precision(esp_context* ctx,
                                                esp_precision precision) ESP_NOEXCEPT;
ESP_EXPORT int32_t esp_context_threads(const esp_context* ctx) ESP_NOEXCEPT;

// Opens an OpenBLAS shared library for dense fp32/fp64 products; it is always run single-threaded
// inside our tiles. Without it the scalar products serve. Process-wide; the first success wins. IO
// when it cannot be loaded.
ESP_EXPORT esp_status esp_blas_open(const char* path) ESP_NOEXCEPT;

// ---- memory and files
// --------------------------------------------------------------------------------

// Zeroed memory, aligned to 64 bytes, owned by the caller until esp_memory_free with the same size.
ESP_EXPORT esp_status esp_memory_allocate(int64_t bytes, void** out) ESP_NOEXCEPT;
ESP_EXPORT esp_status esp_memory_free(void* address, int64_t bytes) ESP_NOEXCEPT;
// Advice for memory of esp_memory_allocate that will be touched in parts, given before it is: large
// blocks otherwise come in pages of 2 MiB where the system allows it.
ESP_EXPORT esp_status esp_memory_sparse(void* address, int64_t bytes) ESP_NOEXCEPT;

// Maps a whole regular file read-only. *size = its length; an empty file gives *address = NULL and
// size 0.
ESP_EXPORT esp_status esp_file_map(const char* path, void** address, int64_t* size) ESP_NOEXCEPT;
// Maps `bytes` > 0 zeroed bytes, read and write, that live in a file of `folder` which has no name:
// its pages may leave memory (esp_file_forget) and come back with their content. The file goes with
// esp_file_unmap or with the process, however that ends. IO when the folder cannot take that much.
ESP_EXPORT esp_status esp_file_spill(const char* folder, int64_t bytes,
                                     void** address) ESP_NOEXCEPT;
ESP_EXPORT esp_status esp_file_unmap(void* address, int64_t size) ESP_NOEXCEPT;
// Tells the kernel that the whole pages inside [address, address + bytes) of a mapping are not
// needed for now.
ESP_EXPORT esp_status esp_file_forget(const void* address, int64_t bytes) ESP_NOEXCEPT;

// ---- variants
// -----------------------------------------------------------------------------------------

// The variant table: rows in order of preference per operation; the last row of an operation is its
// reference.
ESP_EXPORT int32_t esp_variant_count(void) ESP_NOEXCEPT;
// Operation, name ("avx2", ...) and required instruction set of row i; static storage. NULL when i
// is out of range.
ESP_EXPORT const char* esp_variant_operation(int32_t i) ESP_NOEXCEPT;
ESP_EXPORT const char* esp_variant_name(int32_t i) ESP_NOEXCEPT;
ESP_EXPORT const char* esp_variant_isa(int32_t i) ESP_NOEXCEPT;
// 1 when this CPU (clamped by ESPALIER_ISA) can run row i.
ESP_EXPORT int32_t esp_variant_runs(int32_t i) ESP_NOEXCEPT;
// Makes ctx use row `name` of `operation` wherever it fits; name NULL or "" unpins.
ESP_EXPORT esp_status esp_variant_pin(esp_context* ctx, const char* operation,
                                      const char* name) ESP_NOEXCEPT;

// ---- conversion
// ---------------------------------------------------------------------------------------

// y[i] = x[i] widened exactly to fp32 (fp64 and 64-bit integers round to nearest even). x: n
// elements of dtype (F4, F6: packed, low bits first). BOOL gives 0 or 1. C64 is UNSUPPORTED.
ESP_EXPORT esp_status esp_convert_to_f32(esp_context* ctx, int64_t n, esp_dtype dtype,
                                         const void* x, float* y) ESP_NOEXCEPT;
// y[i] = x[i] rounded to nearest even in dtype, overflow as the format does it: F16 and BF16 and
// F8_E5M2 go to infinity, F8_E4M3 saturates to NaN above 464. dtype: F16, BF16, F32, F64, F8_E4M3,
// F8_E5M2; others are UNSUPPORTED.
ESP_EXPORT esp_status esp_convert_from_f32(esp_context* ctx, int64_t n, esp_dtype dtype,
                                           const float* x, void* y) ESP_NOEXCEPT;
// *first = index of the first NaN or infinity of n elements, -1 when all are finite. Integer dtypes
// are always finite.
ESP_EXPORT esp_status esp_first_nonfinite(esp_context* ctx, int64_t n, esp_dtype dtype,
                                          const void* x, int64_t* first) ESP_NOEXCEPT;

// ---- dense products
// -----------------------------------------------------------------------------------

// y[m, n] = x[m, k] . w[n, k]^T + bias[n] (bias may be NULL), fp32 sums.
// w: F32, F16 or BF16 (wdtype), widened exactly. Tiles do not depend on the number of threads.
ESP_EXPORT esp_status esp_matmul_dense(esp_context* ctx, int64_t m, int64_t n, int64_t k,
                                       const float* x, int64_t ldx, esp_dtype wdtype, const void* w,
                                       int64_t ldw, const float* bias, float* y,
                                       int64_t ldy) ESP_NOEXCEPT;
// The same with w stored [k, n] (GPT-2's Conv1D): y = x . w + bias.
ESP_EXPORT esp_status esp_matmul_dense_in_out(esp_context* ctx, int64_t m, int64_t n, int64_t k,
                                              const float* x, int64_t ldx, esp_dtype wdtype,
                                              const void* w, int64_t ldw, const float* bias,
                                              float* y, int64_t ldy) ESP_NOEXCEPT;

// ---- products from packed weights
// --------------------------------------------------------------------

// y[m, n] = x[m, k] . W^T + bias[n] where W[r, c] = scale[r, g(c)] * (q[r, c] - zero[r, g(c)]).
// FP32 contexts: as fp32 sums. Few rows of x (at most 32; 256 of 4- or 8-bit codes and 48 of others
// in BF16 contexts; never with a group_index) are multiplied exactly as integers of one quantum for
// each chunk of at most 128 columns of a group: within 2^-30 of the chunk's largest |x|, in BF16
// contexts within 2^-15.98 of it (layout/fixed_point.h). A NaN or an infinity in x makes its row of
// y NaN, where fp32 sums may give an infinity.
//  codes  rows of little-endian bit streams: element c of a row is bits [c*bits, c*bits + bits) of
//  the row, stored unsigned as
//         q + 2^(bits-1); a row has ldcodes 32-bit words, ldcodes >= ceil(k*bits/32)
//  scales F32 [n, groups]; zeros I8 [n, groups] in the signed domain, or NULL for symmetric (0)
//  group  columns per group; k for one group a row; divides k. groups = k / group. g(c) = c /
//  group, or group_index[c]
//         (I32 [k]) when group_index is not NULL
// w4a16 and w8a16 are the tuned widths; wna16 takes 2..8 bits.
ESP_EXPORT esp_status esp_matmul_w4a16(esp_context* ctx, int64_t m, int64_t n, int64_t k,
                                       const float* x, int64_t ldx, const uint32_t* codes,
                                       int64_t ldcodes, const float* scales, const int8_t* zeros,
                                       int64_t group, const float* bias, float* y,
                                       int64_t ldy) ESP_NOEXCEPT;
ESP_EXPORT esp_status esp_matmul_w8a16(esp_context* ctx, int64_t m, int64_t n, int64_t k,
                                       const float* x, int64_t ldx, const uint32_t* codes,
                                       int64_t ldcodes, const float* scales, const int8_t* zeros,
                                       int64_t group, const float* bias, float* y,
                                       int64_t ldy) ESP_NOEXCEPT;
ESP_EXPORT esp_status esp_matmul_wna16(esp_context* ctx, int32_t bits, int64_t m, int64_t n,
                                       int64_t k, const float* x, int64_t ldx,
                                       const uint32_t* codes, int64_t ldcodes, const float* scales,
                                       const int8_t* zeros, int64_t group,
                                       const int32_t* group_index, const float* bias, float* y,
                                       int64_t ldy) ESP_NOEXCEPT;
// w[n, k] (fp32, ldw) = the dequantized matrix of the same operands; products of scale and (q -
// zero) rounded once.
ESP_EXPORT esp_status esp_dequantize(esp_context* ctx, int32_t bits, int64_t n, int64_t k,
                                     const uint32_t* codes, int64_t ldcodes, const float* scales,
                                     const int8_t* zeros, int64_t group, const int32_t* group_index,
                                     float* w, int64_t ldw) ESP_NOEXCEPT;

// ---- products of integers: int8 activations against packed weights
// -----------------------------------------------------------------

// codes[r, c] = round_half_even(clamp(x[r, c] / scales[r], -128, 127)), scales[r] = max|x[r, :]| /
// 127.5 (2^-23 for a row of zeros): dynamic symmetric activations per token, as compressed-tensors
// has them in fp32. codes I8 [rows, cols] ldcodes; scales F32 [rows]. A row that holds NaN or an
// infinity gets the scale NaN and codes 0, which makes every product of it NaN.
ESP_EXPORT esp_status esp_quantize_tokens(esp_context* ctx, int64_t rows, int64_t cols,
                                          const float* x, int64_t ldx, int8_t* codes,
                                          int64_t ldcodes, float* scales) ESP_NOEXCEPT;
// y[m, n] = x_scales[i] * sum_g scales[r, g] * (sum_c (q[r, c] - zeros[r, g]) * x[i, c]) + bias[r]:
// W8A8 and W4A8. x I8 [m, k] ldx with x_scales F32 [m] of esp_quantize_tokens; weights as in
// esp_matmul_w8a16 and esp_matmul_w4a16 (8- and 4-bit streams, scales and zeros per group). The
// sums over a group are exact int32: k <= 65536. Every variant gives the same bits.
ESP_EXPORT esp_status esp_matmul_w8a8(esp_context* ctx, int64_t m, int64_t n, int64_t k,
                                      const int8_t* x, int64_t ldx, const float* x_scales,
                                      const uint32_t* codes, int64_t ldcodes, const float* scales,
                                      const int8_t* zeros, int64_t group, const float* bias,
                                      float* y, int64_t ldy) ESP_NOEXCEPT;
ESP_EXPORT esp_status esp_matmul_w4a8(esp_context* ctx, int64_t m, int64_t n, int64_t k,
                                      const int8_t* x, int64_t ldx, const float* x_scales,
                                      const uint32_t* codes, int64_t ldcodes, const float* scales,
                                      const int8_t* zeros, int64_t group, const float* bias,
                                      float* y, int64_t ldy) ESP_NOEXCEPT;

// ---- transformer pieces (fp32)
// ------------------------------------------------------------------------

// y[t, :] = table[ids[t], :] widened; table: F32, F16 or BF16 [vocabulary, width]. An id outside is
// INVALID_ARGUMENT.
ESP_EXPORT esp_status esp_embedding(esp_context* ctx, int64_t tokens, int64_t vocabulary,
                                    int64_t width, const int32_t* ids, esp_dtype dtype,
                                    const void* table, float* y) ESP_NOEXCEPT;
// y = x / sqrt(mean(x^2) + eps) * weight, per row of width `cols`; in place allowed (y == x).
ESP_EXPORT esp_status esp_rms_norm(esp_context* ctx, int64_t rows, int64_t cols, const float* x,
                                   int64_t ldx, const float* weight, float eps, float* y,
                                   int64_t ldy) ESP_NOEXCEPT;
// y = (x - mean) / sqrt(var + eps) * weight + bias, biased variance; bias may be NULL; in place
// allowed.
ESP_EXPORT esp_status esp_layer_norm(esp_context* ctx, int64_t rows, int64_t cols, const float* x,
                                     int64_t ldx, const float* weight, const float* bias, float eps,
                                     float* y, int64_t ldy) ESP_NOEXCEPT;
// In place, half rotation: x[t, h, i], x[t, h, i + r/2] are turned by the angle of row `start + t`
// of the tables, i < r/2, r = rotary; the other head_dim - r entries stay. x: [tokens, heads,
// head_dim] with leading dimension ldx. cosines, sines: [positions, r/2]; start + tokens <=
// positions.
ESP_EXPORT esp_status esp_rope(esp_context* ctx, int64_t tokens, int64_t heads, int64_t head_dim,
                               int64_t rotary, int64_t start, int64_t positions,
                               const float* cosines, const float* sines, float* x,
                               int64_t ldx) ESP_NOEXCEPT;
// Causal attention with a past. Query t (of `tokens`) stands at position start + t and sees the
// keys j of [0, keys) with j <= start + t and j > start + t - window (window 0 = no window). keys
// >= start + tokens.
//  q [tokens, heads, head_dim] ldq; k, v [keys, kv_heads, head_dim] ldk, ldv; y as q, ldy. heads %
//  kv_heads == 0; head h reads key head h / (heads / kv_heads). y = softmax(scale * q.k^T) v,
//  softmax over the visible keys in fp32.
ESP_EXPORT esp_status esp_attention(esp_context* ctx, int64_t tokens, int64_t keys, int64_t heads,
                                    int64_t kv_heads, int64_t head_dim, int64_t start,
                                    int64_t window, float scale, const float* q, int64_t ldq,
                                    const float* k, int64_t ldk, const float* v, int64_t ldv,
                                    float* y, int64_t ldy) ESP_NOEXCEPT;
// y[i] = silu(gate[i]) * up[i]; y may be gate or up.
ESP_EXPORT esp_status esp_silu_mul(esp_context* ctx, int64_t n, const float* gate, const float* up,
                                   float* y) ESP_NOEXCEPT;
// y[i] = f(x[i]), in place allowed. kind: 0 silu, 1 gelu (erf), 2 gelu (tanh), 3 relu.
ESP_EXPORT esp_status esp_activation(esp_context* ctx, int64_t n, int32_t kind, const float* x,
                                     float* y) ESP_NOEXCEPT;
// y[i] = a[i] + b[i]; y may be a or b.
ESP_EXPORT esp_status esp_add(esp_context* ctx, int64_t n, const float* a, const float* b,
                              float* y) ESP_NOEXCEPT;
// y[i] = a[i] * b[i]; y may be a or b.
ESP_EXPORT esp_status esp_multiply(esp_context* ctx, int64_t n, const float* a, const float* b,
                                   float* y) ESP_NOEXCEPT;

// ---- evaluation
// ---------------------------------------------------------------------------------------

// loss[r] = log(sum_v exp(logits[r, v])) - logits[r, target[r]] in nats (fp64 sums); target < 0:
// loss 0.
ESP_EXPORT esp_status esp_cross_entropy(esp_context* ctx, int64_t rows, int64_t vocabulary,
                                        const float* logits, int64_t ldlogits,
                                        const int32_t* targets, double* loss) ESP_NOEXCEPT;
// kl[r] = KL(softmax(p[r]) || softmax(q[r])) in nats (fp64 sums); same_top[r] = 1 when both rows
// have the same first arg max.
ESP_EXPORT esp_status esp_divergence(esp_context* ctx, int64_t rows, int64_t vocabulary,
                                     const float* p, int64_t ldp, const float* q, int64_t ldq,
                                     double* kl, uint8_t* same_top) ESP_NOEXCEPT;
// *index = the first index of the largest of n logits; -1 when one is NaN or none is above
// -infinity.
ESP_EXPORT esp_status esp_arg_max(esp_context* ctx, int64_t n, const float* logits,
                                  int32_t* index) ESP_NOEXCEPT;

// ---- programs
// -----------------------------------------------------------------------------------------

// Calls of this header recorded once and run many times by one native call: a decoded token. A
// program keeps the addresses it is given; whoever recorded it keeps them valid while it runs.
typedef struct esp_program esp_program;
// *out = an empty program of ctx, which must outlive it; end it with esp_program_destroy (NULL is
// ignored).
ESP_EXPORT esp_status esp_program_create(esp_context* ctx, esp_program** out) ESP_NOEXCEPT;
ESP_EXPORT esp_status esp_program_destroy(esp_program* program) ESP_NOEXCEPT;
// Appends a call of esp_<operation>. In a run at position p its argument i after the context is
// base[i] + slope[i] * p; an address and an integer are the word itself, a float is the low half's
// bits. base, slope: [arguments]. UNSUPPORTED for an operation that is not in
// native/src/recordable.inc. Arguments are checked when the program runs.
ESP_EXPORT esp_status esp_program_append(esp_program* program, const char* operation,
                                         int32_t arguments, const int64_t* base,
                                         const int64_t* slope) ESP_NOEXCEPT;
// Runs the calls in the order they were recorded; stops at the first that fails and returns its
// status and message.
ESP_EXPORT esp_status esp_program_run(esp_program* program, int64_t position) ESP_NOEXCEPT;

// ---- quantization
// -------------------------------------------------------------------------------------

// Conventions of every function below (compressed-tensors): signed codes q in [-2^(b-1),
// 2^(b-1)-1], b = bits in 2..8; q = round_half_even(clamp(w / scale + zero)); value = scale * (q -
// zero); min and max of a group include 0.
//  symmetric   scale = 2 max|w| / (2^b - 1), zero 0;
//  asymmetric  scale = (max - min) / (2^b - 1), zero = round(clamp(-2^(b-1) - min / scale)).
//  A scale is rounded to scale_dtype (F32, F16, BF16, BF16_AND_F16) before anything uses it. A
//  group of zeros has scale 2^-23 and zero point 0.

// Scales and zeros of every group. mse_grid 0: plain min-max. Otherwise the range is shrunk by p =
// 1 - i / mse_grid, i < mse_shrink * mse_grid, and the p with the least sum |w - q(w)|^mse_norm of
// its group is kept, the search of a group ending after `mse_patience` worse candidates in a row (0
// = never). w [rows, cols] ldw; scales F32 [rows, cols/group]; zeros I8 of the same shape (always
// written; 0 when symmetric). tell_ties 1: asymmetric scales and zeros are those of exact
// arithmetic, rounded once. 0: those of fp32 operations, as compressed-tensors has them.
ESP_EXPORT esp_status esp_quantize_range(esp_context* ctx, int64_t rows, int64_t cols,
                                         const float* w, int64_t ldw, int32_t bits,
                                         int32_t symmetric, int64_t group, esp_dtype scale_dtype,
                                         int32_t mse_grid, double mse_shrink, double mse_norm,
                                         int32_t mse_patience, int32_t tell_ties, float* scales,
                                         int8_t* zeros) ESP_NOEXCEPT;
// codes[r, c] (I8, ld = cols) = q of w[r, c] under the given scales and zeros: round to nearest.
// tell_ties 1, no zeros: a quotient that fp32 put a hair (2^(bits-24)) beside k + 1/2 counts as the
// tie it is; the extreme weight of a symmetric group always is one. With zeros: the quotient is
// taken in fp64. 0: the fp32 quotient as it comes, as compressed-tensors has it.
ESP_EXPORT esp_status esp_quantize_nearest(esp_context* ctx, int64_t rows, int64_t cols,
                                           const float* w, int64_t ldw, int32_t bits, int64_t group,
                                           const float* scales, const int8_t* zeros,
                                           int32_t tell_ties, int8_t* codes) ESP_NOEXCEPT;
// words[r, :] = the bit stream of codes[r, :] + 2^(bits-1); words has ldwords >= ceil(cols*bits/32)
// per row, pad bits 0.
ESP_EXPORT esp_status esp_pack(esp_context* ctx, int64_t rows, int64_t cols, int32_t bits,
                               const int8_t* codes, uint32_t* words, int64_t ldwords) ESP_NOEXCEPT;
ESP_EXPORT esp_status esp_unpack(esp_context* ctx, int64_t rows, int64_t cols, int32_t bits,
                                 const uint32_t* words, int64_t ldwords,
                                 int8_t* codes) ESP_NOEXCEPT;

// h[k, k] (fp64, ld = k) += x^T x of x [tokens, k] F32 or BF16, on and above the diagonal; what
// lies below is not defined. Products and sums of 256 tokens in fp32 (exact products for BF16),
// their sums in fp64: off by at most 2^-16 sum|x_i||x_j|, and by 2^-24 times the root of that in
// practice.
ESP_EXPORT esp_status esp_gram(esp_context* ctx, int64_t tokens, int64_t k, esp_dtype dtype,
                               const void* x, int64_t ldx, double* h) ESP_NOEXCEPT;
// *value = tr(D H D^T), D = a - b, or a where b is NULL; a, b fp32 [rows, k] ld; h fp64 [k, k] of
// which only the upper triangle is read, or NULL for the identity. D^T D as esp_gram has it, the
// rest in fp64; all in fp64 without h.
ESP_EXPORT esp_status esp_quadratic_form(esp_context* ctx, int64_t rows, int64_t k, const float* a,
                                         const float* b, int64_t ld, const double* h,
                                         double* value) ESP_NOEXCEPT;
// to[r, i] = from[r, order[i]], or with `back` to[r, order[i]] = from[r, i]; [rows, cols] of
// elements of 1 or 4 bytes, ld = cols. order is a permutation: INVALID_ARGUMENT when an entry is
// outside.
ESP_EXPORT esp_status esp_permute_columns(esp_context* ctx, int64_t rows, int64_t cols,
                                          int32_t element_bytes, const void* from,
                                          const int32_t* order, int32_t back,
                                          void* to) ESP_NOEXCEPT;
// h [n, n], upper triangle: h[i, j] = scale * (sum of x x^T)[order[i], order[j]] beside the
// diagonal, h[i, i] = diagonal[order[i]]; of it, what comes from the channels first .. first +
// rows - 1 and those after them. gram holds these channels' rows from column `first` on:
// gram[(r - first) * ld + c - first], c >= r is read, so that the whole square is first = 0, rows =
// ld = n, and a triangle may be kept in bands. order: a permutation of n channels or NULL (as it
// is). h and gram may be the same square when order is NULL. The lower triangle of h is left alone.
ESP_EXPORT esp_status esp_hessian(esp_context* ctx, int64_t n, int64_t first, int64_t rows,
                                  const double* gram, int64_t ld, double scale,
                                  const int32_t* order, const double* diagonal,
                                  double* h) ESP_NOEXCEPT;
// In place: the symmetric positive definite h [n, n] (upper triangle read) becomes upper triangular
// U with U U^T = h: the reversed Cholesky factor of GPTQ. Below the diagonal the 16 x 16 cells on
// it become 0 and nothing else is read or written, so that the pages of a fresh square there never
// come to exist. NUMERICAL when a pivot is not positive: *pivot = its index, h is then undefined.
ESP_EXPORT esp_status esp_cholesky_reversed(esp_context* ctx, int64_t n, double* h,
                                            int64_t* pivot) ESP_NOEXCEPT;
// c [k, k] += sum over t of (reference_t - x_t) x_t^T, k x k outer products of rows of fp32 [rows,
// k] with ld; sums over at most 512 rows in fp32, those in fp64.
ESP_EXPORT esp_status esp_cross_gram(esp_context* ctx, int64_t rows, int64_t k, const float* x,
                                     const float* reference, int64_t ld, double* c) ESP_NOEXCEPT;
// x [n, n] fp32 = scale * c h^-1 for c [n, n] and h = U U^T in processing order, U of
// esp_cholesky_reversed; columns of c and x are channels, order[i] is the one processed i-th, NULL
// for left to right.
ESP_EXPORT esp_status esp_divide(esp_context* ctx, int64_t n, const double* u, const int32_t* order,
                                 double scale, const double* c, float* x) ESP_NOEXCEPT;
// y [rows, k] = w + w m for fp32 w [rows, k] and m [k, k], all ld = k, summed as by esp_cross_gram:
// a row has the same bits whatever the others are. y is not w.
ESP_EXPORT esp_status esp_add_product(esp_context* ctx, int64_t rows, int64_t k, const float* w,
                                      const float* m, float* y) ESP_NOEXCEPT;
// GPTQ (arXiv 2210.17323) column by column, left-looking, from U of esp_cholesky_reversed. See
// kernels/reference/gptq.cpp.
//  w [rows, cols] ld = cols: weights in processing order; on return the dequantized result
//  group: columns per group, cols = per channel
//  fixed_group [cols] or NULL. NULL: groups are consecutive; the scales of a group are computed
//  here from the updated columns when its
//        first column is reached (per channel: from w before any update) and written to
//        scales/zeros. Otherwise scales/zeros are inputs and column c uses group fixed_group[c]
//        (static groups, act-order).
//  codes I8 [rows, cols] in processing order.
ESP_EXPORT esp_status esp_gptq_solve(esp_context* ctx, int64_t rows, int64_t cols, float* w,
                                     const double* u, int32_t bits, int32_t symmetric,
                                     int64_t group, const int32_t* fixed_group,
                                     esp_dtype scale_dtype, float* scales, int8_t* zeros,
                                     int8_t* codes) ESP_NOEXCEPT;

// ---- sparse weights
// -------------------------------------------------------------------------------

// A sparse matrix [rows, cols] in the form in which it is stored ("espalier-sparse", version 1).
//  BITMASK  places U8 [rows, ceil(cols / 8)]: bit c & 7 (0 = lowest) of byte c >> 3 says that
//  column
//           c is kept; pad bits 0. row_offsets I64 [rows]: kept weights in the rows before
//           (weights, not bytes). values: the kept weights of row after row.
//  S24      two of every four columns, cols % 4 == 0. places U8 [rows, ceil(cols / 8)]: kept weight
//           j of a row (j < cols / 2, ascending columns) is column 4 (j / 2) + bits [2 (j & 3), +
//           2) of byte j >> 2; pad bits 0. row_offsets NULL. values [rows, cols / 2].
// dtype of values: F32, F16, BF16; I8: signed codes; U8: 4-bit codes + 8, two a byte, the low
// nibble first, every row begins a byte. A code q of row r, column c stands for scales[r, c /
// group] * q, scales F32 [rows, cols / group], group divides cols; without codes scales is NULL and
// group 0. Functions that read such a matrix trust places and row_offsets: esp_sparse_check them
// once.
typedef int32_t esp_sparsity;
enum { ESP_SPARSE_BITMASK = 0, ESP_SPARSE_24 = 1 };

// y[m, rows] = x[m, cols] . W^T + bias[rows] (bias may be NULL), fp32 sums whose order depends on
// m, rows, cols and the kept count alone. Few rows of x are multiplied straight from the values,
// many are panels of spmm_f32 or products of a tile expanded once: esp_matmul_sparse_path. A NaN or
// an infinity in x may show in y where its column is not kept, as in a dense product.
ESP_EXPORT esp_status esp_matmul_sparse(esp_context* ctx, int64_t m, int64_t rows, int64_t cols,
                                        const float* x, int64_t ldx, esp_sparsity pattern,
                                        esp_dtype dtype, const uint8_t* places,
                                        const int64_t* row_offsets, const void* values,
                                        const float* scales, int64_t group, const float* bias,
                                        float* y, int64_t ldy) ESP_NOEXCEPT;
// How esp_matmul_sparse multiplies such sizes with `kept` weights in all: "direct", "panels" or
// "expanded", where sparse loses to a dense tile. Static storage.
ESP_EXPORT const char* esp_matmul_sparse_path(const esp_context* ctx, int64_t m, int64_t rows,
                                              int64_t cols, esp_sparsity pattern, esp_dtype dtype,
                                              int64_t kept) ESP_NOEXCEPT;
// y[rows, cols] (ldy) = the dense matrix, zeros where nothing is kept; scale * code rounded once.
ESP_EXPORT esp_status esp_sparse_expand(esp_context* ctx, int64_t rows, int64_t cols,
                                        esp_sparsity pattern, esp_dtype dtype,
                                        const uint8_t* places, const int64_t* row_offsets,
                                        const void* values, const float* scales, int64_t group,
                                        float* y, int64_t ldy) ESP_NOEXCEPT;
// codes I8 [rows, cols] = the codes of I8 or U8 values, 0 where nothing is kept.
ESP_EXPORT esp_status esp_sparse_codes(esp_context* ctx, int64_t rows, int64_t cols,
                                       esp_sparsity pattern, esp_dtype dtype, const uint8_t* places,
                                       const int64_t* row_offsets, const void* values,
                                       int8_t* codes) ESP_NOEXCEPT;
// Writes places, row_offsets (BITMASK; may be NULL for S24) and *kept, their count, of a dense
// matrix w [rows, cols], ld = cols, dtype F32 or I8 (codes): kept is what mask U8 [rows, cols] has
// not 0, without a mask every element other than 0 (and -0). w may be NULL with a mask.
// S24: more than two kept of four is INVALID_ARGUMENT (*kept = the row, places undefined); fewer
// are filled up with the lowest free columns of the four.
ESP_EXPORT esp_status esp_sparse_places(esp_context* ctx, int64_t rows, int64_t cols,
                                        esp_sparsity pattern, esp_dtype dtype, const void* w,
                                        const uint8_t* mask, uint8_t* places, int64_t* row_offsets,
                                        int64_t* kept) ESP_NOEXCEPT;
// Writes the values at `places` of the dense matrix w [rows, cols], ld = cols: F32 for dtypes F32,
// F16, BF16 (rounded to nearest even, exact for what came from there), I8 codes for I8 and U8.
ESP_EXPORT esp_status esp_sparse_pack(esp_context* ctx, int64_t rows, int64_t cols,
                                      esp_sparsity pattern, esp_dtype dtype, const void* w,
                                      const uint8_t* places, const int64_t* row_offsets,
                                      void* values) ESP_NOEXCEPT;
// *row = the first row whose places are not of the form above (pad bits; S24: two places of four
// not ascending) or whose row_offsets entry is not the count of the rows before; -1 when all are
// right. *kept = all that is kept; *value_bytes = the length of values of `dtype`.
ESP_EXPORT esp_status esp_sparse_check(esp_context* ctx, int64_t rows, int64_t cols,
                                       esp_sparsity pattern, esp_dtype dtype, const uint8_t* places,
                                       const int64_t* row_offsets, int64_t* row, int64_t* kept,
                                       int64_t* value_bytes) ESP_NOEXCEPT;
// y[rows, n] = A[rows, cols] . b[cols, n]; A F32 BITMASK as above. fp32 sums in ascending columns,
// fused steps.
ESP_EXPORT esp_status esp_spmm_f32(esp_context* ctx, int64_t rows, int64_t cols, int64_t n,
                                   const uint8_t* places, const int64_t* row_offsets,
                                   const float* values, const float* b, int64_t ldb, float* y,
                                   int64_t ldy) ESP_NOEXCEPT;

// ---- pruning (kernels/reference/prune.cpp, native/src/select.cpp)

// kept U8 [rows, cols]: 0 for the `count` smallest scores |x| * factor of each row (per_row != 0)
// or of the whole matrix, 1 for the others; of equals the lower row, then the lower column, goes
// first. x fp32 [rows, cols]; factor fp32 [cols], >= 0, or NULL for 1. By selection, not by
// sorting.
ESP_EXPORT esp_status esp_select_smallest(esp_context* ctx, int64_t rows, int64_t cols,
                                          const float* x, const float* factor, int32_t per_row,
                                          int64_t count, int32_t all_ties,
                                          uint8_t* kept) ESP_NOEXCEPT;
// kept U8 [rows, cols]: 0 for the n smallest scores |x| * factor of every m columns of a row, 1 for
// the others; of equals the lowest column goes first. A rest of r columns loses r n / m, which must
// be whole.
ESP_EXPORT esp_status esp_select_nm(esp_context* ctx, int64_t rows, int64_t cols, const float* x,
                                    const float* factor, int32_t n, int32_t m,
                                    uint8_t* kept) ESP_NOEXCEPT;
// w[r, c] = +0 where kept[r, c] is 0; w fp32, kept U8 [rows, cols].
ESP_EXPORT esp_status esp_apply_mask(esp_context* ctx, int64_t rows, int64_t cols,
                                     const uint8_t* kept, float* w) ESP_NOEXCEPT;
// sums[c] += sum over t of x[t, c]^2 in fp64, in order of t; x fp32 [tokens, cols], sums fp64
// [cols].
ESP_EXPORT esp_status esp_column_squares(esp_context* ctx, int64_t tokens, int64_t cols,
                                         const float* x, double* sums) ESP_NOEXCEPT;
// SparseGPT (arXiv 2301.00774) on the column solver of GPTQ, with or without rounding what stays.
//  w [rows, cols] ld = cols: weights in processing order; on return the result, +0 where dropped
//  u fp64 [cols, cols]: U of esp_cholesky_reversed
//  importance fp32 [cols], >= 0: column c is compared as |w| * importance[c]; the paper's is
//        u[c, c]; 0 makes a column the first to go
//  drop, of: of every `of` consecutive columns (at most 128) `drop` go, of a rest of r columns
//        r drop / of, which must be whole. of = 0: by sparsity
//  sparsity in [0, 1): of every `width` (1..128) columns of all rows together int(size * sparsity)
//        + 1 weights go; 0 with of = 0 drops nothing but what preserve says
//  preserve: weights that are 0 stay 0, and count among those that go
//  bits: 0, or 2..8 to round what stays in the same pass: group, fixed_group, scale_dtype, scales,
//        zeros and codes are then as in esp_gptq_solve (a dropped weight has the code of 0), and
//        groups whose scales are found here must lie in a block of at most 128 columns together
//        with whole sets of `of` columns, or divide `width`
//  kept U8 [rows, cols] out: 0 where dropped
//  work: esp_sparsegpt_work_bytes bytes when sparsity > 0, else not used
ESP_EXPORT esp_status esp_sparsegpt_solve(esp_context* ctx, int64_t rows, int64_t cols, float* w,
                                          const double* u, const float* importance, int32_t drop,
                                          int32_t of, double sparsity, int64_t width,
                                          int32_t preserve, int32_t bits, int32_t symmetric,
                                          int64_t group, const int32_t* fixed_group,
                                          esp_dtype scale_dtype, float* scales, int8_t* zeros,
                                          int8_t* codes, uint8_t* kept, void* work,
                                          int64_t work_bytes) ESP_NOEXCEPT;
// The memory that esp_sparsegpt_solve asks for; group 0 without codes.
ESP_EXPORT int64_t esp_sparsegpt_work_bytes(int64_t rows, int64_t cols, int64_t group,
                                            int32_t fixed_groups) ESP_NOEXCEPT;

// ---- training: gradients, losses with their gradients, optimisers
// -----------------------------------------------------------------------------------------------

// All tensors of this section are fp32 and contiguous unless said otherwise. A gradient d* is added
// to what is there; one that nobody wants is NULL. Sums over tokens have one order for any number
// of threads.

// y[i] = 0.
ESP_EXPORT esp_status esp_zero(esp_context* ctx, int64_t n, float* y) ESP_NOEXCEPT;
// y[r, c] += x[r, c].
ESP_EXPORT esp_status esp_accumulate(esp_context* ctx, int64_t rows, int64_t cols, const float* x,
                                     int64_t ldx, float* y, int64_t ldy) ESP_NOEXCEPT;
// y[i] += a[i] * b[i].
ESP_EXPORT esp_status esp_multiply_add(esp_context* ctx, int64_t n, const float* a, const float* b,
                                       float* y) ESP_NOEXCEPT;
// Of y = silu(gate) * up.
ESP_EXPORT esp_status esp_silu_mul_backward(esp_context* ctx, int64_t n, const float* gate,
                                            const float* up, const float* dy, float* dgate,
                                            float* dup) ESP_NOEXCEPT;
// Of esp_activation, kinds as there; relu has the slope 0 at 0.
ESP_EXPORT esp_status esp_activation_backward(esp_context* ctx, int64_t n, int32_t kind,
                                              const float* x, const float* dy,
                                              float* dx) ESP_NOEXCEPT;
// Of esp_rms_norm (centred 0) and esp_layer_norm (centred 1): x, dy, dx [rows, cols]; weight,
// dweight, dbias [cols]. statistics [rows, 2] fp64 is overwritten: mean (0 unless centred) and 1 /
// sqrt(... + eps).
ESP_EXPORT esp_status esp_norm_backward(esp_context* ctx, int64_t rows, int64_t cols,
                                        int32_t centred, const float* x, const float* weight,
                                        float eps, const float* dy, double* statistics, float* dx,
                                        float* dweight, float* dbias) ESP_NOEXCEPT;
// Of esp_embedding: dtable[ids[t], :] += dy[t, :]. ids I32 [tokens]; an id outside is
// INVALID_ARGUMENT.
ESP_EXPORT esp_status esp_embedding_backward(esp_context* ctx, int64_t tokens, int64_t vocabulary,
                                             int64_t width, const int32_t* ids, const float* dy,
                                             float* dtable) ESP_NOEXCEPT;
// Of esp_matmul_dense (in_out 0, w and dw [n, k]) and esp_matmul_dense_in_out (in_out 1, [k, n]):
// dx[m, k] += dy[m, n] . w; dw += dy^T . x (x^T . dy); dbias[n] += column sums of dy. w: F32, F16
// or BF16, read for dx only; x[m, k] is read for dw only. Tiles do not depend on the number of
// threads.
ESP_EXPORT esp_status esp_linear_backward(esp_context* ctx, int64_t m, int64_t n, int64_t k,
                                          int32_t in_out, const float* x, esp_dtype wdtype,
                                          const void* w, const float* dy, float* dx, float* dw,
                                          float* dbias) ESP_NOEXCEPT;
// Causal attention of several sequences that lie one after the other. Sequence s has the queries
// [query_starts[s], query_starts[s + 1]) and the keys [key_starts[s], key_starts[s + 1]); its
// queries are its last positions, so that there are at least as many keys. Otherwise as
// esp_attention: q, y [queries, heads, head_dim]; k, v [keys, kv_heads, head_dim]; *_starts I64
// [sequences + 1] from 0 on, ascending. log_sum [queries, heads]: log of the sum of exp(scale *
// q.k).
ESP_EXPORT esp_status esp_attention_sequences(
    esp_context* ctx, int64_t sequences, const int64_t* query_starts, const int64_t* key_starts,
    int64_t heads, int64_t kv_heads, int64_t head_dim, int64_t window, float scale, const float* q,
    const float* k, const float* v, float* y, float* log_sum) ESP_NOEXCEPT;
// Its gradient from y and log_sum alone: weights are computed again, block by block (arXiv
// 2205.14135, algorithm 4). dq, dk, dv are all wanted.
ESP_EXPORT esp_status esp_attention_backward(esp_context* ctx, int64_t sequences,
                                             const int64_t* query_starts, const int64_t* key_starts,
                                             int64_t heads, int64_t kv_heads, int64_t head_dim,
                                             int64_t window, float scale, const float* q,
                                             const float* k, const float* v, const float* y,
                                             const float* log_sum, const float* dy, float* dq,
                                             float* dk, float* dv) ESP_NOEXCEPT;
// loss[r] as esp_cross_entropy has it (not scaled), and gradient[r, :] = scale * d loss[r] /
// d logits[r, :], 0 where the target is negative. In place allowed (gradient == logits).
ESP_EXPORT esp_status esp_cross_entropy_backward(esp_context* ctx, int64_t rows, int64_t vocabulary,
                                                 const float* logits, const int32_t* targets,
                                                 float scale, float* gradient,
                                                 double* loss) ESP_NOEXCEPT;
// loss[r] = T^2 (forward KL(p || m) + reverse KL(q || m') + variation sum |p - q| / 2) with p =
// softmax(teacher[r] / T), q = softmax(student[r] / T), m = a p + (1 - a) q, m' = b q + (1 - b) p,
// a = forward_skew and b = reverse_skew in [0, 1); gradient[r, :] = (add: +=) scale * d loss[r] /
// d student[r, :]. Rows whose target is negative: loss 0, gradient 0. gradient may be student
// unless add.
ESP_EXPORT esp_status esp_divergence_backward(esp_context* ctx, int64_t rows, int64_t vocabulary,
                                              const float* teacher, const float* student,
                                              const int32_t* targets, double forward,
                                              double forward_skew, double reverse,
                                              double reverse_skew, double variation,
                                              double temperature, float scale, int32_t add,
                                              float* gradient, double* loss) ESP_NOEXCEPT;
// *sum = sum (x[i] - target[i])^2; dx[i] += scale * (x[i] - target[i]).
ESP_EXPORT esp_status esp_squared_error_backward(esp_context* ctx, int64_t n, const float* x,
                                                 const float* target, float scale, float* dx,
                                                 double* sum) ESP_NOEXCEPT;
// *sum = sum x[i]^2, fp64.
ESP_EXPORT esp_status esp_sum_of_squares(esp_context* ctx, int64_t n, const float* x,
                                         double* sum) ESP_NOEXCEPT;
// Step `step` (from 1) of AdamW, g = gradient_factor * gradient: parameter -= rate * decay *
// parameter; moment = beta1 moment + (1 - beta1) g; square = beta2 square + (1 - beta2) g^2;
// parameter -= rate * (moment / (1 - beta1^step)) / (sqrt(square / (1 - beta2^step)) + eps).
ESP_EXPORT esp_status esp_adamw(esp_context* ctx, int64_t n, int64_t step, double rate,
                                double beta1, double beta2, double eps, double decay,
                                double gradient_factor, const float* gradient, float* moment,
                                float* square, float* parameter) ESP_NOEXCEPT;
// g = gradient_factor * gradient; with a velocity g = velocity = momentum * velocity + g; with sign
// g = -1, 0 or 1. parameter -= rate * decay * parameter + rate * g.
ESP_EXPORT esp_status esp_sgd(esp_context* ctx, int64_t n, int32_t sign, double rate,
                              double momentum, double decay, double gradient_factor,
                              const float* gradient, float* velocity,
                              float* parameter) ESP_NOEXCEPT;

#ifdef __cplusplus
}
#endif

#endif  // ESPALIER_H
