#include "reference.h"

namespace {
struct Shape {
  uint32_t heads, kv_heads, width, before, after, last_queries_only;
  float scale, cap;
};
constexpr uint32_t EVERY = 1 << 30;

// How a kernel multiplies and has keys and values, and its tiles by the width of heads.
struct Way {
  const char *suffix;
  Type multiplied;
  unsigned own[3], other[3];
};
const Way EXACT = {"_f32", Type::F32, {64, 32, 32}, {32, 32, 16}};
const Way ROUNDED = {"_rounded", Type::BF16, {128, 128, 64}, {64, 32, 16}};
const Way WAYS[] = {EXACT, ROUNDED};

// One attention, and its forward pass in double precision.
struct Problem {
  std::vector<uint32_t> offsets;
  Shape s;
  unsigned n() const { return offsets.back(); }
  unsigned query_rows() const { return s.last_queries_only ? unsigned(offsets.size() - 1) : n(); }

  Values operator()(const Values &q, const Values &k, const Values &v) const {
    Values o(query_rows() * s.heads * s.width);
    for (size_t segment = 0; segment + 1 < offsets.size(); segment++) {
      size_t begin = offsets[segment], length = offsets[segment + 1] - begin;
      for (size_t i = s.last_queries_only ? length - 1 : 0; i < length; i++)
        for (size_t head = 0; head < s.heads; head++)
          of_query(s.last_queries_only ? segment : begin + i, i, begin, length, head, q, k, v, o);
    }
    return o;
  }
  void of_query(size_t row, size_t i, size_t begin, size_t length, size_t head, const Values &q,
                const Values &k, const Values &v, Values &o) const {
    size_t kv = head / (s.heads / s.kv_heads), at = (row * s.heads + head) * s.width;
    auto of = [&](size_t j, size_t c) { return ((begin + j) * s.kv_heads + kv) * s.width + c; };
    Values p(length);
    double total = 0;
    for (size_t j = i > s.before ? i - s.before : 0; j < length && j <= i + s.after; j++) {
      double score = 0;
      for (size_t c = 0; c < s.width; c++) score += q[at + c] * k[of(j, c)];
      score *= s.scale;
      if (s.cap) score = s.cap * std::tanh(score / s.cap);
      total += p[j] = std::exp(score);
    }
    for (size_t j = 0; j < length; j++)
      for (size_t c = 0; c < s.width && p[j]; c++) o[at + c] += p[j] / total * v[of(j, c)];
  }
};

// The kernels of one attention, on values that they read.
struct Run {
  const Problem &problem;
  const Way &way;
  Tensor q, k, v, d_o, o, log_sum_exp, delta, dq, dk, dv;

  Run(const Problem &problem, const Way &way, const Values &q, const Values &k, const Values &v,
      const Values &d_o)
      : problem(problem), way(way), q(q, Type::F32), k(k, way.multiplied), v(v, way.multiplied),
        d_o(d_o, Type::F32), o(q.size(), Type::F32),
        log_sum_exp(q.size() / problem.s.width, Type::F32),
        delta(q.size() / problem.s.width, Type::F32), dq(q.size(), Type::F32),
        dk(k.size(), Type::F32), dv(k.size(), Type::F32) {
    const Shape &s = problem.s;
    unsigned index = s.width <= 64 ? 0 : s.width <= 128 ? 1 : 2, columns = 64u << index;
    unsigned own = way.own[index], other = way.other[index];
    unsigned row = columns * (way.multiplied == Type::F32 ? 4 : 2) + 16;
    std::vector<uint32_t> key_tiles, query_tiles;
    for (uint32_t segment = 0; segment + 1 < problem.offsets.size(); segment++) {
      uint32_t length = problem.offsets[segment + 1] - problem.offsets[segment];
      for (uint32_t first = 0; first < length; first += own) {
        key_tiles.insert(key_tiles.end(), {segment, first});
        bool has_query = !s.last_queries_only || first == 0;
        if (has_query) query_tiles.insert(query_tiles.end(), {segment, first});
      }
    }
    Buffer<uint32_t> of_keys(key_tiles), of_queries(query_tiles), offsets(problem.offsets);
    auto kernel = [&](const char *name) {
      return Kernel("attention", name + ("_" + std::to_string(columns)) + way.suffix);
    };
    Grid of_q = {unsigned(query_tiles.size() / 2), s.heads}, threads = {2 * own};
    Grid of_k = {unsigned(key_tiles.size() / 2), s.kv_heads, (s.width + 127) / 128};
    kernel("attention").launch(of_q, threads, row * (own + 2 * other), this->q.address(),
                               this->k.address(), this->v.address(), of_queries, offsets,
                               o.address(), log_sum_exp.address(), s);
    kernel("attention_queries")
        .launch(of_q, threads, row * (2 * own + 2 * other), this->q.address(), this->k.address(),
                this->v.address(), o.address(), this->d_o.address(), log_sum_exp.address(),
                of_queries, offsets, dq.address(), delta.address(), s);
    kernel("attention_keys")
        .launch(of_k, threads, row * (2 * own + 2 * other) + 8 * other, this->q.address(),
                this->k.address(), this->v.address(), this->d_o.address(), log_sum_exp.address(),
                delta.address(), of_keys, offsets, dk.address(), dv.address(), s);
  }
};

// Derivatives along four directions, that of the loss against that of its differences.
void hold_along(const char *what, const Values &gradient, const Values &at, double tolerance,
                const std::function<Values(const Values &)> &f, const Values &weights) {
  for (unsigned seed = 60; seed < 64; seed++) {
    Values direction = values(at.size(), seed), plus = at, minus = at;
    double along = 0, size = 0;
    for (size_t i = 0; i < at.size(); i++) {
      along += gradient[i] * direction[i];
      size += std::abs(gradient[i] * direction[i]);
      plus[i] += 1e-5 * direction[i];
      minus[i] -= 1e-5 * direction[i];
    }
    Values above = f(plus), below = f(minus);
    double expected = 0;
    for (size_t i = 0; i < above.size(); i++) expected += weights[i] * (above[i] - below[i]) / 2e-5;
    if (!(std::abs(along - expected) <= tolerance * (1 + size)))
      throw std::runtime_error(std::string(what) + " is no gradient: " + std::to_string(along) +
                               ", expected " + std::to_string(expected));
  }
}

// Scores of the order of one, so that a rounding of them is one of the result.
void run(const Way &way, const Problem &problem) {
  const Shape &s = problem.s;
  size_t wide = problem.query_rows() * s.heads * s.width;
  size_t narrow = problem.n() * s.kv_heads * s.width;
  Values q = rounded(values(wide, 1, 2 / (s.scale * s.width)), Type::F32), used = q;
  for (double &x : used) x = float(x) * s.scale;
  used = rounded(used, way.multiplied);  // as products read it
  for (double &x : used) x /= s.scale;
  Values k = rounded(values(narrow, 2, 2), way.multiplied);
  Values v = rounded(values(narrow, 3), way.multiplied);
  Values d = rounded(values(wide, 4), way.multiplied);
  Run kernels(problem, way, q, k, v, d);
  double tol = tolerance(way.multiplied);
  hold("o", kernels.o.read(), problem(used, k, v), tol);
  auto by_q = [&](const Values &at) { return problem(at, k, v); };
  auto by_k = [&](const Values &at) { return problem(used, at, v); };
  auto by_v = [&](const Values &at) { return problem(used, k, at); };
  Values dq = kernels.dq.read(), dk = kernels.dk.read(), dv = kernels.dv.read();
  if (wide + narrow > 600) {
    hold_along("dq", dq, used, tol, by_q, d);
    hold_along("dk", dk, k, tol, by_k, d);
    hold_along("dv", dv, v, tol, by_v, d);
  } else {
    hold("dq", dq, differences(by_q, used, d), 2 * tol);
    hold("dk", dk, differences(by_k, k, d), 2 * tol);
    hold("dv", dv, differences(by_v, v, d), 2 * tol);
  }
}

const std::vector<uint32_t> SHORT = {0, 3, 4, 9};
Problem few(uint32_t before, uint32_t after, float scale = 0.4f, float cap = 0,
            uint32_t last_queries_only = 0) {
  return {SHORT, {4, 2, 6, before, after, last_queries_only, scale, cap}};
}
}  // namespace

TEST("causal attention over ragged segments, and its gradients") {
  for (auto &way : WAYS) run(way, few(EVERY, 0));
}
TEST("attention in a window, and its gradients") {
  for (auto &way : WAYS)
    for (uint32_t before : {0u, 1u, 3u, 4u}) run(way, few(before, 0));
}
TEST("attention in both directions, whole and in a window, and its gradients") {
  for (auto &way : WAYS)
    for (uint32_t reach : {EVERY, 1u, 3u}) run(way, few(reach, reach));
}
TEST("attention under a soft cap, with a factor of its own, and its gradients") {
  for (auto &way : WAYS) run(way, few(2, 0, 0.7f, 1.5f));
}
TEST("attention from the last positions alone, and its gradients") {
  for (auto &way : WAYS) {
    run(way, few(EVERY, 0, 0.4f, 0, 1));
    run(way, few(1, 0, 0.7f, 1.5f, 1));
    run(way, few(EVERY, EVERY, 0.4f, 0, 1));
  }
}
TEST("attention over many tiles, with heads of each width of the kernels, and its gradients") {
  const std::pair<uint32_t, std::vector<uint32_t>> sizes[] = {
      {20, {0, 131, 132}}, {80, {0, 40, 41}}, {200, {0, 70}}};
  for (auto &way : WAYS)
    for (auto &[width, offsets] : sizes) {
      for (uint32_t before : {EVERY, 40u})
        run(way, {offsets, {2, 1, width, before, 0, 0, 0.3f, 0}});
      run(way, {offsets, {1, 1, width, 33, 20, 0, 0.3f, 2}});
    }
}
TEST("attention has the same bits when it is asked again, and whatever else a batch has") {
  Problem two = {{0, 70, 140}, {2, 1, 24, EVERY, 0, 0, 0.3f, 0}}, one = {{0, 70}, two.s};
  Values q = values(140 * 48, 1), k = values(140 * 24, 2), v = values(140 * 24, 3);
  auto half = [](const Values &x) { return Values(x.begin() + x.size() / 2, x.end()); };
  for (auto &way : WAYS) {
    Run first(two, way, q, k, v, q), again(two, way, q, k, v, q);
    Run alone(one, way, half(q), half(k), half(v), half(q));
    for (auto of : {&Run::o, &Run::log_sum_exp, &Run::dq, &Run::dk, &Run::dv}) {
      Values found = (first.*of).read();
      CHECK(found == (again.*of).read());
      CHECK(half(found) == (alone.*of).read());
    }
  }
}

int main() { return run_tests(); }
