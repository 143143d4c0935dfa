// SPDX-License-Identifier: Apache-2.0
//
// Rows against each other. One thread is timed in processor time, which other programs on the
// machine stretch least; all threads in wall time, for which there is no other clock.
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>

#include "bench.h"

namespace bench {
namespace {

constexpr double sample_seconds = 1e-3;  // a sample is as many calls as take this long
constexpr int64_t calls_most = 1000;
constexpr double long_round = 0.5;  // seconds: of these fewer are enough, their noise averages out
constexpr int64_t long_rounds = 5;
constexpr unsigned settle_microseconds = 2000;  // idle threads of a pool or of OpenMP spin so long
constexpr int poison = 0xD7;  // as fp32 -4.7e14: an output that is not written does not pass

struct row {
  result about;
  const char* pinned;        // null: nothing to pin
  const vendor_row* vendor;  // null: ours
};

double now(bool processor_time) {
  timespec t;
  clock_gettime(processor_time ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

// The reference first, then the vendors, one of which stands in where we have only one way.
std::vector<row> rows_of(const workload& w, const std::vector<vendor_row>& vendors) {
  std::vector<row> rows;
  const auto add = [&](const char* name, const char* isa, const char* pinned) {
    row r;
    r.about.operation = w.name;
    r.about.shape = w.shape;
    r.about.limit = w.limit;
    r.about.brief = w.brief;
    r.about.row = name;
    r.about.isa = isa;
    r.pinned = pinned;
    r.vendor = nullptr;
    rows.push_back(r);
  };
  for (int32_t i = 0; !w.operations.empty() && i < esp_variant_count(); i++) {
    if (strcmp(esp_variant_operation(i), w.operations[0]) != 0) continue;
    add(esp_variant_name(i), esp_variant_isa(i), esp_variant_name(i));
    if (esp_variant_runs(i) == 0) rows.back().about.status = state::cannot_run;
  }
  if (w.operations.empty()) add("tiles", "", nullptr);
  for (size_t i = vendors.size(); i-- > 0;) {
    const vendor_row& vendor = vendors[i];
    add(vendor.name.c_str(), vendor.implementation.c_str(), nullptr);
    row& r = rows.back();
    r.vendor = &vendor;
    r.about.vendor = true;
    r.about.reason = vendor.unfit;
    if (!vendor.unfit.empty()) r.about.status = state::unfit;
  }
  std::reverse(rows.begin(), rows.end());
  // ours: ..., reference first among them; it goes before the vendors.
  const auto reference = std::find_if(rows.begin(), rows.end(),
                                      [](const row& r) { return r.about.row == "reference"; });
  if (reference != rows.end()) std::rotate(rows.begin(), reference, reference + 1);
  return rows;
}

// Runs one row once; "" or what went wrong.
std::string call(const workload& w, const row& r, esp_context* ctx, int64_t turn) {
  if (r.vendor != nullptr) {
    r.vendor->run(turn);
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

// Compares every row with the first; those that fail leave the list, and a reference that is not
// to be timed does at the end.
void admit(const workload& w, session* run, std::vector<row>* rows) {
  std::vector<std::vector<uint8_t>> reference;
  std::vector<row> admitted;
  for (row& r : *rows) {
    if (r.about.status != state::measured) {
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
    const bool slow = !w.reference_timed && r.about.row == "reference" && run->all != nullptr;
    esp_context* ctx = slow ? run->all : run->one;
    pin(w, ctx, r.pinned);
    if (r.vendor != nullptr) r.vendor->set_threads(1);
    r.about.reason = call(w, r, ctx, 0);
    pin(w, ctx, nullptr);
    if (r.vendor != nullptr && r.vendor->finish) r.vendor->finish();
    if (r.about.reason.empty() && w.judge) w.judge();
    if (r.about.reason.empty() && !reference.empty())
      r.about.reason = difference(w.outputs, reference);
    if (reference.empty()) reference = copy_of(w.outputs);
    const bool excused = r.vendor != nullptr && !r.vendor->excuse.empty();
    if (excused && !r.about.reason.empty()) r.about.reason = "differs: " + r.vendor->excuse;
    if (r.about.reason.empty() || excused) {
      admitted.push_back(r);
    } else {
      r.about.status = r.vendor != nullptr ? state::unfit : state::refused;
      run->results.push_back(r.about);
      fprintf(stderr, "%s %s %s %s: %s\n",
              r.vendor != nullptr ? "left out:" : "REFUSED:", w.name.c_str(), w.shape.c_str(),
              r.about.row.c_str(), r.about.reason.c_str());
      if (admitted.empty()) break;  // nothing to compare with
    }
  }
  if (!admitted.empty() && !w.reference_timed && admitted[0].about.row == "reference") {
    admitted[0].about.status = state::checks_only;
    run->results.push_back(admitted[0].about);
    admitted.erase(admitted.begin());
  }
  *rows = admitted;
}

// Seconds a call.
double sample(const workload& w, const row& r, esp_context* ctx, bool alone, int64_t calls,
              int64_t* turn) {
  pin(w, ctx, r.pinned);
  if (r.vendor != nullptr) r.vendor->set_threads(alone ? 1 : esp_context_threads(ctx));
  if (w.prepare) w.prepare();
  if (!alone) usleep(settle_microseconds);
  const double start = now(alone);
  for (int64_t i = 0; i < calls; i++) call(w, r, ctx, (*turn)++);
  const double seconds = now(alone) - start;
  // The library's own calls of OpenBLAS are of one thread each.
  if (r.vendor != nullptr && !alone) r.vendor->set_threads(1);
  return seconds / static_cast<double>(calls);
}

timing summary(const workload& w, const std::vector<row>& rows,
               const std::vector<std::vector<double>>& seconds, const std::vector<double>& rates,
               size_t which) {
  const std::vector<double>& own = seconds[which];
  timing t;
  t.rounds = static_cast<int64_t>(own.size());
  t.seconds = quartiles_of(own);
  t.rate = w.work / t.seconds.median;
  for (size_t other = 0; other < rows.size(); other++) {
    const result& about = rows[other].about;
    if (other == which || !(about.vendor || about.row == "reference")) continue;
    std::vector<double> values;
    for (size_t round = 0; round < own.size(); round++)
      values.push_back(seconds[other][round] / own[round]);
    t.ratios.push_back({about.row, quartiles_of(values)});
  }
  std::vector<double> shares;
  for (size_t round = 0; round < rates.size(); round++)
    shares.push_back(w.work / own[round] / rates[round]);
  t.share = quartiles_of(shares);
  return t;
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
  const int64_t least = round_seconds > long_round ? long_rounds : run->how.rounds_least;
  const int64_t rounds = std::clamp<int64_t>(static_cast<int64_t>(run->how.seconds / round_seconds),
                                             least, run->how.rounds_most);
  for (int64_t round = 0; round < rounds; round++) {
    if (w.limit != ceiling::none) {
      if (!alone) usleep(settle_microseconds);
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
  for (size_t i = 0; i < rows->size(); i++)
    (alone ? (*rows)[i].about.one_thread : (*rows)[i].about.all_threads) =
        summary(w, *rows, seconds, rates, i);
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
  if (!run->how.lines) fprintf(stderr, "%s %s\n", w.name.c_str(), w.shape.c_str());
  const size_t first = run->results.size();
  const std::vector<vendor_row> vendors = w.vendors ? w.vendors() : std::vector<vendor_row>();
  std::vector<row> rows = rows_of(w, vendors);
  admit(w, run, &rows);
  if (!rows.empty()) {
    time_rows(w, run, &rows, true);
    if (run->all != nullptr) time_rows(w, run, &rows, false);
    pin(w, run->one, nullptr);
    if (run->all != nullptr) pin(w, run->all, nullptr);
    for (const row& r : rows) run->results.push_back(r.about);
  }
  if (!run->how.lines) return;
  printf("%s  %s\n", w.name.c_str(), w.shape.c_str());
  for (size_t i = first; i < run->results.size(); i++)
    printf(
        "  %s\n",
        line_of(run->results[i], run->all == nullptr ? 1 : esp_context_threads(run->all)).c_str());
  fflush(stdout);
}

}  // namespace bench
