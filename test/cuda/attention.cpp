#include "reference.h"

namespace {
constexpr unsigned N = 9, HEADS = 4, KV_HEADS = 2, WIDTH = 6;
const std::vector<uint32_t> SEGMENTS = {0, 0, 0, 1, 2, 2, 2, 2, 2}, OFFSETS = {0, 3, 4, 9};
struct Shape {
  uint32_t n, asking, heads, kv_heads, width, is_causal, window;
  float scale, cap;
};

bool sees(size_t i, size_t j, const Shape &s) {
  if (SEGMENTS[i] != SEGMENTS[j]) return false;
  return !s.is_causal || (j <= i && (!s.window || j + s.window > i));
}

// The position of a row of queries.
size_t position_of(size_t row, const Shape &s) {
  return s.asking == N ? row : OFFSETS[row + 1] - 1;
}

Values attention(const Values &q, const Values &k, const Values &v, const Shape &s) {
  Values o(s.asking * HEADS * WIDTH);
  for (size_t i = 0; i < s.asking; i++)
    for (size_t h = 0; h < HEADS; h++) {
      size_t kv = h / (HEADS / KV_HEADS);
      Values p(N);
      double total = 0;
      for (size_t j = 0; j < N; j++) {
        double score = 0;
        for (size_t c = 0; c < WIDTH; c++)
          score += q[(i * HEADS + h) * WIDTH + c] * k[(j * KV_HEADS + kv) * WIDTH + c];
        score *= s.scale;
        if (s.cap) score = s.cap * std::tanh(score / s.cap);
        if (sees(position_of(i, s), j, s)) p[j] = std::exp(score);
        total += p[j];
      }
      for (size_t j = 0; j < N; j++)
        for (size_t c = 0; c < WIDTH; c++)
          o[(i * HEADS + h) * WIDTH + c] +=
              p[j] / total * v[(j * KV_HEADS + kv) * WIDTH + c];
    }
  return o;
}

const float USUAL = float(1 / std::sqrt(double(WIDTH)));

void run(Type type, uint32_t is_causal, uint32_t window, float scale = USUAL, float cap = 0,
         unsigned asking = N) {
  Shape shape = {N, asking, HEADS, KV_HEADS, WIDTH, is_causal, window, scale, cap};
  size_t wide = asking * HEADS * WIDTH, narrow = N * KV_HEADS * WIDTH;
  Values q = rounded(values(wide, 1, 2), type), k = rounded(values(narrow, 2, 2), type);
  Values v = rounded(values(narrow, 3), type), d = rounded(values(wide, 4), type);
  Tensor tq(q, type), tk(k, type), tv(v, type), tdo(d, type), o(wide, type);
  Tensor log_sum_exp(asking * HEADS, Type::F32), dq(wide, type), dk(narrow, type), dv(narrow, type);
  Buffer<uint32_t> segments(SEGMENTS), offsets(OFFSETS);
  auto grid = [](unsigned warps) { return Grid{blocks_of(warps * 32, 64)}; };
  Kernel("attention", "attention" + suffix(type))
      .launch(grid(asking * HEADS), {64}, 0, tq.address(), tk.address(), tv.address(), segments, offsets,
              o.address(), log_sum_exp.address(), shape);
  hold("o", o.read(), attention(q, k, v, shape), tolerance(type));
  Kernel("attention", "attention_queries" + suffix(type))
      .launch(grid(asking * HEADS), {64}, 0, tq.address(), tk.address(), tv.address(), o.address(),
              tdo.address(), log_sum_exp.address(), segments, offsets, dq.address(), shape);
  Kernel("attention", "attention_keys" + suffix(type))
      .launch(grid(N * KV_HEADS), {64}, 0, tq.address(), tk.address(), tv.address(), o.address(),
              tdo.address(), log_sum_exp.address(), segments, offsets, dk.address(), dv.address(),
              shape);
  double tol = 2 * tolerance(type);
  auto by_q = [&](const Values &at) { return attention(at, k, v, shape); };
  auto by_k = [&](const Values &at) { return attention(q, at, v, shape); };
  auto by_v = [&](const Values &at) { return attention(q, k, at, shape); };
  hold("dq", dq.read(), differences(by_q, q, d), tol);
  hold("dk", dk.read(), differences(by_k, k, d), tol);
  hold("dv", dv.read(), differences(by_v, v, d), tol);
}
}  // namespace

TEST("causal attention over ragged segments, and its gradients") {
  for (Type type : BOTH) run(type, 1, 0);
}
TEST("attention in a window, and its gradients") {
  for (uint32_t window : {1u, 2u, 4u, 5u}) run(Type::F32, 1, window);
}
TEST("attention in both directions, and its gradients") { run(Type::F32, 0, 0); }
TEST("attention under a soft cap, with a factor of its own, and its gradients") {
  for (Type type : BOTH) run(type, 1, 3, 0.7f, 1.5f);
}

TEST("attention from the last positions alone, and its gradients") {
  for (Type type : BOTH) run(type, 1, 0, USUAL, 0, 3);
  run(Type::F32, 1, 2, 0.7f, 1.5f, 3);
  run(Type::F32, 0, 0, USUAL, 0, 3);
}

int main() { return run_tests(); }
