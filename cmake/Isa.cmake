# SPDX-License-Identifier: Apache-2.0
# File suffix -> compiler flags: the only place where instruction-set flags live. Nothing here says -march=native; a file
# without a known suffix is compiled for the plain x86-64 baseline.

# No contraction: a reference must not silently become a fused multiply-add. Kernels that want one spell it.
set(ESPALIER_FLAGS -Wall -Wextra -Werror -fno-exceptions -fno-rtti -ffp-contract=off -fno-math-errno)

set(ESPALIER_AVX2 -mavx2 -mfma -mf16c -mbmi2)
set(ESPALIER_AVX512 ${ESPALIER_AVX2} -mavx512f -mavx512bw -mavx512dq -mavx512vl -mprefer-vector-width=512)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # GCC's own AVX-512 headers start from an undefined register, which this warning mistakes for ours (GCC bug 105593).
  list(APPEND ESPALIER_AVX512 -Wno-uninitialized -Wno-maybe-uninitialized)
endif()

function(espalier_isa_flags)
  foreach(source IN LISTS ARGN)
    if(source MATCHES "_avx512bf16\\.cpp$")
      set(flags ${ESPALIER_AVX512} -mavx512bf16)
    elseif(source MATCHES "_avx512vnni\\.cpp$")
      set(flags ${ESPALIER_AVX512} -mavx512vnni)
    elseif(source MATCHES "_avx512\\.cpp$")
      set(flags ${ESPALIER_AVX512})
    elseif(source MATCHES "_avx2\\.cpp$")
      set(flags ${ESPALIER_AVX2})
    else()
      continue()
    endif()
    set_source_files_properties("${source}" PROPERTIES COMPILE_OPTIONS "${flags}")
  endforeach()
endfunction()
