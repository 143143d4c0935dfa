// SPDX-License-Identifier: Apache-2.0
//
// Matrix instructions on the host: operands as the PTX ISA spreads them over lanes
// (9.7.14, 9.7.15).
#ifndef ESPALIER_CUDA_EMULATION_FRAGMENTS_H
#define ESPALIER_CUDA_EMULATION_FRAGMENTS_H

#include <stdint.h>

namespace cuda_emulation {

enum class kind { bf16, f16, s8 };

float from_bf16(uint16_t x);
float from_f16(uint16_t x);
uint16_t to_bf16(double x);  // to nearest even

void ldmatrix(uint32_t* r, int matrices, const void* row, bool transposed);
void stmatrix(void* row, const uint32_t* r, int matrices, bool transposed);
uint32_t movmatrix(uint32_t a);
// d[4] += a[4] b[2 or 4]; metadata null for dense a. Sums of fp32 in an order that the seed picks,
// since hardware promises none.
void mma(kind type, void* d, const uint32_t* a, const uint32_t* b, const uint32_t* metadata,
         int selector);
void mma_f64(double* d, double a, double b);
// d[n / 2] (+)= of a warpgroup; a: 4 registers, or null for the operand that place_a describes.
void wgmma(float* d, int n, const uint32_t* a, uint64_t place_a, uint64_t place_b, bool add);

}  // namespace cuda_emulation

#endif  // ESPALIER_CUDA_EMULATION_FRAGMENTS_H
