// SPDX-License-Identifier: Apache-2.0
//
// What a run leaves behind: everything as JSON, and for README.md a table of what a reader needs.
#include <stdarg.h>
#include <stdio.h>

#include "bench.h"

namespace bench {
namespace {

constexpr const char* begin_marker = "<!-- bench:begin -->";
constexpr const char* end_marker = "<!-- bench:end -->";

std::string text(const char* format, ...) __attribute__((format(printf, 1, 2)));
std::string text(const char* format, ...) {
  char line[1024];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(line, sizeof line, format, arguments);
  va_end(arguments);
  return line;
}

std::string quoted(const std::string& s) {
  std::string q = "\"";
  for (char c : s) {
    if (c == '"' || c == '\\') q += '\\';
    q += static_cast<unsigned char>(c) < 32 ? ' ' : c;
  }
  return q + '"';
}

std::string triple(const quartiles& q) {
  return text("[%.4g, %.4g, %.4g]", q.low, q.median, q.high);
}

std::string timing_json(const result& r, const timing& t) {
  std::string s = text("{\"rounds\": %lld, \"microseconds\": %.4g, \"ratio\": %s",
                       static_cast<long long>(t.rounds), t.seconds * 1e6, triple(t.ratio).c_str());
  if (r.limit != ceiling::none)
    s += text(", \"rate\": %.4g, \"share\": %s", t.rate * 1e-9, triple(t.share).c_str());
  return s + "}";
}

std::string rates_json(const std::vector<double> (&rates)[ceilings]) {
  std::string s;
  for (int32_t c = 0; c < ceilings; c++) {
    const quartiles q = quartiles_of(rates[c]);
    s += text("%s%s: %s", c == 0 ? "" : ", ", quoted(name_of(static_cast<ceiling>(c))).c_str(),
              triple({q.low * 1e-9, q.median * 1e-9, q.high * 1e-9}).c_str());
  }
  return "{" + s + "}";
}

bool chosen_for_table(const session& run, const result& r) {
  if (r.status != state::measured || !r.brief || r.row == "reference") return false;
  // A library that stands in as the reference, or the only row of its operation: not a comparison.
  for (const result& other : run.results) {
    if (other.operation == r.operation && other.shape == r.shape && other.status == state::measured)
      return &other != &r || r.row == "tiles";
  }
  return false;
}

std::string ratio_text(const quartiles& q) {
  const char* format = q.median < 10 ? "%.2f× (%.2f–%.2f)" : "%.0f× (%.0f–%.0f)";
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
  char line[64];
  snprintf(line, sizeof line, format, q.median, q.low, q.high);
#pragma GCC diagnostic pop
  return line;
}

std::string share_text(const result& r, const timing& t) {
  constexpr const char* names[] = {"read", "copy", "update", "fp32", "fp64"};
  return r.limit == ceiling::none
             ? "–"
             : text("%.0f %% %s", 100 * t.share.median, names[static_cast<int32_t>(r.limit)]);
}

}  // namespace

std::string json(const machine& m, const session& run) {
  std::string s = "{\n";
  s += "  \"schema\": \"espalier-bench-1\",\n";
  s += text("  \"date\": %s,\n  \"cpu\": %s,\n  \"features\": %s,\n  \"compiler\": %s,\n",
            quoted(m.date).c_str(), quoted(m.cpu).c_str(), quoted(esp_cpu_features()).c_str(),
            quoted(m.compiler).c_str());
  s += text("  \"blas\": %s,\n  \"threads\": %d,\n  \"cache_bytes\": %lld,\n",
            quoted(m.blas).c_str(), esp_context_threads(run.all),
            static_cast<long long>(m.cache_bytes));
  s += text("  \"rotated_bytes\": %lld,\n  \"load\": [%.2f, %.2f],\n",
            static_cast<long long>(run.data.bytes()), m.load_before, m.load_after);
  s += "  \"clock\": {\"one_thread\": \"processor time\", \"all_threads\": \"wall time\"},\n";
  s += "  \"units\": \"triples are lower quartile, median, upper quartile over the rounds; ratio = "
       "time of the first measured row of the workload / time of this row; rate and ceilings in "
       "1e9 bytes or FLOP a second; share = rate / rate of the ceiling in the same round\",\n";
  s += "  \"ceilings\": {\"one_thread\": " + rates_json(run.rates_one) +
       ",\n               \"all_threads\": " + rates_json(run.rates_all) + "},\n";
  s += "  \"rows\": [";
  const char* separator = "\n";
  for (const result& r : run.results) {
    s += separator;
    s += text("    {\"operation\": %s, \"shape\": %s, \"row\": %s, \"isa\": %s, \"ceiling\": %s",
              quoted(r.operation).c_str(), quoted(r.shape).c_str(), quoted(r.row).c_str(),
              quoted(r.isa).c_str(), quoted(name_of(r.limit)).c_str());
    if (r.status == state::cannot_run) {
      s += ", \"status\": \"not measured on this machine\"}";
    } else if (r.status == state::refused) {
      s += ", \"status\": " + quoted("refused: " + r.reason) + "}";
    } else {
      s += ", \"status\": \"measured\",\n     \"one_thread\": " + timing_json(r, r.one_thread) +
           ",\n     \"all_threads\": " + timing_json(r, r.all_threads) + "}";
    }
    separator = ",\n";
  }
  return s + "\n  ]\n}\n";
}

std::string table(const machine& m, const session& run) {
  std::string s;
  s += text("%s, %s, %d threads, %s. Ceilings of one thread:", m.date.c_str(), m.cpu.c_str(),
            esp_context_threads(run.all), m.compiler.c_str());
  for (int32_t c = 0; c < ceilings; c++)
    s += text("%s %s %.3g %s", c == 0 ? "" : ",", name_of(static_cast<ceiling>(c)),
              quartiles_of(run.rates_one[c]).median * 1e-9, unit_of(static_cast<ceiling>(c)));
  s += ".\n\n";
  // One thread is timed in processor time; wall time on a busy machine tells of the other programs.
  const bool busy = m.load_before > 0.5 * esp_context_threads(run.all);
  if (busy)
    s +=
        text("The machine was busy (load %.1f): what all threads did stands in the JSON alone.\n\n",
             m.load_before);
  s += busy ? "| operation | shape | row | ratio | of ceiling |\n|---|---|---|---|---|\n"
            : "| operation | shape | row | ratio | of ceiling | ratio, all threads | of ceiling |\n"
              "|---|---|---|---|---|---|---|\n";
  const result* first = nullptr;
  for (const result& r : run.results) {
    if (r.status != state::measured) continue;
    if (first == nullptr || first->operation != r.operation || first->shape != r.shape) first = &r;
    if (!chosen_for_table(run, r)) continue;
    const bool alone = first == &r;
    const std::string against = alone || first->row == "reference" ? "" : " / " + first->row;
    s += text("| %s | %s | %s%s | %s | %s |", r.operation.c_str(), r.shape.c_str(), r.row.c_str(),
              against.c_str(), alone ? "–" : ratio_text(r.one_thread.ratio).c_str(),
              share_text(r, r.one_thread).c_str());
    if (!busy)
      s += text(" %s | %s |", alone ? "–" : ratio_text(r.all_threads.ratio).c_str(),
                share_text(r, r.all_threads).c_str());
    s += "\n";
  }
  int64_t missing = 0;
  for (int32_t i = 0; i < esp_variant_count(); i++) missing += 1 - esp_variant_runs(i);
  if (missing > 0)
    s += text(
        "\nNot measured on this machine, which lacks their instructions: %lld rows of the "
        "variant table.\n",
        static_cast<long long>(missing));
  return s;
}

bool write_between_markers(const char* path, const std::string& inner) {
  FILE* in = fopen(path, "rb");
  if (in == nullptr) return false;
  std::string whole;
  char block[4096];
  for (size_t got; (got = fread(block, 1, sizeof block, in)) > 0;) whole.append(block, got);
  fclose(in);
  const size_t begin = whole.find(begin_marker);
  const size_t end = whole.find(end_marker);
  if (begin == std::string::npos || end == std::string::npos || end < begin) return false;
  const size_t from = begin + std::string(begin_marker).size();
  whole = whole.substr(0, from) + "\n" + inner + whole.substr(end);
  FILE* out = fopen(path, "wb");
  if (out == nullptr) return false;
  const bool written = fwrite(whole.data(), 1, whole.size(), out) == whole.size();
  return fclose(out) == 0 && written;
}

}  // namespace bench
