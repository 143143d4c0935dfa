// SPDX-License-Identifier: Apache-2.0
//
// Libraries whose rows stand beside ours, each opened from a file by name; what is not opened gives
// no rows. OpenBLAS comes with the library. oneDNN and libtorch come with JavaCPP's presets in the
// Maven profile `bench` and are called through the C functions they export, so that neither their
// headers nor they themselves are needed to build this.
#ifndef ESPALIER_BENCH_VENDORS_H
#define ESPALIER_BENCH_VENDORS_H

#include "bench.h"

namespace bench {

// Each returns false, with a line on standard error, when the file is not that library.
bool open_blas(const char* path);  // serves the library, too, as in a real run
bool open_onednn(const char* path);
bool open_torch(const char* path);  // after OpenBLAS, which it calls
// "openblas 0.3.31", ...: those that are open.
std::vector<std::string> vendor_names();
void add_vendor_name(const std::string& name);

// The operands of y[m, n] = x[m, k] w[n, k]^T. x and y stay, w is that of a turn.
struct product_operands {
  int64_t m, n, k;
  const void* x;
  std::function<const void*(int64_t turn)> w;
  float* y;
};

// fp32. `in_out`: w is [k, n].
void add_blas(const product_operands& p, bool in_out, std::vector<vendor_row>* rows);
// fp32; oneDNN with the weights as they lie and with weights packed beforehand.
void add_onednn_f32(const product_operands& p, std::vector<vendor_row>* rows);
// x fp32 of bf16 values, w bf16; the library takes both as bf16, the weights packed beforehand.
void add_onednn_bf16(const product_operands& p, std::vector<vendor_row>* rows);
// x int8; w holds int8 q as q + 128, packed beforehand. The int32 sums become y, times x_scales [m]
// and w_scales [n], only where they are checked.
void add_onednn_int8(const product_operands& p, const float* x_scales, const float* w_scales,
                     std::vector<vendor_row>* rows);
void add_torch_f32(const product_operands& p, std::vector<vendor_row>* rows);
// The loop of GPTQ as published, operation by operation: w [rows, cols] in place from upper [cols,
// cols], upper^T upper the inverse Hessian. Symmetric 4 bits, scales of `group` columns.
void add_torch_gptq(int64_t rows, int64_t cols, int64_t group, float* w, const float* upper,
                    std::vector<vendor_row>* rows_out);

}  // namespace bench

#endif  // ESPALIER_BENCH_VENDORS_H
