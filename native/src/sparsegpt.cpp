// SPDX-License-Identifier: Apache-2.0
//
// The SparseGPT solver: which columns are compared, dropped and rounded when. The mathematics is
// told in kernels/reference/prune.cpp, the machinery stands in column_solver.h.
//
// With a pattern of n in m, or a mask that is there already, rows never see each other and a worker
// takes its rows through all columns, as in GPTQ. Without one the scores of all rows compete: block
// after block all rows are previewed, the threshold is selected, all rows go on. What a row needs
// to go on with then lies in memory of the caller.
#include "column_solver.h"
#include "select.h"

namespace esp {
namespace {

using namespace columns;

// What is dropped, beside the problem of the columns.
struct pruning {
  int32_t drop, of;  // n in m; of = 0: by `sparsity`, or only what `preserve` says
  double sparsity;   // share of every block of all rows
  int64_t width;     // columns of such a block
  int32_t preserve;
  const float* importance;  // [cols]
  uint8_t* mask;            // [rows, cols]
  prune_scores_kernel* scores;
  prune_columns_kernel* columns;

  bool by_threshold() const { return of == 0 && sparsity > 0.0; }
};

// Beside the panels of a worker.
struct more_panels {
  float* kept;    // [block, lanes]: 1, or 0 where dropped
  float* scores;  // [block, lanes]
};

char* lay_out_more(char* at, more_panels* s) {
  s->kept = take<float>(&at, block * gptq_lanes);
  s->scores = take<float>(&at, block * gptq_lanes);
  return at;
}

// A row's way from block to block where all rows go together, per tile of 64 rows.
struct tile_memory {
  kept_panels kept;
  double* pull;  // [block, lanes]
};

char* lay_out_tile(const problem& g, char* at, tile_memory* t) {
  problem one = g;
  one.tiles = 1;
  panels s;
  // The first members of the layout are those of the tile.
  lay_out(one, at, &s);
  t->kept = s.tiles[0];
  char* end = reinterpret_cast<char*>(s.u);
  t->pull = take<double>(&end, block * gptq_lanes);
  return end;
}

int64_t tile_bytes(const problem& g) {
  tile_memory t;
  return reinterpret_cast<intptr_t>(lay_out_tile(g, reinterpret_cast<char*>(64), &t)) - 64;
}

int64_t score_bytes(int64_t rows) {
  return ceil_div(rows * block * static_cast<int64_t>(sizeof(float)), 64) * 64;
}

// One tile of rows in a loaded block of columns.
struct sparse_part {
  const part& here;
  const pruning& q;
  const more_panels& more;

  // The columns [first, last) of the block, pieces of 16 that hold whole sets of `of` columns; of =
  // 0: `kept` is known.
  void columns(int64_t first, int64_t last, int32_t drop, int32_t of) const {
    const problem& g = here.g;
    const prune_rule rule{drop, of, q.preserve, g.bits};
    here.each_piece(
        first, last, [&](const gptq_panels& at, int64_t from, int64_t to, int64_t piece) {
          q.columns(&at, from, to, &rule, q.importance + here.start + piece,
                    g.fixed_group == nullptr ? nullptr : g.fixed_group + here.start + piece,
                    here.kept.scales, here.kept.zeros, more.kept + piece * gptq_lanes,
                    here.s.values + piece * gptq_lanes, here.s.codes + piece * gptq_lanes);
        });
  }

  void scores(int64_t first, int64_t last) const {
    here.each_piece(first, last,
                    [&](const gptq_panels& at, int64_t from, int64_t to, int64_t piece) {
                      q.scores(&at, from, to, q.importance + here.start + piece, q.preserve,
                               more.scores + piece * gptq_lanes);
                    });
  }

  bool stays_zero(int64_t at) const { return q.preserve && here.s.w[at] == 0.0f; }

  // Of the columns [first, last) the `drop` smallest scores of every row go.
  void choose(int64_t first, int64_t last, int64_t drop) const {
    for (int64_t a = first; a < last; a++) {
      const float* const mine = more.scores + a * gptq_lanes;
      int32_t rank[gptq_lanes] = {};
      for (int64_t b = first; b < last; b++) {
        const float* const other = more.scores + b * gptq_lanes;
        if (b < a) {
          for (int64_t lane = 0; lane < gptq_lanes; lane++) rank[lane] += other[lane] <= mine[lane];
        } else if (b > a) {
          for (int64_t lane = 0; lane < gptq_lanes; lane++) rank[lane] += other[lane] < mine[lane];
        }
      }
      for (int64_t lane = 0; lane < gptq_lanes; lane++) {
        const int64_t at = a * gptq_lanes + lane;
        more.kept[at] = rank[lane] >= drop && !stays_zero(at) ? 1.0f : 0.0f;
      }
    }
  }

  // Whole sets, and the rest of the matrix in its last columns.
  void sets(int64_t first, int64_t last) const {
    if (q.of == 0) return columns(first, last, 0, 0);
    const int64_t whole = first + (last - first) / q.of * q.of;
    const int32_t rest = static_cast<int32_t>(last - whole);
    const int32_t rest_drop = static_cast<int32_t>(static_cast<int64_t>(rest) * q.drop / q.of);
    if (outer_width % q.of == 0) {
      // A set of a power of two that begins at a multiple of itself lies within 16 columns.
      columns(first, whole, q.drop, q.of);
      if (rest > 0) columns(whole, last, rest_drop, rest);
      return;
    }
    for (int64_t at = first; at < last; at += q.of) {
      const int64_t end = min_of(last, at + q.of);
      scores(at, end);
      choose(at, end, end - at == q.of ? q.drop : rest_drop);
      columns(at, end, 0, 0);
    }
  }

  void solve() const {
    const problem& g = here.g;
    const int64_t width = here.end - here.start;
    if (g.bits == 0 || !g.own_groups()) return sets(0, width);
    for (int64_t first = 0; first < width; first += g.group) {
      here.start_range();
      here.preview(first, first + g.group);
      here.finish_range((here.start + first) / g.group);
      sets(first, first + g.group);
    }
  }

  // What stays when only `preserve` says it.
  void keep_given() const {
    for (int64_t at = 0; at < (here.end - here.start) * gptq_lanes; at++)
      more.kept[at] = stays_zero(at) ? 0.0f : 1.0f;
  }

  void load_mask() const {
    for (int64_t lane = 0; lane < gptq_lanes; lane++) {
      const uint8_t* const from = q.mask + (here.row + lane) * here.g.cols + here.start;
      for (int64_t c = 0; c < here.end - here.start; c++) {
        const int64_t at = c * gptq_lanes + lane;
        more.kept[at] = lane < here.rows && from[c] != 0 && !stays_zero(at) ? 1.0f : 0.0f;
      }
    }
  }

  void store() const {
    here.store();
    for (int64_t lane = 0; lane < here.rows; lane++) {
      uint8_t* const to = q.mask + (here.row + lane) * here.g.cols + here.start;
      for (int64_t c = 0; c < here.end - here.start; c++)
        to[c] = more.kept[c * gptq_lanes + lane] > 0.0f;
    }
  }

  // Scores of the block as rows, for the selection.
  void store_scores(float* all) const {
    for (int64_t lane = 0; lane < here.rows; lane++) {
      float* const to = all + (here.row + lane) * block;
      for (int64_t c = 0; c < here.end - here.start; c++)
        to[c] = more.scores[c * gptq_lanes + lane];
    }
  }
};

int64_t common_multiple(int64_t a, int64_t b) {
  int64_t x = a, y = b;
  while (y != 0) {
    const int64_t r = x % y;
    x = y;
    y = r;
  }
  return a / x * b;
}

// Columns of a block that holds whole sets and whole groups; 0 when none of 128 columns does.
int64_t step_of(const problem& g, const pruning& q) {
  const int64_t group = g.bits > 0 && g.own_groups() ? g.group : 1;
  if (q.by_threshold()) return group <= q.width && q.width % group == 0 ? q.width : 0;
  const int64_t unit = common_multiple(q.of == 0 ? 1 : q.of, group);
  return block / unit * unit;
}

esp_status out_of_memory(int64_t bytes) {
  return fail(ESP_OUT_OF_MEMORY, "sparsegpt_solve: %lld bytes, expected that much free memory",
              static_cast<long long>(bytes));
}

esp_status solve_rows_apart(esp_context* ctx, problem g, const pruning& q, int64_t step) {
  const int64_t share = ceil_div(ceil_div(g.rows, gptq_lanes), esp_context_threads(ctx));
  g.tiles = min_of(most_tiles, max_of(1, share));
  panels sizes;
  more_panels more_sizes;
  const int64_t bytes = reinterpret_cast<intptr_t>(lay_out_more(
                            lay_out(g, reinterpret_cast<char*>(64), &sizes), &more_sizes)) -
                        64;
  const int64_t height = g.tiles * gptq_lanes;
  return parallel_tiles(ctx, ceil_div(g.rows, height), [&](int64_t t, int32_t worker) {
    char* const memory = static_cast<char*>(scratch(ctx, worker, bytes));
    if (memory == nullptr) return out_of_memory(bytes);
    panels s;
    more_panels more;
    lay_out_more(lay_out(g, memory, &s), &more);
    const int64_t first_row = t * height, last_row = min_of(g.rows, (t + 1) * height);
    for (int64_t start = 0; start < g.cols && !cancelled(ctx); start += step) {
      const int64_t end = min_of(g.cols, start + step);
      load_factor(g, s, 0, start, end);
      for (int64_t row = first_row; row < last_row; row += gptq_lanes) {
        const part here{g,
                        s,
                        s.tiles[(row - first_row) / gptq_lanes],
                        row,
                        min_of(gptq_lanes, last_row - row),
                        start,
                        end};
        if (start == 0 && g.bits > 0 && !g.own_groups()) here.load_scales();
        here.load();
        const sparse_part sparse{here, q, more};
        if (q.of == 0) sparse.keep_given();
        sparse.solve();
        sparse.store();
      }
    }
    return static_cast<esp_status>(ESP_OK);
  });
}

// All rows together, block by block. memory: score_bytes(rows) and tile_bytes() for every tile.
struct rows_together {
  esp_context* ctx;
  const problem& g;
  const pruning& q;
  float* scores;  // [rows, block]
  char* tiles;
  int64_t bytes_of_tile;

  // Runs act(part) for every tile of rows, several a task, with the factor loaded from row `top`.
  template <class F>
  esp_status each_tile(int64_t top, int64_t start, int64_t end, const F& act) const {
    const int64_t count = ceil_div(g.rows, gptq_lanes);
    const int64_t run = max_of(1, min_of(16, count / esp_context_threads(ctx)));
    panels sizes;
    more_panels more_sizes;
    const int64_t bytes = reinterpret_cast<intptr_t>(lay_out_more(
                              lay_out(g, reinterpret_cast<char*>(64), &sizes), &more_sizes)) -
                          64;
    return parallel_tiles(ctx, ceil_div(count, run), [&](int64_t task, int32_t worker) {
      char* const memory = static_cast<char*>(scratch(ctx, worker, bytes));
      if (memory == nullptr) return out_of_memory(bytes);
      panels s;
      more_panels more;
      lay_out_more(lay_out(g, memory, &s), &more);
      load_factor(g, s, top, start, end);
      for (int64_t t = task * run; t < min_of(count, (task + 1) * run); t++) {
        tile_memory mine;
        lay_out_tile(g, tiles + t * bytes_of_tile, &mine);
        s.pull = mine.pull;
        const int64_t row = t * gptq_lanes;
        const part here{g, s, mine.kept, row, min_of(gptq_lanes, g.rows - row), start, end};
        act(sparse_part{here, q, more});
      }
      return static_cast<esp_status>(ESP_OK);
    });
  }

  esp_status solve_block(int64_t start, int64_t end) const {
    esp_status status = each_tile(0, start, end, [&](const sparse_part& sparse) {
      const part& here = sparse.here;
      if (start == 0 && g.bits > 0 && !g.own_groups()) here.load_scales();
      here.load();
      sparse.scores(0, end - start);
      sparse.store_scores(scores);
    });
    if (status != ESP_OK) return status;
    // One more than the share: kept is what lies above the score of that number, as in the
    // reference code.
    const int64_t size = g.rows * (end - start);
    const int64_t count =
        min_of(size, static_cast<int64_t>(static_cast<double>(size) * q.sparsity) + 1);
    const scored_rows block_scores{g.rows, end - start, scores, block, nullptr};
    status = select_smallest(ctx, block_scores, count, false, q.mask + start, g.cols);
    if (status != ESP_OK) return status;
    return each_tile(start, start, end, [&](const sparse_part& sparse) {
      sparse.here.load_weights();
      sparse.load_mask();
      sparse.solve();
      sparse.store();
    });
  }
};

problem problem_of(int64_t rows, int64_t cols, int32_t bits, int64_t group,
                   const int32_t* fixed_group) {
  problem g{};
  g.rows = rows;
  g.cols = cols;
  g.bits = bits;
  g.group = bits == 0 ? cols : group;
  g.fixed_group = fixed_group;
  return g;
}

}  // namespace
}  // namespace esp

extern "C" int64_t esp_sparsegpt_work_bytes(int64_t rows, int64_t cols, int64_t group,
                                            int32_t fixed_groups) noexcept {
  using namespace esp;
  if (rows <= 0 || cols <= 0) return 0;
  const int32_t any = 0;
  const problem g = problem_of(rows, cols, group > 0 ? 8 : 0, group, fixed_groups ? &any : nullptr);
  return 64 + score_bytes(rows) + ceil_div(rows, gptq_lanes) * tile_bytes(g);
}

extern "C" esp_status esp_sparsegpt_solve(esp_context* ctx, int64_t rows, int64_t cols, float* w,
                                          const double* u, const float* importance, int32_t drop,
                                          int32_t of, double sparsity, int64_t width,
                                          int32_t preserve, int32_t bits, int32_t symmetric,
                                          int64_t group, const int32_t* fixed_group,
                                          esp_dtype scale_dtype, float* scales, int8_t* zeros,
                                          int8_t* codes, uint8_t* kept, void* work,
                                          int64_t work_bytes) noexcept {
  using namespace esp;
  const char* const op = "sparsegpt_solve";
  ESP_REQUIRE(op, ctx != nullptr, "a context", ctx != nullptr);
  ESP_REQUIRE(op, rows >= 0, "rows >= 0", rows);
  ESP_REQUIRE(op, cols >= 0, "cols >= 0", cols);
  ESP_REQUIRE(op, bits == 0 || (bits >= 2 && bits <= 8), "0 or 2..8", bits);
  ESP_REQUIRE(op, of >= 0 && of <= block, "0..128", of);
  ESP_REQUIRE(op, drop >= 0 && drop <= of, "0 <= drop <= of", drop);
  ESP_REQUIRE(op, sparsity >= 0.0 && sparsity < 1.0, "0 <= sparsity < 1", sparsity >= 0.0);
  ESP_REQUIRE(op, of == 0 || sparsity == 0.0, "either a pattern or a share", of);
  ESP_REQUIRE(op, width >= 1 && width <= block, "1..128", width);
  const int64_t rest = of == 0 ? 0 : cols % of;
  ESP_REQUIRE(op, of == 0 || rest * drop % of == 0, "a rest that loses a whole number", rest);
  if (rows == 0 || cols == 0) return ESP_OK;
  ESP_REQUIRE(op, w != nullptr, "an address", w != nullptr);
  ESP_REQUIRE(op, u != nullptr, "an address", u != nullptr);
  ESP_REQUIRE(op, importance != nullptr, "an address", importance != nullptr);
  ESP_REQUIRE(op, kept != nullptr, "an address", kept != nullptr);
  if (bits > 0) {
    ESP_REQUIRE(op, is_scale_dtype(scale_dtype), "F32, F16, BF16 or BF16_AND_F16", scale_dtype);
    ESP_REQUIRE(op, group > 0 && cols % group == 0, "a divisor of cols", group);
    ESP_REQUIRE(op, scales != nullptr, "an address", scales != nullptr);
    ESP_REQUIRE(op, zeros != nullptr, "an address", zeros != nullptr);
    ESP_REQUIRE(op, codes != nullptr, "an address", codes != nullptr);
  }
  for (int64_t c = 0; c < cols; c++) {
    if (!(u[c * cols + c] > 0.0)) {
      return fail(ESP_NUMERICAL, "sparsegpt_solve: u[%lld, %lld]=%g, expected a positive diagonal",
                  static_cast<long long>(c), static_cast<long long>(c), u[c * cols + c]);
    }
    if (bits == 0 || fixed_group == nullptr) continue;
    ESP_REQUIRE(op, fixed_group[c] >= 0 && fixed_group[c] < cols / group,
                "0 <= fixed_group < cols / group", fixed_group[c]);
  }
  problem g = problem_of(rows, cols, bits, group, bits == 0 ? nullptr : fixed_group);
  g.w = w;
  g.u = u;
  g.symmetric = symmetric;
  g.scale_dtype = scale_dtype;
  g.scales = scales;
  g.zeros = zeros;
  g.codes = bits == 0 ? nullptr : codes;
  g.preview = ESP_KERNEL(ctx, gptq_preview);
  g.product = ESP_KERNEL(ctx, outer_f32);
  const pruning q{drop,
                  of,
                  sparsity,
                  width,
                  preserve,
                  importance,
                  kept,
                  ESP_KERNEL(ctx, prune_scores),
                  ESP_KERNEL(ctx, prune_columns)};
  const int64_t step = step_of(g, q);
  ESP_REQUIRE(op, step > 0, "groups and patterns that fit into a block together", group);
  if (bits > 0 && g.fixed_group == nullptr && group == cols) {
    // One scale a row: from the weights before any update.
    quantize_range_kernel* const range = ESP_KERNEL(ctx, quantize_range);
    const range_options min_max{bits, symmetric, scale_dtype, 0, 0.0, 0.0, 0, 0};
    const esp_status status = parallel_tiles(ctx, rows, [&](int64_t r, int32_t) -> esp_status {
      range(cols, cols, w + r * cols, &min_max, scales + r, zeros + r);
      return ESP_OK;
    });
    if (status != ESP_OK) return status;
  }
  esp_status status = ESP_OK;
  if (!q.by_threshold()) {
    status = solve_rows_apart(ctx, g, q, step);
  } else {
    const int64_t needed =
        esp_sparsegpt_work_bytes(rows, cols, bits == 0 ? 0 : group, g.fixed_group != nullptr);
    ESP_REQUIRE(op, work != nullptr && work_bytes >= needed, "esp_sparsegpt_work_bytes",
                work_bytes);
    char* const memory =
        static_cast<char*>(work) + (-reinterpret_cast<intptr_t>(work) & 63);  // to a line
    const rows_together together{
        ctx, g, q, reinterpret_cast<float*>(memory), memory + score_bytes(rows), tile_bytes(g)};
    for (int64_t start = 0; start < cols && !cancelled(ctx) && status == ESP_OK; start += step)
      status = together.solve_block(start, min_of(cols, start + step));
  }
  if (status == ESP_OK && cancelled(ctx)) return fail(ESP_CANCELLED, "sparsegpt_solve: cancelled");
  return status;
}
