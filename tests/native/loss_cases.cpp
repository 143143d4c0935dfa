// SPDX-License-Identifier: Apache-2.0
//
// Cross entropy and divergence against fp64 definitions. Exponentials may be of fp32: an error of
// 1.5 ulp each and of half an ulp of the difference from the largest logit, which weighs d * e^-d.
#include <math.h>

#include <algorithm>

#include "harness.h"

using namespace cases;

namespace {

constexpr int64_t vocabularies[] = {1, 2, 7, 8, 9, 15, 16, 17, 33, 1000, 49152};
constexpr double ulp64 = 0x1p-52;
// 2 ulp of fp32 and the rounding of differences up to 24, beyond which e^-d * n is below an ulp.
constexpr double weight_error = (4 + 24) * 0x1p-24;

// log of the sum of exponentials.
double log_sum(const float* x, int64_t n) {
  const double most = *std::max_element(x, x + n);
  double sum = 0.0;
  for (int64_t i = 0; i < n; i++) sum += exp(x[i] - most);
  return most + log(sum);
}

}  // namespace

CASE(cross_entropy_matches_its_definition) {
  for (int64_t n : vocabularies) {
    for (inputs kind : every_input) {
      constexpr int64_t rows = 5;
      const int64_t ld = n + 3;
      buffer<float> logits(rows * ld - 3);
      fill(logits, kind, 61, kind == inputs::heavy_tailed ? 1.0 : 12.0);
      buffer<int32_t> targets(rows);
      std::vector<double> expected;
      double size = 0.0;
      for (int64_t r = 0; r < rows; r++) {
        targets[r] = r == 2 ? -100 : static_cast<int32_t>(r * 977 % n);
        const double z = log_sum(logits + r * ld, n);
        expected.push_back(targets[r] < 0 ? 0.0 : z - logits[r * ld + targets[r]]);
        size = std::max(size, fabs(z) + fabs(expected.back()));
      }
      against_definition<double>(
          "cross_entropy", format("vocabulary=%d %s", static_cast<int>(n), name_of(kind)), expected,
          within(weight_error + static_cast<double>(n + 16) * ulp64 * (1.0 + size)),
          [&](esp_context* ctx, double* loss) {
            return esp_cross_entropy(ctx, rows, n, logits, ld, targets, loss);
          });
    }
  }
}

CASE(divergence_matches_its_definition) {
  for (int64_t n : vocabularies) {
    for (inputs kind : every_input) {
      constexpr int64_t rows = 4;
      const int64_t ld = n + 1;
      buffer<float> p(rows * ld - 1);
      buffer<float> q(rows * ld - 1);
      fill(p, kind, 62, kind == inputs::heavy_tailed ? 1.0 : 12.0);
      fill(q, inputs::uniform, 63, 0.25);
      for (int64_t i = 0; i < q.size(); i++) q[i] += p[i];
      for (int64_t i = 0; i < n; i++) q[i] = p[i];  // row 0: the same distribution
      std::vector<double> kl, top;
      for (int64_t r = 0; r < rows; r++) {
        const float* const a = p + r * ld;
        const float* const b = q + r * ld;
        const double za = log_sum(a, n);
        const double zb = log_sum(b, n);
        double sum = 0.0;
        for (int64_t i = 0; i < n; i++)
          sum += exp(a[i] - za) * (static_cast<double>(a[i]) - za - (b[i] - zb));
        kl.push_back(sum);
        top.push_back(std::max_element(a, a + n) - a == std::max_element(b, b + n) - b ? 1 : 0);
      }
      const std::string label = format("vocabulary=%d %s", static_cast<int>(n), name_of(kind));
      std::vector<uint8_t> ignored_top(rows);
      std::vector<double> ignored_kl(rows);
      against_definition<double>(
          "divergence", label, kl,
          within(2 * weight_error + static_cast<double>(n + 100) * ulp64 * 64.0),
          [&](esp_context* ctx, double* out) {
            return esp_divergence(ctx, rows, n, p, ld, q, ld, out, ignored_top.data());
          });
      against_definition<uint8_t>(
          "divergence", label + " top", top, nullptr, [&](esp_context* ctx, uint8_t* out) {
            return esp_divergence(ctx, rows, n, p, ld, q, ld, ignored_kl.data(), out);
          });
      double same = 1.0;
      esp_divergence(context(), 1, n, p, ld, p, ld, &same, ignored_top.data());
      expect(same == 0.0 && ignored_top[0] == 1, "a row diverges from itself by %g", same);
    }
  }
}

CASE(losses_treat_special_logits_alike) {
  constexpr int64_t n = 37;
  const float nothing = -HUGE_VALF;
  buffer<float> p(n);
  buffer<float> q(n);
  fill(p, inputs::uniform, 64, 3.0);
  fill(q, inputs::uniform, 65, 3.0);
  const auto compare = [&](const char* what) {
    against_reference<double>("divergence", what, 1, within(2 * weight_error),
                              [&](esp_context* ctx, double* kl) {
                                uint8_t top;
                                return esp_divergence(ctx, 1, n, p, n, q, n, kl, &top);
                              });
    const int32_t target = 3;
    against_reference<double>("cross_entropy", what, 1, within(2 * weight_error),
                              [&](esp_context* ctx, double* loss) {
                                return esp_cross_entropy(ctx, 1, n, p, n, &target, loss);
                              });
  };
  p[36] = p[5] = nothing;  // impossible under p: no contribution
  compare("-infinity in p");
  q[5] = nothing;  // impossible under both
  compare("-infinity in both");
  q[7] = nothing;  // impossible under q alone: infinite
  compare("-infinity in q alone");
  p[8] = NAN;
  compare("NaN");
}

CASE(arg_max_is_the_first_largest) {
  for (int64_t n : vocabularies) {
    for (inputs kind : every_input) {
      buffer<float> x(n);
      fill(x, kind, 66, 5.0);
      const auto check = [&](const char* what, double expected) {
        against_definition<int32_t>(
            "arg_max", format("n=%d %s %s", static_cast<int>(n), name_of(kind), what), {expected},
            nullptr, [&](esp_context* ctx, int32_t* y) { return esp_arg_max(ctx, n, x, y); });
      };
      check("", static_cast<double>(std::max_element(x.begin(), x.end()) - x.begin()));
      if (n > 2) {
        x[n - 1] = x[n / 2] = HUGE_VALF;
        check("two infinities", static_cast<double>(n / 2));
      }
      x[n - 1] = NAN;
      check("NaN", -1);
      for (float& value : x) value = -HUGE_VALF;
      check("all -infinity", -1);
    }
  }
}

CASE(losses_refuse_bad_arguments) {
  float x[4] = {};
  double loss[2] = {1, 1};
  uint8_t top;
  const int32_t high = 4;
  expect_status(ESP_INVALID_ARGUMENT, esp_cross_entropy(context(), 1, 4, x, 4, &high, loss),
                "cross_entropy");
  expect_status(ESP_INVALID_ARGUMENT, esp_cross_entropy(context(), 1, 4, x, 3, &high, loss),
                "cross_entropy");
  expect_status(ESP_INVALID_ARGUMENT, esp_divergence(context(), 1, 4, x, 4, nullptr, 4, loss, &top),
                "divergence");
  expect_status(ESP_OK, esp_divergence(context(), 0, 4, nullptr, 4, nullptr, 4, nullptr, nullptr),
                "divergence");
}
