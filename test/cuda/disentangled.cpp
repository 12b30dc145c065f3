#include "reference.h"

namespace {
constexpr unsigned N = 10, HEADS = 2, WIDTH = 5, COPY = 4, ROWS = 2 * COPY, LONGEST = 5;
// Two copies of a batch: segments of 3 and 2 tokens, and of 5.
const std::vector<uint32_t> SEGMENTS = {0, 0, 0, 1, 1, 2, 2, 2, 2, 2}, OFFSETS = {0, 3, 5, 10};
const std::vector<uint32_t> SHARES = {0, 0, COPY};
// Of the distances −4 to 4: far ones share a row.
const std::vector<uint32_t> PLACES = {0, 0, 0, 1, 2, 2, 3, 3, 3};
struct Shape {
  uint32_t n, segments, heads, width, rows, copy, longest;
  float scale;
};
const Shape SHAPE = {N, 3, HEADS, WIDTH, ROWS, COPY, LONGEST, 0.4f};

struct Operands {
  Values q, k, v, queries, keys;
};

Values attention(const Operands &x) {
  Values o(N * HEADS * WIDTH);
  for (size_t i = 0; i < N; i++)
    for (size_t h = 0; h < HEADS; h++) {
      size_t segment = SEGMENTS[i];
      Values p(N);
      double total = 0;
      for (size_t j = OFFSETS[segment]; j < OFFSETS[segment + 1]; j++) {
        size_t row = SHARES[segment] + PLACES[LONGEST - 1 + i - j];
        double score = 0;
        for (size_t c = 0; c < WIDTH; c++) {
          double q = x.q[(i * HEADS + h) * WIDTH + c], k = x.k[(j * HEADS + h) * WIDTH + c];
          size_t at = (row * HEADS + h) * WIDTH + c;
          score += q * k + q * x.keys[at] + k * x.queries[at];
        }
        total += p[j] = std::exp(double(SHAPE.scale) * score);
      }
      for (size_t j = 0; j < N; j++)
        for (size_t c = 0; c < WIDTH; c++)
          o[(i * HEADS + h) * WIDTH + c] += p[j] / total * x.v[(j * HEADS + h) * WIDTH + c];
    }
  return o;
}
}  // namespace

TEST("attention over distances in two copies of a batch, and its gradients") {
  constexpr size_t TOKENS = N * HEADS * WIDTH, TABLE = ROWS * HEADS * WIDTH;
  auto of = [](size_t count, unsigned seed) { return rounded(values(count, seed), Type::F32); };
  Operands x = {of(TOKENS, 1), of(TOKENS, 2), of(TOKENS, 3), of(TABLE, 4), of(TABLE, 5)};
  Values d = of(TOKENS, 6);
  auto device = [](const Values &v) { return Tensor(v, Type::F32); };
  Tensor q = device(x.q), k = device(x.k), v = device(x.v), queries = device(x.queries);
  Tensor keys = device(x.keys), d_o = device(d), o(TOKENS, Type::F32), dq(TOKENS, Type::F32);
  Tensor dk(TOKENS, Type::F32), dv(TOKENS, Type::F32), log_sum_exp(N * HEADS, Type::F32);
  Tensor d_queries(TABLE, Type::F32), d_keys(TABLE, Type::F32);
  Buffer<uint32_t> segments(SEGMENTS), offsets(OFFSETS), shares(SHARES), places(PLACES);
  auto grid = [](unsigned warps) { return Grid{blocks_of(warps * 32, 64)}; };
  auto a = [](const Tensor &t) { return t.address(); };
  Kernel("disentangled", "distances_f32")
      .launch(grid(N * HEADS), {64}, 0, a(q), a(k), a(v), a(queries), a(keys), segments, offsets,
              shares, places, a(o), a(log_sum_exp), SHAPE);
  hold("o", o.read(), attention(x), tolerance(Type::F32));
  Kernel("disentangled", "distances_queries_f32")
      .launch(grid(N * HEADS), {64}, 0, a(q), a(k), a(v), a(queries), a(keys), a(o), a(d_o),
              a(log_sum_exp), segments, offsets, shares, places, a(dq), SHAPE);
  Kernel("disentangled", "distances_keys_f32")
      .launch(grid(N * HEADS), {64}, 0, a(q), a(k), a(v), a(queries), a(keys), a(o), a(d_o),
              a(log_sum_exp), segments, offsets, shares, places, a(dk), a(dv), SHAPE);
  Kernel("disentangled", "distances_tables_f32")
      .launch(grid(ROWS * HEADS), {64}, 0, a(q), a(k), a(v), a(queries), a(keys), a(o), a(d_o),
              a(log_sum_exp), offsets, shares, places, a(d_queries), a(d_keys), SHAPE);
  auto check = [&](const char *name, const Tensor &got, Values Operands::*which) {
    auto at = [&](const Values &changed) {
      Operands moved = x;
      moved.*which = changed;
      return attention(moved);
    };
    hold(name, got.read(), differences(at, x.*which, d), 2 * tolerance(Type::F32));
  };
  check("dq", dq, &Operands::q);
  check("dk", dk, &Operands::k);
  check("dv", dv, &Operands::v);
  check("d_queries", d_queries, &Operands::queries);
  check("d_keys", d_keys, &Operands::keys);
}

int main() { return run_tests(); }
