// SPDX-License-Identifier: Apache-2.0
//
// What the kernels did while counting was on: the figures from which a roof can be checked.
#ifndef ESPALIER_CUDA_EMULATION_COUNTERS_H
#define ESPALIER_CUDA_EMULATION_COUNTERS_H

#include <stdint.h>

namespace cuda_emulation {

// An instruction of a warp is a request. sectors: of 32 bytes of global memory; passes: how often
// shared memory had to be gone through, of which `least_passes` could not be avoided.
struct counts {
  int64_t load_bytes, load_requests, load_sectors;
  int64_t store_bytes, store_requests, store_sectors;
  int64_t shared_requests, shared_passes, shared_least_passes;
  int64_t mma, instructions;
};

// Begins to count, from zero.
void count_begin();
counts count_end();
// Bytes loaded from [begin, begin + bytes) since count_begin, each time they were asked for.
int64_t bytes_loaded(const void* begin, int64_t bytes);

}  // namespace cuda_emulation

#endif  // ESPALIER_CUDA_EMULATION_COUNTERS_H
