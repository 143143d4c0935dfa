# SPDX-License-Identifier: Apache-2.0
# The optional second library. espalier_cuda needs nvcc 13.0: a system toolkit, or the folder that ./espalier setup-cuda
# fills; without one nothing here is built but the host emulation, which needs none. The core never links either.
set(ESPALIER_CUDA_HOME "" CACHE PATH "CUDA 13.0 toolkit; empty: searched for")

set(CUDA_CACHE "$ENV{XDG_CACHE_HOME}")
if(NOT CUDA_CACHE)
  set(CUDA_CACHE "$ENV{HOME}/.cache")
endif()
find_program(ESPALIER_NVCC nvcc NO_DEFAULT_PATH
  PATHS "${ESPALIER_CUDA_HOME}" "$ENV{ESPALIER_CUDA_HOME}" "${CUDA_CACHE}/espalier/cuda-13.0/nvidia/cu13"
        "$ENV{CUDA_HOME}" /usr/local/cuda-13.0 /usr/local/cuda
  PATH_SUFFIXES bin)
set(ESPALIER_CUDA OFF)
if(ESPALIER_SANITIZE)
  message(STATUS "CUDA: left out, sanitizers see the emulation only")
elseif(ESPALIER_NVCC)
  execute_process(COMMAND "${ESPALIER_NVCC}" --version OUTPUT_VARIABLE NVCC_VERSION ERROR_QUIET)
  if(NVCC_VERSION MATCHES "release 13\\.0")
    set(ESPALIER_CUDA ON)
    message(STATUS "CUDA: espalier_cuda is built with ${ESPALIER_NVCC}")
  else()
    message(STATUS "CUDA: left out, ${ESPALIER_NVCC} is not release 13.0 (try: ./espalier setup-cuda)")
  endif()
else()
  message(STATUS "CUDA: left out, no nvcc 13.0 found (try: ./espalier setup-cuda)")
endif()

file(GLOB CUDA_SOURCES CONFIGURE_DEPENDS "${ROOT}/kernels/cuda/*/*.cu" "${ROOT}/native/cuda/*.cu")
set(CUDA_INCLUDES "${ROOT}/native/include" "${ROOT}/native/cuda" "${ROOT}/kernels")

if(ESPALIER_CUDA AND CUDA_SOURCES)
  # Machine code for sm_80 and sm_90a; PTX of compute_80 for every later device. -fmad=false: as on the CPU, what is
  # fused is spelt so. The resources of every kernel go to <object>.resources for the census.
  get_filename_component(CUDA_BIN "${ESPALIER_NVCC}" DIRECTORY)
  set(NVCC_FLAGS -std=c++17 -O3 -fmad=false --expt-relaxed-constexpr -lineinfo
    -gencode "arch=compute_80,code=[sm_80,compute_80]" -gencode arch=compute_90a,code=sm_90a -Xptxas -v
    -Werror all-warnings -ccbin "${CMAKE_CXX_COMPILER}"
    -Xcompiler -fPIC,-fvisibility=hidden,-fno-exceptions,-fno-rtti,-Wall)
  list(TRANSFORM CUDA_INCLUDES PREPEND -I OUTPUT_VARIABLE NVCC_INCLUDES)
  set(CUDA_OBJECTS "")
  foreach(source IN LISTS CUDA_SOURCES)
    file(RELATIVE_PATH name "${ROOT}" "${source}")
    string(REPLACE "/" "_" name "${name}")
    set(object "${CMAKE_BINARY_DIR}/cuda/${name}.o")
    list(JOIN NVCC_FLAGS "' '" flags)
    list(JOIN NVCC_INCLUDES "' '" includes)
    add_custom_command(OUTPUT "${object}" DEPENDS "${source}" DEPFILE "${object}.d" VERBATIM
      COMMENT "nvcc ${name}"
      COMMAND sh -c "mkdir -p '${CMAKE_BINARY_DIR}/cuda' && if '${ESPALIER_NVCC}' -c '${source}' -o '${object}' -MD -MF '${object}.d' '${flags}' '${includes}' > '${object}.resources' 2>&1; then :; else cat '${object}.resources' >&2; exit 1; fi")
    list(APPEND CUDA_OBJECTS "${object}")
  endforeach()
  find_library(ESPALIER_CUDART cudart_static NO_DEFAULT_PATH PATHS "${CUDA_BIN}/.." PATH_SUFFIXES lib lib64)
  add_library(espalier_cuda SHARED ${CUDA_OBJECTS})
  set_target_properties(espalier_cuda PROPERTIES LINKER_LANGUAGE CXX)
  target_link_options(espalier_cuda PRIVATE -Wl,--exclude-libs,ALL)
  target_link_libraries(espalier_cuda PRIVATE "${ESPALIER_CUDART}" Threads::Threads ${CMAKE_DL_LIBS} rt)
  add_dependencies(espalier espalier_cuda)  # one build makes both
endif()

# The same sources for the host: g++ against tests/native/cuda_emulation (tests only).
file(GLOB EMULATION_SOURCES CONFIGURE_DEPENDS "${ROOT}/tests/native/cuda_emulation/*.cpp")
set_source_files_properties(${CUDA_SOURCES} PROPERTIES LANGUAGE CXX COMPILE_OPTIONS "-x;c++")
add_library(espalier_cuda_emulated SHARED EXCLUDE_FROM_ALL ${CUDA_SOURCES} ${EMULATION_SOURCES})
set_target_properties(espalier_cuda_emulated PROPERTIES CXX_VISIBILITY_PRESET default)
target_include_directories(espalier_cuda_emulated PRIVATE "${ROOT}/tests/native/cuda_emulation" ${CUDA_INCLUDES})
target_compile_definitions(espalier_cuda_emulated PRIVATE ESPALIER_EMULATED)
target_compile_options(espalier_cuda_emulated PRIVATE ${ESPALIER_FLAGS} -O2 ${ESPALIER_SANITIZE_FLAGS})
target_link_options(espalier_cuda_emulated PRIVATE ${ESPALIER_SANITIZE_FLAGS})
target_link_libraries(espalier_cuda_emulated PRIVATE Threads::Threads ${CMAKE_DL_LIBS})

# The case lists of the function table: the emulated library unless --cuda names another (tests/gpu/run).
file(GLOB CUDA_CASE_SOURCES CONFIGURE_DEPENDS "${ROOT}/tests/native/cuda/*.cpp")
add_executable(cases_cuda EXCLUDE_FROM_ALL ${CUDA_CASE_SOURCES} "${ROOT}/tests/native/harness.cpp")
target_include_directories(cases_cuda PRIVATE ${CUDA_INCLUDES} "${ROOT}/tests/native"
  "${ROOT}/tests/native/cuda_emulation")
target_compile_definitions(cases_cuda PRIVATE ESPALIER_EMULATED ESPALIER_ROOT="${ROOT}"
  ESPALIER_CUDA_RESOURCES="${CMAKE_BINARY_DIR}/cuda")
target_compile_options(cases_cuda PRIVATE ${ESPALIER_FLAGS} ${ESPALIER_SANITIZE_FLAGS})
target_link_options(cases_cuda PRIVATE ${ESPALIER_SANITIZE_FLAGS})
target_link_libraries(cases_cuda PRIVATE espalier espalier_cuda_emulated Threads::Threads ${CMAKE_DL_LIBS})
