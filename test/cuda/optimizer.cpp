#include "reference.h"

namespace {
constexpr size_t COUNT = 300;
struct AdamW {
  float step, root, keep, beta1, beta2, rest1, rest2, epsilon;
};
struct Kl {
  double prior_std, c, denominator;
  uint32_t is_softplus;
};
Kl kl_to(double prior_std, uint32_t is_softplus) {
  return {prior_std, 1e-6, 2 * prior_std * prior_std + 1e-6, is_softplus};
}
double sigma_of(double rho, bool is_softplus) {
  return is_softplus ? std::log1p(std::exp(rho)) : rho * rho;
}
double kl_of(const Kl &kl, double mean, double rho) {
  double std = sigma_of(rho, kl.is_softplus);
  return std::log(kl.prior_std + kl.c) - std::log(std + kl.c) +
         (std * std + mean * mean) / kl.denominator - 0.5;
}
std::vector<float> floats(size_t count, unsigned seed, double scale) {
  Values v = values(count, seed, scale);
  return {v.begin(), v.end()};
}
}  // namespace

TEST("two updates of AdamW have the bits of the engine's order of operations") {
  auto w = floats(COUNT, 1, 1), g = floats(COUNT, 2, 0.1);
  std::vector<float> m(COUNT), v(COUNT);
  Buffer<float> dw(w), dg(g), dm(m), dv(v), scale(std::vector<float>{0.5f});
  for (int t = 1; t <= 2; t++) {
    double lr = 0.01, decay = 0.1;
    AdamW c = {float(lr / (1 - std::pow(0.9, t))), float(std::sqrt(1 - std::pow(0.999, t))),
               float(1 - lr * decay), 0.9f, 0.999f, float(1 - 0.9), float(1 - 0.999), 1e-6f};
    Buffer<AdamW> stored(std::vector<AdamW>{c});
    Kernel("optimizer", "adamw").launch({3}, {128}, 0, dw, dg, scale, dm, dv, COUNT, stored);
    for (size_t i = 0; i < COUNT; i++) {
      volatile float gi = 0.5f * g[i];  // volatile: every step is rounded, nothing fused
      volatile float m1 = c.beta1 * m[i], m2 = c.rest1 * gi, v1 = c.beta2 * v[i], v2 = c.rest2 * gi;
      volatile float v3 = v2 * gi, first = m1 + m2, second = v1 + v3;
      m[i] = first;
      v[i] = second;
      volatile float root = std::sqrt(second), quotient = root / c.root;
      volatile float divisor = quotient + c.epsilon, kept = w[i] * c.keep, moved = c.step * first;
      volatile float change = moved / divisor;
      w[i] = kept - change;
    }
    CHECK(dw.read() == w && dm.read() == m && dv.read() == v);
  }
}

TEST("the second optimizer goes down the KL's slope, by finite differences of the KL") {
  for (uint32_t is_softplus : {0u, 1u}) {
    auto mean = floats(COUNT, 3, 0.3), rho = floats(COUNT, 4, 0.2), nll = floats(COUNT, 5, 1);
    for (float &r : rho) r = is_softplus ? r - 2 : 0.3f + r;
    Kl kl = kl_to(0.2, is_softplus);
    double rate = 0.01, weight = 0.3, h = 1e-6;
    Buffer<float> dm(mean), dr(rho), dn(nll), scale(std::vector<float>{1});
    Buffer<double> rates(std::vector<double>{rate, weight}), pi(std::vector<double>{weight});
    Kernel("optimizer", "kl_sgd").launch({3}, {128}, 0, dm, dr, dn, scale, COUNT, kl, rates);
    Buffer<float> at_mean(mean), at_rho(rho);
    std::vector<float> zeros(COUNT);
    Buffer<float> of_mean(zeros), of_rho(zeros);
    Kernel("optimizer", "kl_add")
        .launch({3}, {128}, 0, of_mean, of_rho, at_mean, at_rho, COUNT, kl, pi);
    auto kl_mean = of_mean.read(), kl_rho = of_rho.read();
    Values m, r;
    for (size_t i = 0; i < COUNT; i++) {
      double a = mean[i], b = rho[i];
      double by_mean = (kl_of(kl, a + h, b) - kl_of(kl, a - h, b)) / (2 * h);
      double by_rho = (kl_of(kl, a, b + h) - kl_of(kl, a, b - h)) / (2 * h);
      m.push_back(a - rate * weight * by_mean);
      r.push_back(b - rate * (weight * by_rho + nll[i]));
      CHECK(std::abs(kl_mean[i] - weight * by_mean) < 1e-6 * (1 + std::abs(by_mean)));
      CHECK(std::abs(kl_rho[i] - weight * by_rho) < 1e-5 * (1 + std::abs(by_rho)));
    }
    auto got_m = dm.read(), got_r = dr.read();
    hold("mean", {got_m.begin(), got_m.end()}, m, 1e-6);
    hold("rho", {got_r.begin(), got_r.end()}, r, 1e-5);
  }
}

TEST("KL and squared norm are the sums, and the same bits again") {
  auto mean = floats(1000, 6, 0.3), rho = floats(1000, 7, 0.4);
  Kl kl = kl_to(0.2, 0);
  double expected_kl = 0, squares = 0;
  for (size_t i = 0; i < 1000; i++) {
    expected_kl += kl_of(kl, mean[i], rho[i]);
    squares += double(mean[i]) * mean[i];
  }
  Buffer<float> m(mean), r(rho);
  Buffer<double> partials(2), sum(1);
  double first = 0;
  for (int repeat = 0; repeat < 2; repeat++) {
    Kernel("optimizer", "kl_sum").launch({2}, {256}, 0, m, r, size_t(1000), kl, partials);
    Kernel("optimizer", "add_partials").launch({1}, {256}, 0, partials, 2u, sum);
    double got = sum.read()[0];
    CHECK(std::abs(got - expected_kl) < 1e-5 * std::abs(expected_kl));
    CHECK(repeat == 0 || got == first);
    first = got;
  }
  Kernel("optimizer", "square_sum").launch({2}, {256}, 0, m, size_t(1000), partials);
  Kernel("optimizer", "add_partials").launch({1}, {256}, 0, partials, 2u, sum);
  CHECK(std::abs(sum.read()[0] - squares) < 1e-12 * squares);
}

TEST("sigmas are added up") {
  auto rho = floats(700, 8, 0.5);
  Buffer<float> r(rho);
  Buffer<double> partials(3), sum(1);
  for (uint32_t is_softplus : {0u, 1u}) {
    double expected = 0;
    for (float value : rho) expected += sigma_of(value, is_softplus);
    Kernel("optimizer", "sigma_sum").launch({3}, {256}, 0, r, size_t(700), is_softplus, partials);
    Kernel("optimizer", "add_partials").launch({1}, {256}, 0, partials, 3u, sum);
    CHECK(std::abs(sum.read()[0] - expected) < 1e-5 * expected);
  }
}

TEST("clipping scales each member by its own norm, and what is not finite stops all of them") {
  // Squares of two members, in two parts each: 9 and 16 count, 1 and 0 do not.
  auto run = [](std::vector<double> partials, double nll, double limit) {
    Buffer<double> of(partials), sums(std::vector<double>{nll, 0, 0});
    Buffer<float> scales(2);
    Kernel("optimizer", "clip").launch({1}, {256}, 0, of, 2u, 1u, 2u, limit, sums, scales);
    auto both = scales.read();
    return std::vector<double>{both[0], both[1], sums.read()[2]};
  };
  const std::vector<double> partials = {4, 5, 1, 16, 0, 0};
  auto clipped = run(partials, 0.5, 3.5);
  CHECK(clipped[0] == 1 && clipped[2] == 3.5);
  CHECK(std::abs(clipped[1] - 3.5 / (4 + 1e-6)) < 1e-7);
  auto free = run(partials, 0.5, 0);
  CHECK(free[0] == 1 && free[1] == 1 && free[2] == 3.5);
  std::vector<double> poisoned = partials;
  poisoned[5] = INFINITY;
  for (auto &stopped : {run(poisoned, 0.5, 0), run(partials, NAN, 0)})
    for (double value : stopped) CHECK(std::isnan(value));

  Buffer<float> w(std::vector<float>{1}), g(std::vector<float>{1}), rho(std::vector<float>{1});
  Buffer<float> first(std::vector<float>{0}), second(std::vector<float>{0});
  Buffer<float> none(std::vector<float>{NAN});
  AdamW c = {0.1f, 1, 1, 0.9f, 0.999f, 0.1f, 0.001f, 1e-6f};
  Buffer<AdamW> stored(std::vector<AdamW>{c});
  Buffer<double> rates(std::vector<double>{0.1, 0.1});
  Kernel("optimizer", "adamw").launch({1}, {32}, 0, w, g, none, first, second, size_t(1), stored);
  Kernel("optimizer", "kl_sgd")
      .launch({1}, {32}, 0, w, rho, g, none, size_t(1), kl_to(0.2, 0), rates);
  for (auto *unchanged : {&w, &rho}) CHECK(unchanged->read()[0] == 1);
  for (auto *unchanged : {&first, &second}) CHECK(unchanged->read()[0] == 0);
}

TEST("a multiple is added") {
  auto y = floats(COUNT, 9, 1), x = floats(COUNT, 10, 1);
  Buffer<float> to(y), of(x);
  Kernel("optimizer", "add_scaled").launch({3}, {128}, 0, to, of, 0.25f, COUNT);
  auto got = to.read();
  for (size_t i = 0; i < COUNT; i++) {
    volatile float scaled = 0.25f * x[i];  // volatile: rounded, not fused
    CHECK(got[i] == y[i] + scaled);
  }
}

TEST("SGD takes the rate's share of the gradient, and nothing where the scale is no number") {
  auto w = floats(COUNT, 11, 1), g = floats(COUNT, 12, 1);
  Buffer<float> on(w), of(g), rate(std::vector<float>{0.3f});
  for (float scale : {NAN, 0.5f}) {  // clipping is not for it
    Buffer<float> stored(std::vector<float>{scale});
    Kernel("optimizer", "sgd").launch({3}, {128}, 0, on, of, stored, rate, COUNT);
    auto got = on.read();
    for (size_t i = 0; i < COUNT; i++) {
      volatile float step = 0.3f * g[i];  // volatile: rounded, not fused
      CHECK(got[i] == (std::isnan(scale) ? w[i] : w[i] - step));
    }
  }
}

TEST("collected values have the running mean, scatter and last deviation of the definition") {
  std::vector<std::vector<float>> thetas;
  const std::vector<float> zeros(COUNT);
  Buffer<float> mean(zeros), scatter(zeros), last(COUNT);
  Buffer<float> scale(std::vector<float>{1}), none(std::vector<float>{NAN});
  for (unsigned i = 1; i <= 4; i++) {
    thetas.push_back(floats(COUNT, 20 + i, 1));
    Buffer<float> theta(thetas.back()), count(std::vector<float>{float(i)});
    for (auto *of : {&none, &scale})  // what is not finite is not collected
      Kernel("optimizer", "collect")
          .launch({3}, {128}, 0, theta, mean, scatter, last, *of, count, COUNT);
  }
  auto got_mean = mean.read(), got_scatter = scatter.read(), got_last = last.read();
  for (size_t i = 0; i < COUNT; i++) {
    double sum = 0, squares = 0;
    for (auto &theta : thetas) sum += theta[i] / 4.0;
    for (auto &theta : thetas) squares += (theta[i] - sum) * (theta[i] - sum);
    CHECK(std::abs(got_mean[i] - sum) < 1e-6 && std::abs(got_scatter[i] - squares) < 1e-5);
    CHECK(std::abs(got_last[i] - (thetas.back()[i] - sum)) < 1e-6);
  }
}

int main() { return run_tests(); }
