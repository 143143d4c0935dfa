// SPDX-License-Identifier: Apache-2.0
//
// Rows against each other. One thread is timed in processor time, which other programs on the
// machine stretch least; all threads in wall time, for which there is no other clock.
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <algorithm>

#include "bench.h"

namespace bench {
namespace {

constexpr double sample_seconds = 1e-3;  // a sample is as many calls as take this long
constexpr int64_t calls_most = 1000;
constexpr int poison = 0xD7;  // as fp32 -4.7e14: an output that is not written does not pass

struct row {
  result about;
  const char* pinned;  // null: nothing to pin
  bool vendor;
};

double now(bool processor_time) {
  timespec t;
  clock_gettime(processor_time ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

// The reference first, for which a library stands in where there is only one way.
std::vector<row> rows_of(const workload& w) {
  std::vector<row> rows;
  const auto add = [&](const char* name, const char* isa, const char* pinned, bool vendor) {
    row r;
    r.about.operation = w.name;
    r.about.shape = w.shape;
    r.about.limit = w.limit;
    r.about.brief = w.brief;
    r.about.row = name;
    r.about.isa = isa;
    r.pinned = pinned;
    r.vendor = vendor;
    rows.push_back(r);
  };
  for (int32_t i = 0; !w.operations.empty() && i < esp_variant_count(); i++) {
    if (strcmp(esp_variant_operation(i), w.operations[0]) != 0) continue;
    add(esp_variant_name(i), esp_variant_isa(i), esp_variant_name(i), false);
    if (esp_variant_runs(i) == 0) rows.back().about.status = state::cannot_run;
  }
  std::reverse(rows.begin(), rows.end());
  if (w.vendor.run) add(w.vendor.name.c_str(), "", nullptr, true);
  if (w.operations.empty()) add("tiles", "", nullptr, false);
  return rows;
}

// Runs one row once; "" or what went wrong.
std::string call(const workload& w, const row& r, esp_context* ctx, int64_t turn) {
  if (r.vendor) {
    w.vendor.run(turn);
    return "";
  }
  return w.run(ctx, turn) == ESP_OK ? "" : esp_last_error();
}

// Every operation of the workload that has the row takes it; the others keep theirs.
void pin(const workload& w, esp_context* ctx, const char* name) {
  for (const char* operation : w.operations) esp_variant_pin(ctx, operation, name);
}

std::vector<std::vector<uint8_t>> copy_of(const std::vector<output>& outputs) {
  std::vector<std::vector<uint8_t>> copies;
  for (const output& o : outputs) {
    const int64_t width = o.type == element::f32 ? 4 : o.type == element::f64 ? 8 : 1;
    const uint8_t* p = static_cast<const uint8_t*>(o.address);
    copies.emplace_back(p, p + o.count * width);
  }
  return copies;
}

double value(const void* p, int64_t i, element type) {
  return type == element::f32   ? static_cast<double>(static_cast<const float*>(p)[i])
         : type == element::f64 ? static_cast<const double*>(p)[i]
                                : static_cast<double>(static_cast<const uint8_t*>(p)[i]);
}

// "" when every output of the last call agrees with the reference's.
std::string difference(const std::vector<output>& outputs,
                       const std::vector<std::vector<uint8_t>>& reference) {
  for (size_t which = 0; which < outputs.size(); which++) {
    const output& o = outputs[which];
    const std::vector<uint8_t>& expected = reference[which];
    double square = 0;
    for (int64_t i = 0; i < o.count; i++) {
      const double v = value(expected.data(), i, o.type);
      square += v * v;
    }
    const double rms = o.count == 0 ? 0 : sqrt(square / static_cast<double>(o.count));
    for (int64_t i = 0; i < o.count; i++) {
      const double want = value(expected.data(), i, o.type);
      const double got = value(o.address, i, o.type);
      if (got == want || fabs(got - want) <= o.tolerance * (fabs(want) + rms)) continue;
      char line[160];
      snprintf(line, sizeof line, "output %zu, element %lld is %.9g, the reference has %.9g", which,
               static_cast<long long>(i), got, want);
      return line;
    }
  }
  return "";
}

// Rows that fail are refused and leave the list; false when the reference itself cannot run.
void admit(const workload& w, session* run, std::vector<row>* rows) {
  std::vector<std::vector<uint8_t>> reference;
  std::vector<row> admitted;
  for (row& r : *rows) {
    if (r.about.status == state::cannot_run) {
      run->results.push_back(r.about);
      continue;
    }
    for (const output& o : w.outputs)
      memset(o.address, poison,
             static_cast<size_t>(o.count) * (o.type == element::f32   ? 4
                                             : o.type == element::f64 ? 8
                                                                      : 1));
    if (w.prepare) w.prepare();
    if (w.restore) w.restore();
    pin(w, run->one, r.pinned);
    r.about.reason = call(w, r, run->one, 0);
    if (r.about.reason.empty() && !admitted.empty())
      r.about.reason = difference(w.outputs, reference);
    if (admitted.empty()) reference = copy_of(w.outputs);
    if (r.about.reason.empty()) {
      admitted.push_back(r);
    } else {
      r.about.status = state::refused;
      run->results.push_back(r.about);
      fprintf(stderr, "REFUSED %s %s %s: %s\n", w.name.c_str(), w.shape.c_str(),
              r.about.row.c_str(), r.about.reason.c_str());
      if (admitted.empty()) break;  // nothing to compare with
    }
  }
  *rows = admitted;
}

// Seconds a call.
double sample(const workload& w, const row& r, esp_context* ctx, bool alone, int64_t calls,
              int64_t* turn) {
  pin(w, ctx, r.pinned);
  if (r.vendor && !alone) vendor_blas().set_threads(esp_context_threads(ctx));
  if (w.prepare) w.prepare();
  const double start = now(alone);
  for (int64_t i = 0; i < calls; i++) call(w, r, ctx, (*turn)++);
  const double seconds = now(alone) - start;
  if (r.vendor && !alone) vendor_blas().set_threads(1);
  return seconds / static_cast<double>(calls);
}

void time_rows(const workload& w, session* run, std::vector<row>* rows, bool alone) {
  esp_context* ctx = alone ? run->one : run->all;
  std::vector<int64_t> calls;
  std::vector<std::vector<double>> seconds(rows->size());
  std::vector<double> rates;
  int64_t turn = 0;
  double round_seconds = 2 * sample_seconds;
  for (const row& r : *rows) {
    sample(w, r, ctx, alone, 1, &turn);  // page faults and scratch
    const double once = sample(w, r, ctx, alone, 1, &turn);
    calls.push_back(w.prepare ? 1
                              : std::clamp<int64_t>(static_cast<int64_t>(sample_seconds / once) + 1,
                                                    1, calls_most));
    round_seconds += once * static_cast<double>(calls.back());
  }
  const int64_t rounds = std::clamp<int64_t>(static_cast<int64_t>(run->how.seconds / round_seconds),
                                             run->how.rounds_least, run->how.rounds_most);
  for (int64_t round = 0; round < rounds; round++) {
    if (w.limit != ceiling::none) {
      const double start = now(alone);
      const double work = probe(w.limit, esp_context_threads(ctx), run->data, turn);
      rates.push_back(work / (now(alone) - start));
      (alone ? run->rates_one : run->rates_all)[static_cast<int32_t>(w.limit)].push_back(
          rates.back());
    }
    for (size_t i = 0; i < rows->size(); i++) {
      const size_t at = round % 2 == 0 ? i : rows->size() - 1 - i;  // A B, B A, ...
      seconds[at].push_back(sample(w, (*rows)[at], ctx, alone, calls[at], &turn));
    }
  }
  for (size_t i = 0; i < rows->size(); i++) {
    timing t;
    t.rounds = rounds;
    t.seconds = quartiles_of(seconds[i]).median;
    t.rate = w.work / t.seconds;
    std::vector<double> ratios, shares;
    for (size_t round = 0; round < seconds[i].size(); round++) {
      ratios.push_back(seconds[0][round] / seconds[i][round]);
      if (!rates.empty()) shares.push_back(w.work / seconds[i][round] / rates[round]);
    }
    t.ratio = quartiles_of(ratios);
    if (!shares.empty()) t.share = quartiles_of(shares);
    (alone ? (*rows)[i].about.one_thread : (*rows)[i].about.all_threads) = t;
  }
}

}  // namespace

quartiles quartiles_of(std::vector<double> values) {
  if (values.empty()) return {};
  std::sort(values.begin(), values.end());
  const auto at = [&](double part) {
    return values[static_cast<size_t>(part * static_cast<double>(values.size() - 1) + 0.5)];
  };
  return {at(0.25), at(0.5), at(0.75)};
}

void measure(const workload& w, session* run) {
  const std::vector<std::string>& wanted = run->how.wanted;
  if (!wanted.empty() && std::none_of(wanted.begin(), wanted.end(), [&](const std::string& word) {
        return w.name.find(word) != std::string::npos;
      }))
    return;
  fprintf(stderr, "%s %s\n", w.name.c_str(), w.shape.c_str());
  std::vector<row> rows = rows_of(w);
  admit(w, run, &rows);
  if (rows.empty()) return;
  time_rows(w, run, &rows, true);
  time_rows(w, run, &rows, false);
  pin(w, run->one, nullptr);
  pin(w, run->all, nullptr);
  for (const row& r : rows) run->results.push_back(r.about);
}

}  // namespace bench
