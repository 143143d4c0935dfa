// SPDX-License-Identifier: Apache-2.0
//
// oneDNN's matmul through its C interface (oneapi/dnnl/dnnl.h of 3.11), of which the few functions
// and numbers used here are declared again. Memory formats: any = the library's choice, packed
// before anything is timed.
#include <dlfcn.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "vendors.h"

namespace bench {
namespace {

// Opaque objects of the library.
typedef void* handle;
enum data_type : int { bf16 = 2, f32 = 3, s32 = 4, s8 = 5 };
constexpr int cpu_engine = 1, default_stream = 1, format_any = 1, format_row_major = 3;
constexpr int query_name = 8, query_weights = 131;
constexpr int source = 1, weights = 33, destination = 17;  // arguments of a primitive
struct argument {
  int which;
  handle memory;
};

struct library {
  int (*engine_create)(handle*, int, size_t);
  int (*stream_create)(handle*, handle, unsigned);
  int (*stream_wait)(handle);
  int (*describe)(handle*, int, const int64_t*, int, int);
  int (*describe_strided)(handle*, int, const int64_t*, int, const int64_t*);
  size_t (*size_of)(handle);
  int (*memory_create)(handle*, handle, handle, void*);
  int (*memory_destroy)(handle);
  int (*memory_set)(handle, void*);
  int (*matmul)(handle*, handle, handle, handle, handle, handle, handle);
  int (*reorder)(handle*, handle, handle, handle, handle, handle);
  int (*query)(handle, int, int, void*);
  handle (*query_memory)(handle, int, int);
  int (*primitive_create)(handle*, handle);
  int (*primitive_destroy)(handle);
  int (*execute)(handle, handle, int, const argument*);
  void (*set_threads)(int);
  handle engine, stream;
} onednn = {};

template <class T>
bool find(void* from, const char* name, T* function) {
  *function = reinterpret_cast<T>(dlsym(from, name));
  if (*function == nullptr) fprintf(stderr, "error: oneDNN without %s\n", name);
  return *function != nullptr;
}

bool done(int status) {
  if (status != 0) fprintf(stderr, "error: oneDNN status %d\n", status);
  return status == 0;
}

// More than four last-level caches of this machine's packed weights, and at least one.
constexpr int64_t packed_bytes = int64_t{160} << 20;

// One product; what it made lives as long as the row does.
struct product {
  handle primitive = nullptr, x = nullptr, w = nullptr, y = nullptr;
  std::vector<handle> packed;  // weights of turn 0, 1, ...
  std::vector<int32_t> sums;   // the destination of int8
  ~product() {
    for (handle memory : packed) onednn.memory_destroy(memory);
    for (handle memory : {x, w, y})
      if (memory != nullptr) onednn.memory_destroy(memory);
    if (primitive != nullptr) onednn.primitive_destroy(primitive);
  }
};

handle row_major(int64_t rows, int64_t cols, data_type type) {
  const int64_t sizes[2] = {rows, cols};
  handle description = nullptr;
  done(onednn.describe(&description, 2, sizes, type, format_row_major));
  return description;
}

// Weights [k, n] as oneDNN names them, lying as [n, k].
handle transposed(int64_t k, int64_t n, data_type type) {
  const int64_t sizes[2] = {k, n}, strides[2] = {1, k};
  handle description = nullptr;
  done(onednn.describe_strided(&description, 2, sizes, type, strides));
  return description;
}

handle chosen_by_the_library(int64_t k, int64_t n, data_type type) {
  const int64_t sizes[2] = {k, n};
  handle description = nullptr;
  done(onednn.describe(&description, 2, sizes, type, format_any));
  return description;
}

handle memory_at(handle description, const void* at) {
  handle memory = nullptr;
  done(onednn.memory_create(&memory, description, onednn.engine, const_cast<void*>(at)));
  return memory;
}

void execute(handle primitive, const argument* arguments, int count) {
  done(onednn.execute(primitive, onednn.stream, count, arguments));
  done(onednn.stream_wait(onednn.stream));
}

handle pack(handle from_description, const void* from, handle to_description) {
  handle description = nullptr, primitive = nullptr;
  if (!done(onednn.reorder(&description, from_description, onednn.engine, to_description,
                           onednn.engine, nullptr)) ||
      !done(onednn.primitive_create(&primitive, description)))
    return nullptr;
  const handle source_memory = memory_at(from_description, from);
  handle memory = nullptr;  // SIZE_MAX: the library allocates it
  done(onednn.memory_create(&memory, to_description, onednn.engine,
                            reinterpret_cast<void*>(SIZE_MAX)));
  const argument arguments[] = {{source, source_memory}, {destination, memory}};
  execute(primitive, arguments, 2);
  onednn.memory_destroy(source_memory);
  onednn.primitive_destroy(primitive);
  return memory;
}

// `w_of` makes the weights of a turn as they lie; called only while packing, where they are packed.
void add(const product_operands& p, data_type type, data_type result, bool packed, void* y,
         const std::shared_ptr<product>& made, const std::function<const void*(int64_t turn)>& w_of,
         vendor_row row, std::vector<vendor_row>* rows) {
  const handle lying = transposed(p.k, p.n, type);
  const handle wanted = packed ? chosen_by_the_library(p.k, p.n, type) : lying;
  const handle x = row_major(p.m, p.k, type), to = row_major(p.m, p.n, result);
  handle description = nullptr;
  row.set_threads = onednn.set_threads;
  if (onednn.matmul(&description, onednn.engine, x, wanted, nullptr, to, nullptr) != 0) {
    row.unfit = "oneDNN has no such product on this machine";
    rows->push_back(row);
    return;
  }
  const char* name = "";
  onednn.query(description, query_name, 0, &name);
  if (strncmp(name, "ref", 3) == 0) {
    row.unfit = std::string("oneDNN has only its reference on this machine (") + name + ")";
    rows->push_back(row);
    return;
  }
  row.implementation = name;
  done(onednn.primitive_create(&made->primitive, description));
  made->x = memory_at(x, p.x);
  made->y = memory_at(to, y);
  if (packed) {
    const handle format = onednn.query_memory(description, query_weights, 0);
    const int64_t bytes = static_cast<int64_t>(onednn.size_of(format));
    const int64_t turns = packed_bytes / bytes + 1;
    onednn.set_threads(2);
    for (int64_t turn = 0; turn < turns; turn++)
      made->packed.push_back(pack(lying, w_of(turn), format));
    row.run = [made](int64_t turn) {
      const size_t which = static_cast<size_t>(turn) % made->packed.size();
      const argument arguments[] = {
          {source, made->x}, {weights, made->packed[which]}, {destination, made->y}};
      execute(made->primitive, arguments, 3);
    };
  } else {
    made->w = memory_at(lying, p.w(0));
    row.run = [made, p](int64_t turn) {
      onednn.memory_set(made->w, const_cast<void*>(p.w(turn)));
      const argument arguments[] = {{source, made->x}, {weights, made->w}, {destination, made->y}};
      execute(made->primitive, arguments, 3);
    };
  }
  rows->push_back(row);
}

vendor_row named(const char* name) {
  vendor_row row;
  row.name = name;
  return row;
}

}  // namespace

bool open_onednn(const char* path) {
  void* from = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (from == nullptr) {
    fprintf(stderr, "error: %s\n", dlerror());
    return false;
  }
  library l = {};
  struct version {
    int major, minor, patch;
  };
  const version* (*version_of)() = nullptr;
  const bool complete =
      find(from, "dnnl_engine_create", &l.engine_create) &&
      find(from, "dnnl_stream_create", &l.stream_create) &&
      find(from, "dnnl_stream_wait", &l.stream_wait) &&
      find(from, "dnnl_memory_desc_create_with_tag", &l.describe) &&
      find(from, "dnnl_memory_desc_create_with_strides", &l.describe_strided) &&
      find(from, "dnnl_memory_desc_get_size", &l.size_of) &&
      find(from, "dnnl_memory_create", &l.memory_create) &&
      find(from, "dnnl_memory_destroy", &l.memory_destroy) &&
      find(from, "dnnl_memory_set_data_handle", &l.memory_set) &&
      find(from, "dnnl_matmul_primitive_desc_create", &l.matmul) &&
      find(from, "dnnl_reorder_primitive_desc_create", &l.reorder) &&
      find(from, "dnnl_primitive_desc_query", &l.query) &&
      find(from, "dnnl_primitive_desc_query_md", &l.query_memory) &&
      find(from, "dnnl_primitive_create", &l.primitive_create) &&
      find(from, "dnnl_primitive_destroy", &l.primitive_destroy) &&
      find(from, "dnnl_primitive_execute", &l.execute) && find(from, "dnnl_version", &version_of) &&
      find(from, "omp_set_num_threads", &l.set_threads);  // of the OpenMP it is linked with
  if (!complete || !done(l.engine_create(&l.engine, cpu_engine, 0)) ||
      !done(l.stream_create(&l.stream, l.engine, default_stream)))
    return false;
  onednn = l;
  const version* v = version_of();
  add_vendor_name("onednn " + std::to_string(v->major) + "." + std::to_string(v->minor) + "." +
                  std::to_string(v->patch));
  return true;
}

void add_onednn_f32(const product_operands& p, std::vector<vendor_row>* rows) {
  if (onednn.engine == nullptr) return;
  add(p, f32, f32, false, p.y, std::make_shared<product>(), p.w, named("onednn"), rows);
  add(p, f32, f32, true, p.y, std::make_shared<product>(), p.w, named("onednn packed"), rows);
}

void add_onednn_bf16(const product_operands& p, std::vector<vendor_row>* rows) {
  if (onednn.engine == nullptr) return;
  const auto x = std::make_shared<std::vector<uint16_t>>(static_cast<size_t>(p.m * p.k));
  for (int64_t i = 0; i < p.m * p.k; i++) {
    uint32_t word;
    memcpy(&word, static_cast<const float*>(p.x) + i, sizeof word);
    (*x)[static_cast<size_t>(i)] = static_cast<uint16_t>(word >> 16);
  }
  product_operands narrow = p;
  narrow.x = x->data();
  vendor_row row = named("onednn packed");
  row.finish = [x] {};  // keeps it
  add(narrow, bf16, f32, true, p.y, std::make_shared<product>(), p.w, row, rows);
}

void add_onednn_int8(const product_operands& p, const float* x_scales, const float* w_scales,
                     std::vector<vendor_row>* rows) {
  if (onednn.engine == nullptr) return;
  const auto made = std::make_shared<product>();
  made->sums.resize(static_cast<size_t>(p.m * p.n));
  const auto codes = std::make_shared<std::vector<int8_t>>(static_cast<size_t>(p.n * p.k));
  const auto w_of = [=](int64_t turn) -> const void* {
    const uint8_t* stored = static_cast<const uint8_t*>(p.w(turn));
    for (int64_t i = 0; i < p.n * p.k; i++)
      (*codes)[static_cast<size_t>(i)] = static_cast<int8_t>(stored[i] - 128);
    return codes->data();
  };
  vendor_row row = named("onednn packed");
  // Its sums of two products of 8 bits are int16, as the instruction has them.
  if (strstr(esp_cpu_features(), "vnni") == nullptr)
    row.excuse = "without VNNI oneDNN's sums of pairs saturate at 16 bits";
  row.finish = [=] {
    for (int64_t i = 0; i < p.m * p.n; i++)  // in the order of kernels/reference/matmul_int8.cpp
      p.y[i] = w_scales[i % p.n] * static_cast<float>(made->sums[static_cast<size_t>(i)]) *
               x_scales[i / p.n];
  };
  add(p, s8, s32, true, made->sums.data(), made, w_of, row, rows);
}

}  // namespace bench
