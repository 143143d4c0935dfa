// SPDX-License-Identifier: Apache-2.0
//
// The accesses of one line of the source by the lanes of a warp, the n-th of each lane since the
// warp last met, count as one request.
#include "counters.h"

#include <algorithm>
#include <map>
#include <tuple>
#include <vector>

#include "engine.h"

namespace cuda_emulation {
namespace {

struct touched {
  access kind;
  int line, turn, lane;
  uint64_t at;
  size_t bytes;
};

bool counting = false;
counts total;
std::map<std::pair<const block*, int>, std::vector<touched>> open;  // by warp
std::vector<std::pair<uint64_t, size_t>> loaded;

int64_t distinct(std::vector<uint64_t> of) {
  std::sort(of.begin(), of.end());
  return static_cast<int64_t>(std::unique(of.begin(), of.end()) - of.begin());
}

// 32 banks of 4 bytes; lanes that ask for the same word share it. Wide accesses go by as many lanes
// as 128 bytes serve.
void count_shared(const touched* first, const touched* last) {
  const size_t lanes_a_pass = std::max<size_t>(1, std::min<size_t>(32, 128 / first->bytes));
  total.shared_requests++;
  for (const touched* t = first; t < last; t += lanes_a_pass) {
    std::map<uint64_t, std::vector<uint64_t>> banks;
    for (const touched* u = t; u < std::min(last, t + lanes_a_pass); u++) {
      for (uint64_t word = u->at / 4; word <= (u->at + u->bytes - 1) / 4; word++)
        banks[word % 32].push_back(word);
    }
    int64_t passes = 0;
    for (auto& bank : banks) passes = std::max(passes, distinct(bank.second));
    total.shared_passes += passes;
    total.shared_least_passes++;
  }
}

void count_request(const touched* first, const touched* last) {
  if (first->kind == access::shared_load || first->kind == access::shared_store) {
    count_shared(first, last);
    return;
  }
  std::vector<uint64_t> sectors;
  int64_t bytes = 0;
  for (const touched* t = first; t < last; t++) {
    bytes += static_cast<int64_t>(t->bytes);
    for (uint64_t s = t->at / 32; s <= (t->at + t->bytes - 1) / 32; s++) sectors.push_back(s);
    if (t->kind == access::global_load) loaded.emplace_back(t->at, t->bytes);
  }
  const bool load = first->kind == access::global_load;
  (load ? total.load_requests : total.store_requests)++;
  (load ? total.load_bytes : total.store_bytes) += bytes;
  (load ? total.load_sectors : total.store_sectors) += distinct(sectors);
}

void settle_warp(std::vector<touched>* of) {
  std::map<std::tuple<access, int, int>, int> turns;
  for (touched& t : *of) t.turn = turns[{t.kind, t.line, t.lane}]++;
  const auto key = [](const touched& t) { return std::make_tuple(t.kind, t.line, t.turn); };
  std::sort(of->begin(), of->end(), [&](const touched& a, const touched& b) {
    return std::tuple_cat(key(a), std::make_tuple(a.lane)) <
           std::tuple_cat(key(b), std::make_tuple(b.lane));
  });
  const touched* const end = of->data() + of->size();
  for (const touched* t = of->data(); t < end;) {
    const touched* u = t;
    while (u < end && key(*u) == key(*t)) u++;
    count_request(t, u);
    t = u;
  }
  of->clear();
}

}  // namespace

void count_begin() {
  total = counts{};
  open.clear();
  loaded.clear();
  counting = true;
}

counts count_end() {
  for (auto& warp : open) settle_warp(&warp.second);
  open.clear();
  counting = false;
  return total;
}

int64_t bytes_loaded(const void* begin, int64_t bytes) {
  const uint64_t from = reinterpret_cast<uint64_t>(begin);
  int64_t sum = 0;
  for (const auto& l : loaded) {
    if (l.first >= from && l.first < from + static_cast<uint64_t>(bytes))
      sum += static_cast<int64_t>(l.second);
  }
  return sum;
}

void touch(access kind, const void* p, size_t bytes, int line) {
  if (reinterpret_cast<uintptr_t>(p) % bytes != 0 && (bytes & (bytes - 1)) == 0)
    fault("an access of %zu bytes that is not aligned to them", bytes);
  if (kind == access::shared_load || kind == access::shared_store)
    check_shared("access", p, bytes, 1);
  if (!counting) return;
  const fiber* const f = running;
  const uint64_t at = kind == access::global_load || kind == access::global_store
                          ? reinterpret_cast<uint64_t>(p)
                          : shared_address(p);
  open[{f->home, f->number / lanes}].push_back({kind, line, 0, f->number % lanes, at, bytes});
}

void count_mma() {
  if (counting) total.mma++;
}

void count_instruction() {
  if (counting) total.instructions++;
}

void settle(const fiber* of) {
  if (!counting) return;
  const auto found = open.find({of->home, of->number / lanes});
  if (found != open.end()) settle_warp(&found->second);
}

}  // namespace cuda_emulation
