// SPDX-License-Identifier: Apache-2.0
//
// What a run leaves behind: everything as JSON, a line for each row on the terminal, and for
// README.md a table of what a reader needs.
#include <stdarg.h>
#include <stdio.h>

#include <algorithm>

#include "vendors.h"

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
  const quartiles us = {t.seconds.low * 1e6, t.seconds.median * 1e6, t.seconds.high * 1e6};
  std::string s = text("{\"rounds\": %lld, \"microseconds\": %s", static_cast<long long>(t.rounds),
                       triple(us).c_str());
  if (r.limit != ceiling::none)
    s += text(", \"rate\": %.4g, \"share\": %s", t.rate * 1e-9, triple(t.share).c_str());
  s += ", \"ratios\": {";
  for (size_t i = 0; i < t.ratios.size(); i++)
    s += (i == 0 ? "" : ", ") + quoted(t.ratios[i].to) + ": " + triple(t.ratios[i].of);
  return s + "}}";
}

int32_t threads_of(const session& run) {
  return run.all == nullptr ? 1 : esp_context_threads(run.all);
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

const char* name_of(state s) {
  constexpr const char* names[] = {"measured", "checks the others, not timed",
                                   "not measured on this machine", "left out", "refused"};
  return names[static_cast<int32_t>(s)];
}

// "1.03× openblas, 19× reference": what the others take over what this row takes.
std::string ratios_text(const timing& t, bool spread) {
  std::string s;
  for (const ratio& r : t.ratios) {
    const bool small = r.of.median < 10;
    s += s.empty() ? "" : ", ";
    s += small ? text("%.2f×", r.of.median) : text("%.0f×", r.of.median);
    if (spread)
      s += small ? text(" (%.2f–%.2f)", r.of.low, r.of.high)
                 : text(" (%.0f–%.0f)", r.of.low, r.of.high);
    s += " " + r.to;
  }
  return s;
}

std::string speed_text(const result& r, const timing& t) {
  if (t.rounds == 0) return "–";
  if (r.limit == ceiling::none) return text("%.3g ms", t.seconds.median * 1e3);
  return text("%.3g %s, %.0f %%", t.rate * 1e-9, unit_of(r.limit), 100 * t.share.median);
}

}  // namespace

std::string json(const machine& m, const session& run) {
  std::string s = "{\n";
  s += "  \"schema\": \"espalier-bench-2\",\n";
  s += text("  \"date\": %s,\n  \"cpu\": %s,\n  \"features\": %s,\n  \"compiler\": %s,\n",
            quoted(m.date).c_str(), quoted(m.cpu).c_str(), quoted(esp_cpu_features()).c_str(),
            quoted(m.compiler).c_str());
  s += "  \"vendors\": [";
  const std::vector<std::string> vendors = vendor_names();
  for (size_t i = 0; i < vendors.size(); i++) s += (i == 0 ? "" : ", ") + quoted(vendors[i]);
  s += text("],\n  \"threads\": %d,\n  \"cache_bytes\": %lld,\n", threads_of(run),
            static_cast<long long>(m.cache_bytes));
  s += text("  \"rotated_bytes\": %lld,\n  \"load\": [%.2f, %.2f],\n",
            static_cast<long long>(run.data.bytes()), m.load_before, m.load_after);
  s += "  \"clock\": {\"one_thread\": \"processor time\", \"all_threads\": \"wall time\"},\n";
  s +=
      "  \"units\": \"triples are lower quartile, median, upper quartile over the rounds; ratios = "
      "time of the row named / time of this row; rate and ceilings in 1e9 bytes or operations a "
      "second; share = rate / rate of the ceiling in the same round\",\n";
  s += "  \"ceilings\": {\"one_thread\": " + rates_json(run.rates_one) +
       ",\n               \"all_threads\": " + rates_json(run.rates_all) + "},\n";
  s += "  \"rows\": [";
  const char* separator = "\n";
  for (const result& r : run.results) {
    s += separator;
    s += text("    {\"operation\": %s, \"shape\": %s, \"row\": %s, \"isa\": %s, \"ceiling\": %s",
              quoted(r.operation).c_str(), quoted(r.shape).c_str(), quoted(r.row).c_str(),
              quoted(r.isa).c_str(), quoted(name_of(r.limit)).c_str());
    s += ", \"status\": " + quoted(name_of(r.status));
    if (!r.reason.empty()) s += ", \"reason\": " + quoted(r.reason);
    if (r.one_thread.rounds > 0) s += ",\n     \"one_thread\": " + timing_json(r, r.one_thread);
    if (r.all_threads.rounds > 0) s += ",\n     \"all_threads\": " + timing_json(r, r.all_threads);
    s += "}";
    separator = ",\n";
  }
  return s + "\n  ]\n}\n";
}

std::string line_of(const result& r, int32_t threads) {
  std::string s = text("%-28s ", r.row.c_str());
  if (r.status != state::measured)
    return s + name_of(r.status) + (r.reason.empty() ? "" : ": " + r.reason);
  s += "1 thread " + speed_text(r, r.one_thread);
  const timing& last = r.all_threads.rounds > 0 ? r.all_threads : r.one_thread;
  if (&last == &r.all_threads) s += text("; %d threads ", threads) + speed_text(r, r.all_threads);
  if (!last.ratios.empty()) s += "; " + ratios_text(last, false);
  return r.reason.empty() ? s : s + "; " + r.reason;
}

std::string table(const machine& m, const session& run) {
  // One thread is timed in processor time; wall time on a busy machine tells of the other programs.
  const bool busy = run.all != nullptr && m.load_before > 0.5 * threads_of(run);
  const bool both = run.all != nullptr && !busy;
  const auto ceiling_of = [](const std::vector<double>& rates) {
    return text("%.3g", quartiles_of(rates).median * 1e-9);
  };
  std::string s = text("%s, %s, %s; load %.1f before and %.1f after.", m.date.c_str(),
                       m.cpu.c_str(), m.compiler.c_str(), m.load_before, m.load_after);
  const std::vector<std::string> vendors = vendor_names();
  for (size_t i = 0; i < vendors.size(); i++) s += (i == 0 ? " Beside " : ", ") + vendors[i];
  s += vendors.empty() ? "" : ".";
  s += " Ceilings of one thread" + (both ? text(" and of %d:", threads_of(run)) : ":");
  for (int32_t c = 0; c < ceilings; c++)
    s += text("%s %s ", c == 0 ? "" : ",", name_of(static_cast<ceiling>(c))) +
         ceiling_of(run.rates_one[c]) + (both ? " and " + ceiling_of(run.rates_all[c]) : "") + " " +
         unit_of(static_cast<ceiling>(c));
  s += ".\n\n";
  if (busy)
    s += text("The machine was busy: what %d threads did stands in the JSON alone.\n\n",
              threads_of(run));
  s += "| operation | shape | row | 1 thread, of ceiling | " +
       (both ? text("%d threads, of ceiling | ", threads_of(run)) : "") +
       "others' time / its own |\n|---|---|---|---|---|" + (both ? "---|\n" : "\n");
  for (const result& r : run.results) {
    if (r.status != state::measured || !r.brief || r.row == "reference" || r.vendor) continue;
    s += text("| %s | %s | %s | %s | ", r.operation.c_str(), r.shape.c_str(), r.row.c_str(),
              speed_text(r, r.one_thread).c_str());
    if (both) s += speed_text(r, r.all_threads) + " | ";
    s += ratios_text(both ? r.all_threads : r.one_thread, true) + " |\n";
  }
  int64_t missing = 0;
  for (int32_t i = 0; i < esp_variant_count(); i++) missing += 1 - esp_variant_runs(i);
  if (missing > 0)
    s += text(
        "\nNot measured on this machine, which lacks their instructions: %lld rows of the variant "
        "table. Their case lists run under emulation.\n",
        static_cast<long long>(missing));
  std::vector<std::string> said;
  for (const result& r : run.results) {
    if (!r.vendor || r.reason.empty()) continue;
    const std::string line = r.row + " beside " + r.operation +
                             (r.status == state::unfit ? " is left out: " : " is timed but ") +
                             r.reason + ".";
    if (std::find(said.begin(), said.end(), line) == said.end()) said.push_back(line);
  }
  for (size_t i = 0; i < said.size(); i++) s += (i == 0 ? "\n" : " ") + said[i];
  return said.empty() ? s : s + "\n";
}

namespace {

// The file, and where the table is in it; false when it cannot be read or has no markers.
bool read_marked(const char* path, std::string* whole, size_t* from, size_t* to) {
  FILE* in = fopen(path, "rb");
  if (in == nullptr) return false;
  char block[4096];
  for (size_t got; (got = fread(block, 1, sizeof block, in)) > 0;) whole->append(block, got);
  fclose(in);
  *from = whole->find(begin_marker);
  *to = whole->find(end_marker);
  if (*from == std::string::npos || *to == std::string::npos || *to < *from) return false;
  *from += std::string(begin_marker).size();
  return true;
}

}  // namespace

bool has_markers(const char* path) {
  std::string whole;
  size_t from, to;
  return read_marked(path, &whole, &from, &to);
}

bool write_between_markers(const char* path, const std::string& inner) {
  std::string whole;
  size_t from, to;
  if (!read_marked(path, &whole, &from, &to)) return false;
  whole = whole.substr(0, from) + "\n" + inner + whole.substr(to);
  FILE* out = fopen(path, "wb");
  if (out == nullptr) return false;
  const bool written = fwrite(whole.data(), 1, whole.size(), out) == whole.size();
  return fclose(out) == 0 && written;
}

}  // namespace bench
