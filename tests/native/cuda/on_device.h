// SPDX-License-Identifier: Apache-2.0
//
// What the case lists of the CUDA library share: its table, a stream, device memory. The library is
// the emulated one, unless ESPALIER_CUDA_LIBRARY names another: the lists then run on a device.
#ifndef ESPALIER_CUDA_CASES_ON_DEVICE_H
#define ESPALIER_CUDA_CASES_ON_DEVICE_H

#include <functional>
#include <vector>

#include "espalier_cuda.h"
#include "harness.h"

namespace cases {

const esp_cuda_functions& cuda();
esp_cuda_stream* cuda_stream();
bool emulated();

// Runs act for three orders of warps and blocks, of which the two runs of a CASE take two and one;
// on a device once a run.
void each_order(const std::function<void(uint64_t seed)>& act);

// Fails the CASE unless the call and all that it queued were well.
void expect_done(esp_status queued, const std::string& label);

// n elements of device memory; what was not uploaded is NaN under the emulation.
template <class T>
class on_device {
 public:
  explicit on_device(int64_t n) : n_(n) { allocate(); }
  explicit on_device(const std::vector<T>& values) : n_(static_cast<int64_t>(values.size())) {
    allocate();
    cuda().upload(cuda_stream(), p_, values.data(), bytes());
    cuda().synchronize(cuda_stream());
  }
  ~on_device() { cuda().release(cuda_stream(), p_); }
  on_device(const on_device&) = delete;
  on_device& operator=(const on_device&) = delete;

  operator T*() const { return static_cast<T*>(p_); }
  int64_t bytes() const { return n_ * static_cast<int64_t>(sizeof(T)); }
  std::vector<T> values() const {
    std::vector<T> to(static_cast<size_t>(n_));
    cuda().download(cuda_stream(), to.data(), p_, bytes());
    cuda().synchronize(cuda_stream());
    return to;
  }

 private:
  void allocate() {
    expect(cuda().allocate(cuda_stream(), bytes(), &p_) == ESP_OK, "%s", cuda().last_error());
  }
  int64_t n_;
  void* p_ = nullptr;
};

}  // namespace cases

#endif  // ESPALIER_CUDA_CASES_ON_DEVICE_H
