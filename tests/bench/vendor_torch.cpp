// SPDX-License-Identifier: Apache-2.0
//
// libtorch through the C functions that it keeps stable for compiled models
// (torch/csrc/inductor/aoti_torch/c/shim.h of 2.10), of which the few used here are declared again.
// Every call goes through PyTorch's dispatcher as the same line of Python would, only without
// Python: the loop of GPTQ here is a little faster than gptq_eager.py.
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

#include <algorithm>

#include "vendors.h"

namespace bench {
namespace {

typedef void* handle;
typedef uint64_t value;  // a handle, an integer or the bits of a double
constexpr int64_t gptq_block = 128;

struct library {
  int32_t (*cpu)();
  int32_t (*float32)();
  int (*from_blob)(void*, int64_t, const int64_t*, const int64_t*, int64_t, int32_t, int32_t,
                   int32_t, handle*);
  int (*scalar)(float, handle*);
  int (*retain)(handle, handle*);
  int (*release)(handle);
  int (*clone)(handle, handle*);
  int (*copy)(handle, handle, int32_t);
  int (*mm_out)(handle, handle, handle);
  int (*subtract)(handle, handle, double, handle*);
  int (*addmm_out)(handle, handle, handle, handle, double, double);
  int (*call)(const char*, const char*, value*);
  int (*new_list)(size_t, handle*);
  int (*push)(handle, value);
  void (*set_gradients)(bool);
  void (*set_threads)(int);
} torch = {};

template <class T>
bool find(void* from, const char* name, T* function) {
  *function = reinterpret_cast<T>(dlsym(from, name));
  if (*function == nullptr) fprintf(stderr, "error: libtorch without %s\n", name);
  return *function != nullptr;
}

// The library says on standard error what it did not like.
void done(int status) {
  if (status != 0) fprintf(stderr, "error: libtorch status %d\n", status);
}

// An owned tensor.
class tensor {
 public:
  tensor() = default;
  explicit tensor(handle owned) : at_(owned) {}
  tensor(tensor&& other) noexcept : at_(other.at_) { other.at_ = nullptr; }
  tensor& operator=(tensor&& other) noexcept {
    std::swap(at_, other.at_);
    return *this;
  }
  ~tensor() {
    if (at_ != nullptr) torch.release(at_);
  }
  handle get() const { return at_; }
  // One more reference, for the dispatcher to keep.
  value shared() const {
    handle another = nullptr;
    done(torch.retain(at_, &another));
    return reinterpret_cast<value>(another);
  }

 private:
  handle at_ = nullptr;
};

// A view of fp32 memory.
tensor view(const float* data, int64_t rows, int64_t cols, int64_t row_stride, int64_t col_stride) {
  const int64_t sizes[2] = {rows, cols}, strides[2] = {row_stride, col_stride};
  handle made = nullptr;
  done(torch.from_blob(const_cast<float*>(data), 2, sizes, strides, 0, torch.float32(), torch.cpu(),
                       0, &made));
  return tensor(made);
}

tensor scalar(float x) {
  handle made = nullptr;
  done(torch.scalar(x, &made));
  return tensor(made);
}

// Calls an operation on up to five values; the first result.
tensor call(const char* name, const char* overload, std::initializer_list<value> arguments) {
  value stack[5] = {};
  std::copy(arguments.begin(), arguments.end(), stack);
  done(torch.call(name, overload, stack));
  return tensor(reinterpret_cast<handle>(stack[0]));
}

value optional(value v) {
  return reinterpret_cast<value>(new value(v));  // the dispatcher deletes it
}

tensor columns(const tensor& t, int64_t from, int64_t to) {
  return call(
      "aten::slice", "Tensor",
      {t.shared(), 1, optional(static_cast<value>(from)), optional(static_cast<value>(to)), 1});
}

// The symmetric scale of each row of part [rows, columns], as [rows, 1].
tensor scale_of(const tensor& part, const tensor& per_step, const tensor& least) {
  handle dimensions = nullptr;
  done(torch.new_list(1, &dimensions));
  done(torch.push(dimensions, 1));
  const tensor size = call("aten::abs", "", {part.shared()});
  const tensor most =
      call("aten::amax", "", {size.shared(), reinterpret_cast<value>(dimensions), 1});
  const tensor scale = call("aten::mul", "Tensor", {most.shared(), per_step.shared()});
  return call("aten::maximum", "", {scale.shared(), least.shared()});
}

struct gptq {
  int64_t rows, cols, group;
  float* w;
  const float* upper;
  std::vector<float> errors;  // [rows, gptq_block]
};

void solve(gptq* g) {
  const tensor per_step = scalar(2.0f / 15.0f), least = scalar(0x1p-23f), low = scalar(-8.0f),
               high = scalar(7.0f);
  const tensor w = view(g->w, g->rows, g->cols, g->cols, 1);
  const tensor errors = view(g->errors.data(), g->rows, gptq_block, gptq_block, 1);
  tensor scale;
  for (int64_t start = 0; start < g->cols; start += gptq_block) {
    const int64_t end = std::min(start + gptq_block, g->cols), width = end - start;
    handle copied = nullptr;
    const tensor block = columns(w, start, end);
    done(torch.clone(block.get(), &copied));
    const tensor open(copied);
    for (int64_t i = 0; i < width; i++) {
      if ((start + i) % g->group == 0)
        scale = scale_of(i == 0 ? columns(w, start, std::min(start + g->group, g->cols))
                                : columns(open, i, std::min(i + g->group, width)),
                         per_step, least);
      const float* u = g->upper + (start + i) * g->cols + start + i;  // row i from the diagonal on
      const tensor column = columns(open, i, i + 1);
      const tensor ratio = call("aten::div", "Tensor", {column.shared(), scale.shared()});
      const tensor nearest = call("aten::round", "", {ratio.shared()});
      const tensor code = call("aten::clamp", "Tensor",
                               {nearest.shared(), optional(low.shared()), optional(high.shared())});
      const tensor rounded = call("aten::mul", "Tensor", {code.shared(), scale.shared()});
      const tensor pivot = scalar(*u);
      handle difference = nullptr;
      done(torch.subtract(column.get(), rounded.get(), 1.0, &difference));
      const tensor gap(difference);
      const tensor error = call("aten::div", "Tensor", {gap.shared(), pivot.shared()});
      const tensor rest = columns(open, i, width);
      const tensor row = view(u, 1, width - i, g->cols, 1);
      done(torch.addmm_out(rest.get(), rest.get(), error.get(), row.get(), 1.0, -1.0));
      const tensor kept = columns(errors, i, i + 1), into = columns(w, start + i, start + i + 1);
      done(torch.copy(kept.get(), error.get(), 0));
      done(torch.copy(into.get(), rounded.get(), 0));
    }
    if (end == g->cols) break;
    const tensor later = columns(w, end, g->cols), all = columns(errors, 0, width);
    const tensor factor = view(g->upper + start * g->cols + end, width, g->cols - end, g->cols, 1);
    done(torch.addmm_out(later.get(), later.get(), all.get(), factor.get(), 1.0, -1.0));
  }
}

}  // namespace

bool open_torch(const char* path) {
  void* from = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (from == nullptr) {
    fprintf(stderr, "error: %s\n", dlerror());
    return false;
  }
  library l = {};
  uint64_t (*version_of)() = nullptr;
  const bool complete = find(from, "aoti_torch_device_type_cpu", &l.cpu) &&
                        find(from, "aoti_torch_dtype_float32", &l.float32) &&
                        find(from, "aoti_torch_create_tensor_from_blob", &l.from_blob) &&
                        find(from, "aoti_torch_scalar_to_tensor_float32", &l.scalar) &&
                        find(from, "aoti_torch_new_tensor_handle", &l.retain) &&
                        find(from, "aoti_torch_delete_tensor_object", &l.release) &&
                        find(from, "aoti_torch_clone", &l.clone) &&
                        find(from, "aoti_torch_copy_", &l.copy) &&
                        find(from, "aoti_torch_cpu_mm_out", &l.mm_out) &&
                        find(from, "aoti_torch_aten_subtract_Tensor", &l.subtract) &&
                        find(from, "aoti_torch_cpu_addmm_out", &l.addmm_out) &&
                        find(from, "aoti_torch_call_dispatcher", &l.call) &&
                        find(from, "torch_new_list_reserve_size", &l.new_list) &&
                        find(from, "torch_list_push_back", &l.push) &&
                        find(from, "aoti_torch_grad_mode_set_enabled", &l.set_gradients) &&
                        find(from, "_ZN2at15set_num_threadsEi", &l.set_threads) &&
                        find(from, "aoti_torch_abi_version", &version_of);
  if (!complete) return false;
  torch = l;
  torch.set_gradients(false);
  const uint64_t version = version_of();  // a byte each, from the highest: major, minor, patch
  add_vendor_name("torch " + std::to_string(version >> 56) + "." +
                  std::to_string(version >> 48 & 255) + "." + std::to_string(version >> 40 & 255));
  return true;
}

void add_torch_f32(const product_operands& p, std::vector<vendor_row>* rows) {
  if (torch.call == nullptr) return;
  vendor_row row;
  row.name = "torch";
  row.set_threads = torch.set_threads;
  row.run = [p](int64_t turn) {
    const tensor x = view(static_cast<const float*>(p.x), p.m, p.k, p.k, 1);
    const tensor w = view(static_cast<const float*>(p.w(turn)), p.k, p.n, 1, p.k);
    const tensor y = view(p.y, p.m, p.n, p.n, 1);
    done(torch.mm_out(y.get(), x.get(), w.get()));
  };
  rows->push_back(row);
}

void add_torch_gptq(int64_t rows, int64_t cols, int64_t group, float* w, const float* upper,
                    std::vector<vendor_row>* rows_out) {
  if (torch.call == nullptr) return;
  const auto g = std::make_shared<gptq>();
  *g = {rows, cols, group, w, upper, {}};
  g->errors.resize(static_cast<size_t>(rows * gptq_block));
  vendor_row row;
  row.name = "torch eager";
  row.set_threads = torch.set_threads;
  row.run = [g](int64_t) { solve(g.get()); };
  rows_out->push_back(row);
}

}  // namespace bench
