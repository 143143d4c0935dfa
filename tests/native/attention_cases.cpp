// SPDX-License-Identifier: Apache-2.0
//
// Attention against an fp64 definition. With S the largest sum |q k| * scale over the visible keys,
// a weight errs by (head_dim + 4) * 2^-23 * S + 2^-21 relative to itself; so does the mix of
// values, relative to the largest visible |v|.
#include <math.h>

#include <algorithm>

#include "harness.h"

using namespace cases;

namespace {

struct problem {
  int64_t tokens;
  int64_t start;
  int64_t spare;  // keys beyond start + tokens
  int64_t heads;
  int64_t kv_heads;
  int64_t head_dim;
  int64_t window;
  inputs kind;
  double range = 1.0;
};

void check(const problem& p) {
  const int64_t keys = p.start + p.tokens + p.spare;
  const int64_t ldq = p.heads * p.head_dim + 1;
  const int64_t ldk = p.kv_heads * p.head_dim + 2;
  const int64_t ldv = p.kv_heads * p.head_dim + 3;
  const int64_t ldy = p.heads * p.head_dim + 4;
  buffer<float> q(p.tokens == 0 ? 0 : p.tokens * ldq - 1);
  buffer<float> k(keys == 0 ? 0 : keys * ldk - 2);
  buffer<float> v(keys == 0 ? 0 : keys * ldv - 3);
  fill(q, p.kind, 51, p.range);
  fill(k, p.kind, 52, p.range);
  fill(v, p.kind == inputs::all_min ? inputs::uniform : p.kind, 53);
  // Nothing may look at a key that no query sees.
  for (int64_t j = p.start + p.tokens; j < keys; j++) {
    for (int64_t c = 0; c < p.kv_heads * p.head_dim; c++) k[j * ldk + c] = v[j * ldv + c] = NAN;
  }
  const float scale = static_cast<float>(1.0 / sqrt(static_cast<double>(p.head_dim)));
  const int64_t size = p.tokens == 0 ? 0 : p.tokens * ldy - 4;
  std::vector<double> expected(static_cast<size_t>(size), 9.0);
  std::vector<double> limits(static_cast<size_t>(size), 0.0);
  std::vector<double> weights(static_cast<size_t>(keys));
  for (int64_t t = 0; t < p.tokens; t++) {
    for (int64_t h = 0; h < p.heads; h++) {
      const int64_t group = h / (p.heads / p.kv_heads) * p.head_dim;
      double most = -HUGE_VAL, norm = 0.0, sum = 0.0, largest_v = 0.0;
      const auto visible = [&](int64_t j) {
        return j <= p.start + t && (p.window == 0 || j > p.start + t - p.window);
      };
      for (int64_t j = 0; j < keys; j++) {
        if (!visible(j)) continue;
        double score = 0.0, size_of_score = 0.0;
        for (int64_t d = 0; d < p.head_dim; d++) {
          const double product =
              static_cast<double>(q[t * ldq + h * p.head_dim + d]) * k[j * ldk + group + d];
          score += product;
          size_of_score += fabs(product);
          largest_v = std::max(largest_v, fabs(static_cast<double>(v[j * ldv + group + d])));
        }
        weights[static_cast<size_t>(j)] = score * scale;
        most = std::max(most, score * scale);
        norm = std::max(norm, size_of_score * scale);
      }
      for (int64_t j = 0; j < keys; j++) {
        if (!visible(j)) continue;
        weights[static_cast<size_t>(j)] = exp(weights[static_cast<size_t>(j)] - most);
        sum += weights[static_cast<size_t>(j)];
      }
      for (int64_t d = 0; d < p.head_dim; d++) {
        double mixed = 0.0;
        for (int64_t j = 0; j < keys; j++) {
          if (visible(j)) mixed += weights[static_cast<size_t>(j)] * v[j * ldv + group + d];
        }
        const size_t at = static_cast<size_t>(t * ldy + h * p.head_dim + d);
        expected[at] = mixed / sum;
        const double relative = static_cast<double>(p.head_dim + 4) * 0x1p-23 * norm + 0x1p-21 +
                                static_cast<double>(keys) * 0x1p-24;
        limits[at] = relative * largest_v;
      }
    }
  }
  against_definition<float>(
      "attention",
      format("tokens=%d start=%d heads=%d/%d head_dim=%d window=%d %s", static_cast<int>(p.tokens),
             static_cast<int>(p.start), static_cast<int>(p.heads), static_cast<int>(p.kv_heads),
             static_cast<int>(p.head_dim), static_cast<int>(p.window), name_of(p.kind)),
      expected, [&](int64_t i) { return limits[static_cast<size_t>(i)]; },
      [&](esp_context* ctx, float* y) {
        for (int64_t i = 0; i < size; i++) y[i] = 9.0f;
        return esp_attention(ctx, p.tokens, keys, p.heads, p.kv_heads, p.head_dim, p.start,
                             p.window, scale, q, ldq, k, ldk, v, ldv, y, ldy);
      });
}

}  // namespace

CASE(attention_prefills) {
  for (int64_t head_dim : {1, 7, 8, 9, 16, 17, 33, 64, 80}) {
    for (inputs kind : every_input) check({13, 0, 0, 2, 1, head_dim, 0, kind});
  }
  for (int64_t tokens : {0, 1, 2, 3, 4, 5, 31, 32, 33, 63, 64, 65, 129})
    check({tokens, 0, 3, 3, 3, 16, 0, inputs::heavy_tailed, 0.1});
}

CASE(attention_decodes_after_a_past) {
  for (int64_t start : {0, 1, 62, 63, 64, 65, 127, 128, 200}) {
    for (int64_t heads : {1, 3, 9}) check({1, start, 2, heads, 1, 24, 0, inputs::uniform});
    check({1, start, 0, 4, 4, 64, 0, inputs::uniform, 3.0});
    check({7, start, 1, 4, 2, 24, 0, inputs::uniform, 3.0});
  }
}

CASE(attention_shares_key_heads) {
  // 40 heads over one key head: more than one tile of 8 heads.
  for (int64_t heads : {2, 6, 8, 10, 40}) {
    check({5, 70, 1, heads, 1, 10, 0, inputs::uniform, 2.0});
    check({5, 70, 1, heads, 2, 10, 0, inputs::uniform, 2.0});
  }
}

CASE(attention_respects_the_window) {
  for (int64_t window : {1, 2, 5, 63, 64, 65, 1000}) {
    check({1, 150, 0, 2, 1, 16, window, inputs::uniform});
    check({70, 100, 4, 4, 2, 16, window, inputs::uniform, 2.0});
    check({70, 0, 4, 1, 1, 16, window, inputs::heavy_tailed, 0.1});
  }
}

// Scores of +-30 and more: the running maximum must carry the sums.
CASE(attention_survives_large_scores) {
  check({70, 70, 0, 2, 2, 64, 0, inputs::uniform, 8.0});
  check({1, 300, 0, 2, 2, 64, 0, inputs::uniform, 8.0});
}

// A value that a query may not see changes nothing, whatever it is.
CASE(attention_ignores_what_lies_in_the_future) {
  constexpr int64_t tokens = 40;
  constexpr int64_t head_dim = 20;
  buffer<float> x(tokens * head_dim);
  fill(x, inputs::uniform, 54);
  std::vector<float> before(tokens * head_dim), after(tokens * head_dim);
  for (int32_t i = 0; i < esp_variant_count(); i++) {
    if (strcmp(esp_variant_operation(i), "attention") != 0 || esp_variant_runs(i) == 0) continue;
    esp_variant_pin(context(), "attention", esp_variant_name(i));
    const auto run = [&](const float* k, const float* v, float* y) {
      return esp_attention(context(), tokens, tokens, 1, 1, head_dim, 0, 0, 0.2f, x, head_dim, k,
                           head_dim, v, head_dim, y, head_dim);
    };
    std::vector<float> other(x.begin(), x.end());
    run(x, x, before.data());
    for (int64_t c = 29 * head_dim; c < tokens * head_dim; c++)
      other[static_cast<size_t>(c)] = c % 2 == 0 ? NAN : HUGE_VALF;
    run(other.data(), other.data(), after.data());
    expect(std::equal(before.begin(), before.begin() + 29 * head_dim, after.begin()),
           "%s: the past changed", esp_variant_name(i));
  }
  esp_variant_pin(context(), "attention", nullptr);
}

CASE(attention_refuses_bad_arguments) {
  float x[16] = {};
  const auto call = [&](int64_t tokens, int64_t keys, int64_t heads, int64_t kv, int64_t start,
                        int64_t window, int64_t ldk) {
    return esp_attention(context(), tokens, keys, heads, kv, 2, start, window, 1.0f, x, 4, x, ldk,
                         x, 4, x + 8, 4);
  };
  expect_status(ESP_OK, call(1, 1, 2, 1, 0, 0, 2), "attention");
  expect_status(ESP_INVALID_ARGUMENT, call(1, 1, 2, 0, 0, 0, 2), "attention");
  expect_status(ESP_INVALID_ARGUMENT, call(1, 1, 2, 1, 1, 0, 2), "attention");
  expect_status(ESP_INVALID_ARGUMENT, call(1, 1, 2, 1, 0, -1, 2), "attention");
  expect_status(ESP_INVALID_ARGUMENT, call(1, 1, 2, 1, 0, 0, 1), "attention");
  expect_status(ESP_INVALID_ARGUMENT, call(1, 1, 2, 1, -1, 0, 2), "attention");
}
