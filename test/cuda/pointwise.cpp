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

const double CLOSE = tolerance(Type::F32);

TEST("activations and gates are their equations, backward their gradients") {
  for (unsigned kind : {0u, 1u, 2u}) {
    Values g = rounded(values(COUNT, 1, 4), Type::F32), u = rounded(values(COUNT, 2), Type::F32);
    Values d = rounded(values(COUNT, 3), Type::F32), ones(COUNT, 1);
    Tensor gate(g, Type::F32), up(u, Type::F32), dy(d, Type::F32), y(COUNT, Type::F32);
    Tensor d_gate(COUNT, Type::F32), d_up(COUNT, Type::F32), alone(COUNT, Type::F32);
    Kernel("pointwise", "gated_f32")
        .launch({2}, {128}, 0, gate.address(), up.address(), y.address(), COUNT, kind);
    hold("y", y.read(), gated(g, u, kind), CLOSE);
    Kernel("pointwise", "gated_backward_f32")
        .launch({2}, {128}, 0, gate.address(), up.address(), dy.address(), d_gate.address(),
                d_up.address(), COUNT, kind);
    auto of_gate = [&](const Values &at) { return gated(at, u, kind); };
    auto of_up = [&](const Values &at) { return gated(g, at, kind); };
    hold("dgate", d_gate.read(), differences(of_gate, g, d), CLOSE);
    hold("dup", d_up.read(), differences(of_up, u, d), CLOSE);
    Kernel("pointwise", "activation_f32")
        .launch({2}, {128}, 0, gate.address(), alone.address(), COUNT, kind);
    hold("phi", alone.read(), gated(g, ones, kind), CLOSE);
    Kernel("pointwise", "activation_backward_f32")
        .launch({2}, {128}, 0, gate.address(), dy.address(), alone.address(), COUNT, kind);
    auto of_one = [&](const Values &at) { return gated(at, ones, kind); };
    hold("dx", alone.read(), differences(of_one, g, d), CLOSE);
  }
}

TEST("gates that round for products give the other's values, rounded") {
  for (unsigned kind : {0u, 1u, 2u}) {
    Values g = rounded(values(COUNT, 1, 4), Type::F32), u = rounded(values(COUNT, 2), Type::F32);
    Values d = rounded(values(COUNT, 3), Type::F32);
    Tensor gate(g, Type::F32), up(u, Type::F32), dy(d, Type::F32), y(COUNT, Type::F32);
    Tensor less(COUNT, Type::BF16), kept_gate(COUNT, Type::BF16), kept_up(COUNT, Type::BF16);
    Tensor d_gate(COUNT, Type::BF16), d_up(COUNT, Type::BF16);
    Kernel("pointwise", "gated_f32")
        .launch({2}, {128}, 0, gate.address(), up.address(), y.address(), COUNT, kind);
    Kernel forward("pointwise", "gated_rounded");
    forward.launch({2}, {128}, 0, gate.address(), up.address(), less.address(), Address(0),
                   Address(0), COUNT, kind);
    CHECK(less.read() == rounded(y.read(), Type::BF16));
    forward.launch({2}, {128}, 0, gate.address(), up.address(), less.address(),
                   kept_gate.address(), kept_up.address(), COUNT, kind);
    CHECK(less.read() == rounded(y.read(), Type::BF16));
    Values near_g = rounded(g, Type::BF16), near_u = rounded(u, Type::BF16);
    CHECK(kept_gate.read() == near_g);
    CHECK(kept_up.read() == near_u);
    Kernel("pointwise", "gated_rounded_backward")
        .launch({2}, {128}, 0, kept_gate.address(), kept_up.address(), dy.address(),
                d_gate.address(), d_up.address(), COUNT, kind);
    auto of_gate = [&](const Values &at) { return gated(at, near_u, kind); };
    auto of_up = [&](const Values &at) { return gated(near_g, at, kind); };
    hold("dgate", d_gate.read(), differences(of_gate, near_g, d), tolerance(Type::BF16));
    hold("dup", d_up.read(), differences(of_up, near_u, d), tolerance(Type::BF16));
    Tensor wide(COUNT, Type::F32), back(COUNT, Type::BF16);
    Kernel("pointwise", "to_f32").launch({2}, {128}, 0, less.address(), wide.address(), COUNT);
    CHECK(wide.read() == less.read());
    Kernel("pointwise", "to_bf16").launch({2}, {128}, 0, y.address(), back.address(), COUNT);
    CHECK(back.read() == less.read());
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
  size_t count = N * HEADS * 2 * HALF;
  Values x = rounded(values(count, 4), Type::F32), d = rounded(values(count, 5), Type::F32);
  Tensor dx(x, Type::F32), dy(d, Type::F32), y(count, Type::F32);
  Kernel kernel("pointwise", "rope_f32");
  kernel.launch({1}, {64}, 0, dx.address(), y.address(), positions, c, s, N, HEADS, HALF, 1.0f);
  hold("y", y.read(), rope(x), CLOSE);
  kernel.launch({1}, {64}, 0, dy.address(), dy.address(), positions, c, s, N, HEADS, HALF, -1.0f);
  hold("dx in place", dy.read(), differences(rope, x, d), CLOSE);
}

TEST("rows are gathered by index") {
  constexpr unsigned D = 9;
  std::vector<uint32_t> ids = {4, 0, 4, 1};
  Buffer<uint32_t> of(ids);
  Values table = rounded(values(5 * D, 6), Type::F32), expected;
  for (uint32_t id : ids)
    for (size_t i = 0; i < D; i++) expected.push_back(table[id * D + i]);
  Tensor stored(table, Type::F32), y(4 * D, Type::F32);
  Kernel("pointwise", "gather_f32")
      .launch({1}, {64}, 0, stored.address(), of, y.address(), 4u, D);
  CHECK(y.read() == expected);
}

int main() { return run_tests(); }
