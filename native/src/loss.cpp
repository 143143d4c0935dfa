// SPDX-License-Identifier: Apache-2.0
//
// Cross entropy and divergence of rows of logits, one row a tile; the largest logit: argument
// checks.
#include "internal.h"
#include "operations.h"

using namespace esp;

extern "C" {

esp_status esp_cross_entropy(esp_context* ctx, int64_t rows, int64_t vocabulary,
                             const float* logits, int64_t ldlogits, const int32_t* targets,
                             double* loss) noexcept {
  const char* const op = "cross_entropy";
  ESP_REQUIRE(op, ctx != nullptr, "a context", ctx != nullptr);
  ESP_REQUIRE(op, rows >= 0, "rows >= 0", rows);
  ESP_REQUIRE(op, vocabulary >= 0, "vocabulary >= 0", vocabulary);
  ESP_REQUIRE(op, ldlogits >= vocabulary, "ldlogits >= vocabulary", ldlogits);
  if (rows == 0) return ESP_OK;
  ESP_REQUIRE(op, targets != nullptr, "not NULL", targets != nullptr);
  ESP_REQUIRE(op, loss != nullptr, "not NULL", loss != nullptr);
  ESP_REQUIRE(op, logits != nullptr || vocabulary == 0, "logits not NULL", logits != nullptr);
  for (int64_t r = 0; r < rows; r++) {
    if (targets[r] >= vocabulary) {
      return esp::fail(ESP_INVALID_ARGUMENT, "%s: targets[%lld]=%d, expected < %lld", op,
                       static_cast<long long>(r), targets[r], static_cast<long long>(vocabulary));
    }
  }
  const auto kernel = ESP_KERNEL(ctx, cross_entropy);
  return esp::parallel_tiles(ctx, rows, [=](int64_t r, int32_t) -> esp_status {
    loss[r] = targets[r] < 0 ? 0.0 : kernel(vocabulary, logits + r * ldlogits, targets[r]);
    return ESP_OK;
  });
}

esp_status esp_divergence(esp_context* ctx, int64_t rows, int64_t vocabulary, const float* p,
                          int64_t ldp, const float* q, int64_t ldq, double* kl,
                          uint8_t* same_top) noexcept {
  const char* const op = "divergence";
  ESP_REQUIRE(op, ctx != nullptr, "a context", ctx != nullptr);
  ESP_REQUIRE(op, rows >= 0, "rows >= 0", rows);
  ESP_REQUIRE(op, vocabulary >= 0, "vocabulary >= 0", vocabulary);
  if (rows == 0 || vocabulary == 0) return ESP_OK;
  ESP_REQUIRE(op, ldp >= vocabulary, "ldp >= vocabulary", ldp);
  ESP_REQUIRE(op, ldq >= vocabulary, "ldq >= vocabulary", ldq);
  ESP_REQUIRE(op, p != nullptr && q != nullptr, "inputs not NULL", p != nullptr && q != nullptr);
  ESP_REQUIRE(op, kl != nullptr && same_top != nullptr, "outputs not NULL",
              kl != nullptr && same_top != nullptr);
  const auto kernel = ESP_KERNEL(ctx, divergence);
  return esp::parallel_tiles(ctx, rows, [=](int64_t r, int32_t) -> esp_status {
    kl[r] = kernel(vocabulary, p + r * ldp, q + r * ldq, same_top + r);
    return ESP_OK;
  });
}

esp_status esp_arg_max(esp_context* ctx, int64_t n, const float* logits, int32_t* index) noexcept {
  const char* const op = "arg_max";
  ESP_REQUIRE(op, ctx != nullptr, "a context", ctx != nullptr);
  ESP_REQUIRE(op, n >= 0 && n <= INT32_MAX, "0 <= n < 2^31", n);
  ESP_REQUIRE(op, logits != nullptr || n == 0, "logits not NULL", logits != nullptr);
  ESP_REQUIRE(op, index != nullptr, "not NULL", index != nullptr);
  *index = static_cast<int32_t>(ESP_KERNEL(ctx, arg_max)(n, logits));
  return ESP_OK;
}

}  // extern "C"
