// SPDX-License-Identifier: Apache-2.0
//
// What GPTQ does to one matrix: the Hessian's sums, its factor, the columns, and how far the result
// is from the weights.
#include <stdio.h>
#include <string.h>

#include "vendors.h"

namespace bench {
namespace {

using visitor = std::function<void(const workload&)>;

std::string shape(const char* text, int64_t a, int64_t b) {
  char line[128];
  snprintf(line, sizeof line, text, static_cast<long long>(a), static_cast<long long>(b));
  return line;
}

// ---- the whole solve against PyTorch's loop

constexpr int64_t width = 2048, group = 128;

// H of 2 * width random tokens with a hundredth of its mean diagonal added, and its factors.
struct hessian {
  std::vector<double> h, u;  // U U^T = H, U upper triangular
  std::vector<float> upper;  // U^-1 = R: R^T R the inverse of H
};

std::shared_ptr<const hessian> make_hessian(const pools& data) {
  const auto made = std::make_shared<hessian>();
  std::vector<double>& h = made->h;
  h.assign(static_cast<size_t>(width * width), 0.0);
  esp_context* ctx = nullptr;
  int64_t pivot = -1;
  bool ok = esp_context_create(0, &ctx) == ESP_OK &&
            esp_gram(ctx, 2 * width, width, ESP_F32, data.floats(2 * width * width, 0), width,
                     h.data()) == ESP_OK;
  double mean = 0;
  for (int64_t i = 0; i < width; i++) mean += h[static_cast<size_t>(i * width + i)] / width;
  for (int64_t i = 0; i < width; i++) h[static_cast<size_t>(i * width + i)] += 0.01 * mean;
  made->u = h;
  ok = ok && esp_cholesky_reversed(ctx, width, made->u.data(), &pivot) == ESP_OK;
  esp_context_destroy(ctx);
  if (!ok) fprintf(stderr, "error: %s\n", esp_last_error());
  // Row i of R from the rows below it: R U = I read as U R = I, solved from the last row up.
  std::vector<double> r(static_cast<size_t>(width * width), 0.0);
  for (int64_t i = width - 1; i >= 0; i--) {
    double* row = r.data() + i * width;
    const double* u = made->u.data() + i * width;
    row[i] = 1.0;
    for (int64_t j = i + 1; j < width; j++) {
      const double factor = u[j];
      const double* below = r.data() + j * width;
      for (int64_t c = j; c < width; c++) row[c] -= factor * below[c];
    }
    for (int64_t c = i; c < width; c++) row[c] /= u[i];
  }
  made->upper.assign(r.begin(), r.end());
  return made;
}

// Rounds are judged by tr(D H D^T), D what they did to the weights: within a part in a hundred of
// the reference's. (Codes that lie between two values fall either way in fp32.)
workload whole_solve(const pools& data, int64_t rows,
                     const std::function<std::shared_ptr<const hessian>()>& hessian_of) {
  const auto cells = static_cast<size_t>(rows * width);
  auto weights = std::make_shared<std::vector<float>>(cells);
  auto codes = std::make_shared<std::vector<int8_t>>(cells);
  auto scales = std::make_shared<std::vector<float>>(cells / group);
  auto zeros = std::make_shared<std::vector<int8_t>>(cells / group);
  auto error = std::make_shared<double>(0);
  const float* given = data.floats(rows * width, 1);
  workload w;
  w.operations = {"gptq_columns", "gptq_preview"};
  w.name = "gptq_solve";
  w.shape = shape("%lldx%lld 4 bits", rows, width);
  w.limit = ceiling::fp32;
  w.work = static_cast<double>(rows) * static_cast<double>(width * width);
  w.reference_timed = false;
  w.prepare = [=] { memcpy(weights->data(), given, weights->size() * sizeof(float)); };
  w.run = [=](esp_context* ctx, int64_t) {
    return esp_gptq_solve(ctx, rows, width, weights->data(), hessian_of()->u.data(), 4, 1, group,
                          nullptr, ESP_F16, scales->data(), zeros->data(), codes->data());
  };
  w.vendors = [=] {
    std::vector<vendor_row> made;
    add_torch_gptq(rows, width, group, weights->data(), hessian_of()->upper.data(), &made);
    return made;
  };
  w.judge = [=] {
    esp_context* ctx = nullptr;
    if (esp_context_create(0, &ctx) != ESP_OK ||
        esp_quadratic_form(ctx, rows, width, given, weights->data(), width, hessian_of()->h.data(),
                           error.get()) != ESP_OK)
      fprintf(stderr, "error: %s\n", esp_last_error());
    esp_context_destroy(ctx);
  };
  w.outputs = {{error.get(), 1, element::f64, 0.005}};
  return w;
}

}  // namespace

void solver_workloads(const pools& data, const visitor& visit) {
  {
    auto made = std::make_shared<std::shared_ptr<const hessian>>();
    const auto hessian_of = [made, &data] {
      if (*made == nullptr) *made = make_hessian(data);
      return *made;
    };
    visit(whole_solve(data, 2048, hessian_of));
    visit(whole_solve(data, 8192, hessian_of));
  }

  const int64_t n = width, rows = 128;
  const auto cells = static_cast<size_t>(n * n);
  auto h = std::make_shared<std::vector<double>>(cells);
  // Diagonally dominant: positive definite; its upper triangle serves GPTQ as U.
  for (int64_t i = 0; i < n; i++) {
    for (int64_t j = i; j < n; j++) {
      const double value = static_cast<double>(data.floats(n * n, 1)[i * n + j]) / 64;
      (*h)[static_cast<size_t>(i * n + j)] = (*h)[static_cast<size_t>(j * n + i)] =
          i == j ? 32 + value : value;
    }
  }
  {
    auto weights = std::make_shared<std::vector<float>>(static_cast<size_t>(rows * n));
    auto scales = std::make_shared<std::vector<float>>(static_cast<size_t>(rows * n / group));
    auto zeros = std::make_shared<std::vector<int8_t>>(scales->size());
    auto codes = std::make_shared<std::vector<int8_t>>(weights->size());
    workload w;
    w.operations = {"gptq_columns", "gptq_preview", "outer_f32"};
    w.name = "gptq_columns, gptq_preview";
    w.shape = shape("%lldx%lld 4 bits", rows, n);
    w.limit = ceiling::fp32;
    w.work = static_cast<double>(rows) * static_cast<double>(n * n);
    w.prepare = [=, &data] {
      memcpy(weights->data(), data.floats(rows * n, 0), weights->size() * sizeof(float));
    };
    w.run = [=](esp_context* ctx, int64_t) {
      return esp_gptq_solve(ctx, rows, n, weights->data(), h->data(), 4, 1, group, nullptr, ESP_F16,
                            scales->data(), zeros->data(), codes->data());
    };
    w.outputs = {{codes->data(), rows * n, element::bytes, 0},
                 {scales->data(), 4 * rows * n / group, element::bytes, 0}};
    visit(w);
  }
  auto work = std::make_shared<std::vector<double>>(cells);
  {
    workload w;
    w.operations = {"outer_f32"};
    w.name = "gram";
    w.shape = shape("tokens=%lld k=%lld", 2 * rows, n);
    w.limit = ceiling::fp32;
    w.work = 2.0 * static_cast<double>(rows) * static_cast<double>(n * (n + 1));
    w.run = [=, &data](esp_context* ctx, int64_t turn) {
      return esp_gram(ctx, 2 * rows, n, ESP_F32, data.floats(2 * rows * n, turn), n, work->data());
    };
    w.restore = [=] { memset(work->data(), 0, cells * sizeof(double)); };
    w.outputs = {{work->data(), n * n, element::f64, 0}};
    visit(w);
  }
  {
    workload w;
    w.operations = {"outer_f32"};
    w.name = "quadratic_form";
    w.shape = shape("%lldx%lld", rows, n);
    w.limit = ceiling::fp32;
    w.work = static_cast<double>(rows) * static_cast<double>(n * (n + 1));
    auto value = std::make_shared<double>(0);
    w.run = [=, &data](esp_context* ctx, int64_t turn) {
      return esp_quadratic_form(ctx, rows, n, data.floats(rows * n, turn), nullptr, n, h->data(),
                                value.get());
    };
    w.outputs = {{value.get(), 1, element::f64, 0}};
    visit(w);
  }
  {
    workload w;
    w.operations = {"outer_f64"};
    w.name = "cholesky_reversed";
    w.shape = shape("%lldx%lld", n, n);
    w.limit = ceiling::fp64;
    w.work = static_cast<double>(n) * static_cast<double>(n * n) / 3;
    w.prepare = [=] { memcpy(work->data(), h->data(), cells * sizeof(double)); };
    w.run = [=](esp_context* ctx, int64_t) {
      int64_t pivot = 0;
      return esp_cholesky_reversed(ctx, n, work->data(), &pivot);
    };
    w.outputs = {{work->data(), n * n, element::f64, 0}};
    visit(w);
  }
}

}  // namespace bench
