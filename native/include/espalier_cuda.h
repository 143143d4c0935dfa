// SPDX-License-Identifier: Apache-2.0
//
// The one door of libespalier_cuda, a library of its own that is opened at run time: a table of
// functions. The core never links CUDA.
//
// Conventions are those of espalier.h, and:
//  * d_ pointers are device memory of the stream's device, 16-byte aligned, and stay valid until
//    the stream has come past the call. Matrices are row-major.
//  * Functions that take a stream only queue their work. They check sizes at once; what goes wrong
//    on the device is told by synchronize.
//  * A stream serves one calling thread at a time.
//  * The same call on the same bits gives the same bits.
#ifndef ESPALIER_CUDA_H
#define ESPALIER_CUDA_H

#include "espalier.h"

#ifdef __cplusplus
extern "C" {
#endif

// Changes whenever the table does.
#define ESP_CUDA_ABI 1

typedef struct esp_cuda_stream esp_cuda_stream;
typedef struct esp_cuda_event esp_cuda_event;

typedef struct esp_cuda_device {
  char name[128];
  int32_t major, minor;  // compute capability
  int32_t multiprocessors;
  int32_t supported;  // 1 when kernels of this library run there (compute capability >= 8.0)
  int64_t total_bytes, free_bytes;
} esp_cuda_device;

typedef struct esp_cuda_functions {
  int32_t abi;    // ESP_CUDA_ABI of the library; these two never move
  int32_t bytes;  // of this struct

  // The calling thread's last message, as esp_last_error.
  const char* (*last_error)(void);

  // ---- devices

  // DEVICE with the driver's word when there is none or no device; *count is 0 then.
  esp_status (*device_count)(int32_t* count);
  esp_status (*device_info)(int32_t device, esp_cuda_device* to);

  // ---- streams and events

  // The caller ends a stream with close, which waits for it. UNSUPPORTED for a device too old.
  esp_status (*open)(int32_t device, esp_cuda_stream** to);
  esp_status (*close)(esp_cuda_stream* s);
  // Waits for all that was queued; tells the first thing that went wrong in it.
  esp_status (*synchronize)(esp_cuda_stream* s);
  esp_status (*event_create)(esp_cuda_stream* s, esp_cuda_event** to);
  esp_status (*event_destroy)(esp_cuda_event* e);
  // The event stands for what the stream has been given so far.
  esp_status (*event_record)(esp_cuda_event* e, esp_cuda_stream* s);
  // The stream goes on when the event has come; the host does not wait.
  esp_status (*event_wait)(esp_cuda_stream* s, esp_cuda_event* e);

  // ---- memory

  // Not zeroed. OUT_OF_MEMORY with the bytes asked for and the bytes free.
  esp_status (*allocate)(esp_cuda_stream* s, int64_t bytes, void** to);
  esp_status (*release)(esp_cuda_stream* s, void* d_memory);
  // Page-locked host memory, from which copies run beside the program.
  esp_status (*host_allocate)(int64_t bytes, void** to);
  esp_status (*host_release)(void* memory);
  esp_status (*upload)(esp_cuda_stream* s, void* d_to, const void* from, int64_t bytes);
  esp_status (*download)(esp_cuda_stream* s, void* to, const void* d_from, int64_t bytes);
  esp_status (*copy)(esp_cuda_stream* s, void* d_to, const void* d_from, int64_t bytes);
  esp_status (*zero)(esp_cuda_stream* s, void* d_to, int64_t bytes);

  // ---- tests: one warp (or warpgroup) executes one wrapper of ptx.h on given registers. See
  // kernels/cuda/probe/probe.cu. UNSUPPORTED for a name it does not know or a device too old.
  esp_status (*probe)(esp_cuda_stream* s, const char* instruction, const void* d_in, void* d_out);

  // ---- quantization (as the functions of these names in espalier.h; every result has their bits)

  // mse_grid of 0 only: plain ranges.
  esp_status (*quantize_range)(esp_cuda_stream* s, int64_t rows, int64_t cols, const float* d_w,
                               int64_t ldw, int32_t bits, int32_t symmetric, int64_t group,
                               esp_dtype scale_dtype, int32_t tell_ties, float* d_scales,
                               int8_t* d_zeros);
  esp_status (*quantize_nearest)(esp_cuda_stream* s, int64_t rows, int64_t cols, const float* d_w,
                                 int64_t ldw, int32_t bits, int64_t group, const float* d_scales,
                                 const int8_t* d_zeros, int32_t tell_ties, int8_t* d_codes);
  esp_status (*pack)(esp_cuda_stream* s, int64_t rows, int64_t cols, int32_t bits,
                     const int8_t* d_codes, uint32_t* d_words, int64_t ldwords);
  esp_status (*unpack)(esp_cuda_stream* s, int64_t rows, int64_t cols, int32_t bits,
                       const uint32_t* d_words, int64_t ldwords, int8_t* d_codes);

  // ---- pruning

  // As the functions of these names in espalier.h, to the bit; m <= 64.
  esp_status (*select_nm)(esp_cuda_stream* s, int64_t rows, int64_t cols, const float* d_x,
                          const float* d_factor, int32_t n, int32_t m, uint8_t* d_kept);
  esp_status (*apply_mask)(esp_cuda_stream* s, int64_t rows, int64_t cols, const uint8_t* d_kept,
                           float* d_w);

  // ---- GPTQ

  // h[k, k] (fp64, ld = k) += x^T x of x BF16 [tokens, k], ldx and k multiples of 8, on and above
  // the diagonal; below it is not defined. Exact products, sums of at most 2048 tokens in fp32,
  // their sums in fp64.
  esp_status (*gram)(esp_cuda_stream* s, int64_t tokens, int64_t k, const uint16_t* d_x,
                     int64_t ldx, double* d_h);
  // As esp_cholesky_reversed: h [n, n] becomes U, U U^T = h. *d_pivot (device) = -1, or the index
  // of the pivot that was not positive, when h is undefined.
  esp_status (*cholesky_reversed)(esp_cuda_stream* s, int64_t n, double* d_h, int64_t* d_pivot);
  // As esp_gptq_solve, sums in fp32; d_work: gptq_work_bytes(rows, cols) bytes of device memory.
  // group: divides 128, or a multiple of it, or cols.
  esp_status (*gptq_solve)(esp_cuda_stream* s, int64_t rows, int64_t cols, float* d_w,
                           const double* d_u, int32_t bits, int32_t symmetric, int64_t group,
                           const int32_t* d_fixed_group, esp_dtype scale_dtype, float* d_scales,
                           int8_t* d_zeros, int8_t* d_codes, void* d_work);
  int64_t (*gptq_work_bytes)(int64_t rows, int64_t cols);

  // ---- products from packed weights

  // Lays 4-bit weights (codes, scales, zeros as in esp_matmul_w4a16) out for matmul_w4a16:
  // w4a16_tile_bytes(n, k, group) bytes. group: a multiple of 16 that divides k.
  esp_status (*w4a16_tile)(esp_cuda_stream* s, int64_t n, int64_t k, const uint32_t* d_codes,
                           int64_t ldcodes, const float* d_scales, const int8_t* d_zeros,
                           int64_t group, void* d_tiles);
  int64_t (*w4a16_tile_bytes)(int64_t n, int64_t k, int64_t group);
  // y[m, n] (F32) = x[m, k] (BF16) . W^T, m <= 16: products with q - zero are exact, sums of at
  // most 64 of them in fp32, scaled and summed in fp32. ldx even. `zeros`: 0 when d_zeros was NULL.
  // d_work: w4a16_work_bytes(s, m, n, k) bytes, zeroed before its first use and left so.
  esp_status (*matmul_w4a16)(esp_cuda_stream* s, int64_t m, int64_t n, int64_t k,
                             const uint16_t* d_x, int64_t ldx, const void* d_tiles, int64_t group,
                             int32_t zeros, float* d_y, int64_t ldy, void* d_work);
  int64_t (*w4a16_work_bytes)(const esp_cuda_stream* s, int64_t m, int64_t n, int64_t k);
} esp_cuda_functions;

// The table; static storage. Look at abi before anything else.
ESP_EXPORT const esp_cuda_functions* esp_cuda_table(void) ESP_NOEXCEPT;

#ifdef __cplusplus
}
#endif

#endif  // ESPALIER_CUDA_H
