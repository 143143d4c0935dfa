// SPDX-License-Identifier: Apache-2.0
//
// The variant table of the emulated library: native/src/variants.cpp in which AVX2 suffices for
// every AVX-512 row. A row's name and function are pasted, not expanded, and stay as they are.
#include "internal.h"
#include "operations.h"

#define avx512 avx2
#define avx512vnni avx2
#define avx512bf16 avx2
#include "variants.cpp"
