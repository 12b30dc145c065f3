#include "reference.h"

namespace {
constexpr size_t COUNT = 150;
double activated(double x, unsigned kind) {
  if (kind == 0) return 0.5 * x * std::erfc(-x / std::sqrt(2.0));
  double z = std::sqrt(2 / std::acos(-1.0)) * (x + 0.044715 * x * x * x);
  if (kind == 1) return 0.5 * x * (1 + std::tanh(z));
  return x / (1 + std::exp(-x));
}
Values gated(const Values &g, const Values &u, unsigned kind) {
  Values y(g.size());
  for (size_t i = 0; i < y.size(); i++) y[i] = activated(g[i], kind) * u[i];
  return y;
}

constexpr unsigned N = 5, HEADS = 3, HALF = 4, POSITIONS = 9;
const std::vector<uint32_t> AT = {0, 1, 2, 0, 8};
double angle(size_t position, size_t pair) {
  return double(position) * std::pow(0.3, double(pair));
}
Values rope(const Values &x) {
  Values y(x.size());
  for (size_t token = 0; token < N; token++)
    for (size_t head = 0; head < HEADS; head++)
      for (size_t i = 0; i < HALF; i++) {
        size_t at = (token * HEADS + head) * 2 * HALF + i;
        double c = std::cos(angle(AT[token], i)), s = std::sin(angle(AT[token], i));
        y[at] = x[at] * c - x[at + HALF] * s;
        y[at + HALF] = x[at + HALF] * c + x[at] * s;
      }
  return y;
}
}  // namespace

TEST("activations and gates are their equations, backward their gradients") {
  for (Type type : BOTH)
    for (unsigned kind : {0u, 1u, 2u}) {
      Values g = rounded(values(COUNT, 1, 4), type), u = rounded(values(COUNT, 2), type);
      Values d = rounded(values(COUNT, 3), type), ones(COUNT, 1);
      Tensor gate(g, type), up(u, type), dy(d, type);
      Tensor y(COUNT, type), d_gate(COUNT, type), d_up(COUNT, type), alone(COUNT, type);
      Kernel("pointwise", "gated" + suffix(type))
          .launch({2}, {128}, 0, gate.address(), up.address(), y.address(), COUNT, kind);
      hold("y", y.read(), gated(g, u, kind), tolerance(type));
      Kernel("pointwise", "gated_backward" + suffix(type))
          .launch({2}, {128}, 0, gate.address(), up.address(), dy.address(), d_gate.address(),
                  d_up.address(), COUNT, kind);
      auto of_gate = [&](const Values &at) { return gated(at, u, kind); };
      auto of_up = [&](const Values &at) { return gated(g, at, kind); };
      hold("dgate", d_gate.read(), differences(of_gate, g, d), tolerance(type));
      hold("dup", d_up.read(), differences(of_up, u, d), tolerance(type));
      Kernel("pointwise", "activation" + suffix(type))
          .launch({2}, {128}, 0, gate.address(), alone.address(), COUNT, kind);
      hold("phi", alone.read(), gated(g, ones, kind), tolerance(type));
      Kernel("pointwise", "activation_backward" + suffix(type))
          .launch({2}, {128}, 0, gate.address(), dy.address(), alone.address(), COUNT, kind);
      auto of_one = [&](const Values &at) { return gated(at, ones, kind); };
      hold("dx", alone.read(), differences(of_one, g, d), tolerance(type));
    }
}

TEST("rotary positions turn pairs, and turn the gradient back") {
  std::vector<float> cosines, sines;
  for (size_t p = 0; p < POSITIONS; p++)
    for (size_t i = 0; i < HALF; i++) {
      cosines.push_back(float(std::cos(angle(p, i))));
      sines.push_back(float(std::sin(angle(p, i))));
    }
  Buffer<float> c(cosines), s(sines);
  Buffer<uint32_t> positions(AT);
  for (Type type : BOTH) {
    size_t count = N * HEADS * 2 * HALF;
    Values x = rounded(values(count, 4), type), d = rounded(values(count, 5), type);
    Tensor dx(x, type), dy(d, type), y(count, type);
    Kernel kernel("pointwise", "rope" + suffix(type));
    kernel.launch({1}, {64}, 0, dx.address(), y.address(), positions, c, s, N, HEADS, HALF, 1.0f);
    hold("y", y.read(), rope(x), tolerance(type));
    kernel.launch({1}, {64}, 0, dy.address(), dy.address(), positions, c, s, N, HEADS, HALF, -1.0f);
    hold("dx in place", dy.read(), differences(rope, x, d), tolerance(type));
  }
}

TEST("rows are gathered by index") {
  constexpr unsigned D = 9;
  std::vector<uint32_t> ids = {4, 0, 4, 1};
  Buffer<uint32_t> of(ids);
  for (Type type : BOTH) {
    Values table = rounded(values(5 * D, 6), type), expected;
    for (uint32_t id : ids)
      for (size_t i = 0; i < D; i++) expected.push_back(table[id * D + i]);
    Tensor stored(table, type), y(4 * D, type);
    Kernel("pointwise", "gather" + suffix(type))
        .launch({1}, {64}, 0, stored.address(), of, y.address(), 4u, D);
    CHECK(y.read() == expected);
  }
}

int main() { return run_tests(); }
