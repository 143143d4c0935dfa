// SPDX-License-Identifier: Apache-2.0
//
// Attention of sequences and its gradient, and losses with theirs, against fp64 definitions.
#include <math.h>

#include <algorithm>

#include "harness.h"

using namespace cases;

namespace {

constexpr double half_ulp = 0x1p-24;

std::vector<double> softmax(const float* x, int64_t n, double temperature) {
  const double most = *std::max_element(x, x + n) / temperature;
  std::vector<double> p;
  double sum = 0.0;
  for (int64_t i = 0; i < n; i++) {
    p.push_back(exp(x[i] / temperature - most));
    sum += p.back();
  }
  for (double& value : p) value /= sum;
  return p;
}

// A batch of sequences and what fp64 says of it.
struct attention_batch {
  std::vector<int64_t> queries, keys;  // starts
  int64_t heads, kv_heads, head_dim, window;
  float scale;
  const float *q, *k, *v, *dy;
  std::vector<double> y, log_sum, dq, dk, dv, dq_size, dk_size, dv_size;

  void solve() {
    const size_t q_size = static_cast<size_t>(queries.back() * heads * head_dim);
    const size_t k_size = static_cast<size_t>(keys.back() * kv_heads * head_dim);
    y.assign(q_size, 0.0);
    dq.assign(q_size, 0.25);
    dk.assign(k_size, 0.25);
    dv.assign(k_size, 0.25);
    dq_size.assign(q_size, 0.25);
    dk_size.assign(k_size, 0.25);
    dv_size.assign(k_size, 0.25);
    log_sum.assign(static_cast<size_t>(queries.back() * heads), 0.0);
    for (size_t s = 0; s + 1 < queries.size(); s++)
      for (int64_t i = queries[s]; i < queries[s + 1]; i++)
        for (int64_t h = 0; h < heads; h++) row(static_cast<int64_t>(s), i, h);
  }

  void row(int64_t s, int64_t i, int64_t h) {
    const size_t at = static_cast<size_t>(s);
    const int64_t first = keys[at];
    const int64_t place = keys[at + 1] - queries[at + 1] + i;  // among all keys
    const int64_t from = window > 0 ? std::max(first, place - window + 1) : first;
    const auto key = [&](int64_t j) { return (j * kv_heads + h / (heads / kv_heads)) * head_dim; };
    const int64_t query = (i * heads + h) * head_dim;
    std::vector<double> score, weight, slope;
    double sum = 0.0, delta = 0.0, slopes = 0.0;
    for (int64_t j = from; j <= place; j++) {
      double dot = 0.0, slope_of = 0.0;
      for (int64_t d = 0; d < head_dim; d++) {
        dot += static_cast<double>(q[query + d]) * k[key(j) + d];
        slope_of += static_cast<double>(dy[query + d]) * v[key(j) + d];
      }
      score.push_back(dot * scale);
      slope.push_back(slope_of);
      sum += exp(score.back());
    }
    log_sum[static_cast<size_t>(i * heads + h)] = log(sum);
    for (size_t c = 0; c < score.size(); c++) {
      weight.push_back(exp(score[c]) / sum);
      delta += weight[c] * slope[c];
      slopes = std::max(slopes, fabs(slope[c]));
    }
    for (size_t c = 0; c < score.size(); c++) {
      const int64_t j = from + static_cast<int64_t>(c);
      const double ds = scale * weight[c] * (slope[c] - delta);
      const double ds_size = scale * weight[c] * 4.0 * slopes;
      for (int64_t d = 0; d < head_dim; d++) {
        const size_t a = static_cast<size_t>(query + d);
        const size_t b = static_cast<size_t>(key(j) + d);
        y[a] += weight[c] * v[b];
        dq[a] += ds * k[b];
        dk[b] += ds * q[a];
        dv[b] += weight[c] * dy[a];
        dq_size[a] += ds_size * fabs(k[b]);
        dk_size[b] += ds_size * fabs(q[a]);
        dv_size[b] += weight[c] * fabs(dy[a]);
      }
    }
  }
};

bound relative(const std::vector<double>& sizes, double factor) {
  return [&sizes, factor](int64_t i) { return factor * sizes[static_cast<size_t>(i)] + 1e-9; };
}

// One kind of divergence of one width, twice: a row with a target and one without.
void divergence_case(int64_t n, double forward, double forward_skew, double reverse,
                     double reverse_skew, double variation, double temperature) {
  constexpr int64_t rows = 2;
  buffer<float> teacher(rows * n), student(rows * n);
  fill(teacher, inputs::uniform, 321, 3.0);
  fill(student, inputs::uniform, 322, 3.0);
  buffer<int32_t> targets(rows);
  targets[1] = -1;
  const auto loss = [&](const std::vector<double>& x) {
    const std::vector<double> p = softmax(teacher, n, temperature);
    std::vector<double> q;
    double sum = 0.0;
    for (double value : x) sum += exp(value / temperature);
    for (double value : x) q.push_back(exp(value / temperature) / sum);
    double total = 0.0;
    for (size_t i = 0; i < q.size(); i++) {
      const double m = forward_skew * p[i] + (1 - forward_skew) * q[i];
      const double w = reverse_skew * q[i] + (1 - reverse_skew) * p[i];
      total += forward * p[i] * log(p[i] / m) + reverse * q[i] * log(q[i] / w) +
               variation * 0.5 * fabs(p[i] - q[i]);
    }
    return temperature * temperature * total;
  };
  std::vector<double> x(student.begin(), student.begin() + n), gradient;
  for (size_t i = 0; i < x.size(); i++) {
    const double step = 1e-5, middle = x[i];
    x[i] = middle + step;
    const double high = loss(x);
    x[i] = middle - step;
    gradient.push_back(0.25 * (high - loss(x)) / (2 * step));
    x[i] = middle;
  }
  gradient.resize(static_cast<size_t>(rows * n), 0.0);
  buffer<double> losses(rows);
  const auto run = [&](esp_context* ctx, int32_t add, float* out) {
    return esp_divergence_backward(ctx, rows, n, teacher, student, targets, forward, forward_skew,
                                   reverse, reverse_skew, variation, temperature, 0.25f, add, out,
                                   losses);
  };
  // Logits are at most 6 apart: 4 (6 + 8) half ulps of a flow of at most 7, times T / 4.
  const bound limit = within(4 * 14 * 7 * half_ulp);
  const std::string name = format("n=%d", static_cast<int>(n));
  against_definition<float>("divergence_backward", name, gradient, limit,
                            [&](esp_context* ctx, float* out) { return run(ctx, 0, out); });
  const double apart = fabs(losses[0] - loss(x));
  expect(apart < 1e-5 && losses[1] == 0.0, "the loss is off by %g", apart);
  std::vector<double> sums = gradient;
  for (double& value : sums) value += 0.25;
  against_definition<float>("divergence_backward", name + " added", sums, limit,
                            [&](esp_context* ctx, float* out) {
                              for (int64_t i = 0; i < rows * n; i++) out[i] = 0.25f;
                              return run(ctx, 1, out);
                            });
}

}  // namespace

CASE(attention_of_sequences_and_its_gradient) {
  struct shape {
    std::vector<int64_t> queries, keys;
    int64_t heads, kv_heads, head_dim, window;
  };
  const shape shapes[] = {
      {{0, 1}, {0, 1}, 1, 1, 1, 0},
      {{0, 9}, {0, 9}, 6, 2, 8, 0},
      {{0, 5}, {0, 9}, 4, 1, 8, 0},
      {{0, 3, 3, 20, 90}, {0, 3, 3, 20, 90}, 4, 2, 16, 0},
      {{0, 70, 140}, {0, 70, 140}, 2, 2, 24, 0},
      {{0, 130, 131}, {0, 130, 131}, 3, 1, 9, 7},
      {{0, 150}, {0, 220}, 2, 1, 12, 65},
  };
  for (const shape& s : shapes) {
    const int64_t q_size = s.queries.back() * s.heads * s.head_dim;
    const int64_t k_size = s.keys.back() * s.kv_heads * s.head_dim;
    buffer<float> q(q_size), k(k_size), v(k_size), dy(q_size), y(q_size), other(q_size);
    buffer<float> more(k_size), log_sum(s.queries.back() * s.heads);
    fill(q, inputs::uniform, 301, 2.0);
    fill(k, inputs::uniform, 302, 2.0);
    fill(v, inputs::uniform, 303);
    fill(dy, inputs::uniform, 304);
    attention_batch fact{s.queries, s.keys, s.heads, s.kv_heads, s.head_dim, s.window, 0.3f,
                         q,         k,      v,       dy,         {},         {},       {},
                         {},        {},     {},      {},         {}};
    fact.solve();
    const int64_t count = static_cast<int64_t>(s.queries.size()) - 1;
    const std::string name =
        format("%d queries of %d keys, %d sequences, heads %d/%d, window %d",
               static_cast<int>(s.queries.back()), static_cast<int>(s.keys.back()),
               static_cast<int>(count), static_cast<int>(s.heads), static_cast<int>(s.kv_heads),
               static_cast<int>(s.window));
    // A score errs by (head_dim + 2) half ulps of sum |q k| <= 4 head_dim, times its scale.
    const double score_error = static_cast<double>((s.head_dim + 8) * 4 * s.head_dim) * half_ulp;
    const double tail = 2.0 * score_error + 200.0 * half_ulp;
    const auto forward = [&](esp_context* ctx, float* out, float* sums) {
      return esp_attention_sequences(ctx, count, s.queries.data(), s.keys.data(), s.heads,
                                     s.kv_heads, s.head_dim, s.window, 0.3f, q, k, v, out, sums);
    };
    against_definition<float>(
        "attention", name, fact.y, within(tail),
        [&](esp_context* ctx, float* out) { return forward(ctx, out, log_sum); });
    against_definition<float>("attention", name + " log of sums", fact.log_sum,
                              within(score_error + 1e-5),
                              [&](esp_context* ctx, float* out) { return forward(ctx, y, out); });
    forward(context(), y, log_sum);
    const auto backward = [&](esp_context* ctx, float* dq, float* dk, float* dv) {
      return esp_attention_backward(ctx, count, s.queries.data(), s.keys.data(), s.heads,
                                    s.kv_heads, s.head_dim, s.window, 0.3f, q, k, v, y, log_sum, dy,
                                    dq, dk, dv);
    };
    const auto begun = [](float* out, int64_t n) {
      for (int64_t i = 0; i < n; i++) out[i] = 0.25f;
      return out;
    };
    buffer<float> third(k_size);
    against_definition<float>("attention_backward", name + " dq", fact.dq,
                              relative(fact.dq_size, tail), [&](esp_context* ctx, float* out) {
                                return backward(ctx, begun(out, q_size), more, third);
                              });
    against_definition<float>("attention_backward", name + " dk", fact.dk,
                              relative(fact.dk_size, tail), [&](esp_context* ctx, float* out) {
                                return backward(ctx, other, begun(out, k_size), third);
                              });
    against_definition<float>("attention_backward", name + " dv", fact.dv,
                              relative(fact.dv_size, tail), [&](esp_context* ctx, float* out) {
                                return backward(ctx, other, more, begun(out, k_size));
                              });
  }
}

CASE(cross_entropy_gradient_matches_its_definition) {
  for (int64_t n : {1, 7, 8, 9, 16, 17, 1000, 2048}) {
    for (inputs kind : every_input) {
      constexpr int64_t rows = 5;
      buffer<float> logits(rows * n);
      fill(logits, kind, 311, kind == inputs::heavy_tailed ? 1.0 : 12.0);
      buffer<int32_t> targets(rows);
      buffer<double> unused(rows);
      std::vector<double> gradient, loss;
      for (int64_t r = 0; r < rows; r++) {
        targets[r] = r == 2 ? -100 : static_cast<int32_t>(r * 977 % n);
        const std::vector<double> p = softmax(logits + r * n, n, 1.0);
        for (int64_t i = 0; i < n; i++) {
          const double hit = i == targets[r] ? 1.0 : 0.0;
          gradient.push_back(r == 2 ? 0.0 : 0.5 * (p[static_cast<size_t>(i)] - hit));
        }
        loss.push_back(r == 2 ? 0.0 : -log(p[static_cast<size_t>(targets[r])]));
      }
      const std::string name = format("vocabulary=%d %s", static_cast<int>(n), name_of(kind));
      const double size = kind == inputs::heavy_tailed ? 200.0 : 24.0;
      const auto finite = [&](int64_t i) { return std::isfinite(loss[static_cast<size_t>(i)]); };
      against_definition<float>("cross_entropy_backward", name, gradient,
                                within(4 * size * half_ulp), [&](esp_context* ctx, float* out) {
                                  // In place: what training does.
                                  std::copy(logits.begin(), logits.end(), out);
                                  return esp_cross_entropy_backward(ctx, rows, n, out, targets,
                                                                    0.5f, out, unused);
                                });
      if (!finite(0) || !finite(1) || !finite(3) || !finite(4)) continue;
      buffer<float> scratch(rows * n);
      against_definition<double>("cross_entropy_backward", name + " loss", loss,
                                 within(4 * size * half_ulp), [&](esp_context* ctx, double* out) {
                                   return esp_cross_entropy_backward(ctx, rows, n, logits, targets,
                                                                     0.5f, scratch, out);
                                 });
    }
  }
}

CASE(divergences_match_central_differences) {
  struct kind {
    double forward, forward_skew, reverse, reverse_skew, variation, temperature;
  };
  const kind kinds[] = {kind{1, 0, 0, 0, 0, 1}, kind{0, 0, 1, 0, 0, 2},
                        kind{0.3, 0.3, 0.7, 0.7, 0, 1}, kind{0, 0, 0, 0, 1, 1},
                        kind{0.5, 0.1, 0.2, 0.4, 0.3, 1.5}};
  for (int64_t n : {1, 7, 8, 9, 16, 19, 33}) {
    for (const kind d : kinds)
      divergence_case(n, d.forward, d.forward_skew, d.reverse, d.reverse_skew, d.variation,
                      d.temperature);
  }
}

CASE(squared_error_matches_its_definition) {
  for (int64_t n : {1, 8, 9, 17, 20000}) {
    buffer<float> x(n), target(n), dx(n);
    fill(x, inputs::uniform, 331);
    fill(target, inputs::uniform, 332);
    std::vector<double> gradient;
    double sum = 0.0;
    for (int64_t i = 0; i < n; i++) {
      const double apart = static_cast<double>(x[i]) - target[i];
      gradient.push_back(0.25 + 0.5 * apart);
      sum += apart * apart;
    }
    double found = 0.0;
    against_definition<float>("squared_error_backward", format("n=%d", static_cast<int>(n)),
                              gradient, within(4 * half_ulp), [&](esp_context* ctx, float* out) {
                                for (int64_t i = 0; i < n; i++) out[i] = 0.25f;
                                return esp_squared_error_backward(ctx, n, x, target, 0.5f, out,
                                                                  &found);
                              });
    expect(fabs(found - sum) <= 1e-6 * sum, "the sum is %g, not %g", found, sum);
  }
}
