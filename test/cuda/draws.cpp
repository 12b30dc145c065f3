#include "reference.h"

namespace {
constexpr size_t MEMBERS = 2, SAMPLES = 3, FACTORS = 10, WHOLE = 3;
constexpr uint32_t STARTS[] = {0, 6}, TAGS[] = {16, 23};
struct Key {
  uint32_t x, y;
};
const std::vector<Key> KEYS = {{7, 9}, {8, 3}};
struct Shape {
  size_t len, drawn_len, points, factors, count;
  uint32_t samples, is_softplus;
};
struct Ivon {
  double lr, lambda, delta, beta1, beta2, clip, debias;
};

// An adapter whose layer of its own is trained, or lies behind every ρ.
Shape shape(bool is_trained, uint32_t is_softplus) {
  size_t points = FACTORS + (is_trained ? WHOLE : 0);
  return {2 * FACTORS + WHOLE, FACTORS + WHOLE, points, FACTORS, 0, SAMPLES, is_softplus};
}
std::vector<float> floats(size_t count, unsigned seed, double scale) {
  Values v = values(count, seed, scale);
  return {v.begin(), v.end()};
}
float rounded(float x) {
  volatile float y = x;  // nothing is fused
  return y;
}
Grid grid(size_t count) { return {blocks_of(count, 64)}; }

// E of a member's sample, by the kernel that has the engine's bits.
std::vector<float> noise_of(size_t member, uint32_t sample) {
  std::vector<float> all;
  for (size_t factor = 0; factor < 2; factor++) {
    size_t count = (factor ? FACTORS : STARTS[1]) - STARTS[factor];
    Buffer<float> out(count);
    Kernel("noise", "noise_normal")
        .launch({1}, {64}, 0, out, count, KEYS[member], TAGS[factor] | sample << 16, 1.0f);
    for (float e : out.read()) all.push_back(e);
  }
  return all;
}

std::vector<float> draw(const std::vector<float> &w, Shape s, const std::vector<float> *rho) {
  size_t count = MEMBERS * SAMPLES * s.drawn_len;
  Buffer<float> dw(w), own(rho ? *rho : std::vector<float>(w.begin() + long(s.points), w.end()));
  Buffer<float> out(count);
  Buffer<Key> keys(KEYS);
  Buffer<uint32_t> starts(std::vector<uint32_t>(STARTS, STARTS + 2));
  Buffer<uint32_t> tags(std::vector<uint32_t>(TAGS, TAGS + 2));
  s.count = count;
  Kernel("draws", "draw_factors")
      .launch(grid(count), {64}, 0, dw, own, rho ? s.points : s.len, keys, starts, tags, 2u, out,
              s);
  return out.read();
}
}  // namespace

TEST("a draw is the mean and the engine's noise times sigma, and layers of its own as they are") {
  for (bool is_trained : {true, false})
    for (uint32_t is_softplus : {0u, 1u}) {
      Shape s = shape(is_trained, is_softplus);
      auto w = floats(MEMBERS * s.len, 1, 1);
      auto got = draw(w, s, nullptr);
      for (size_t member = 0; member < MEMBERS; member++)
        for (uint32_t sample = 0; sample < SAMPLES; sample++) {
          auto e = noise_of(member, sample);
          const float *from = w.data() + member * s.len;
          const float *drawn = got.data() + (member * SAMPLES + sample) * s.drawn_len;
          for (size_t i = 0; i < FACTORS; i++) {
            float rho = from[s.points + i];
            if (is_softplus) {
              double expected = from[i] + e[i] * std::log1p(std::exp(double(rho)));
              CHECK(std::abs(drawn[i] - expected) < 1e-6 * (1 + std::abs(expected)));
            } else {
              CHECK(drawn[i] == rounded(from[i] + rounded(e[i] * rounded(rho * rho))));
            }
          }
          const float *whole = from + (is_trained ? FACTORS : 2 * FACTORS);
          for (size_t i = 0; i < WHOLE; i++) CHECK(drawn[FACTORS + i] == whole[i]);
        }
      if (is_softplus) continue;
      // The same from ρ that lie apart, one for each point.
      std::vector<float> rho;
      for (size_t i = 0; i < MEMBERS * s.points; i++) {
        size_t at = i % s.points;
        rho.push_back(at < FACTORS ? w[i / s.points * s.len + s.points + at] : NAN);
      }
      CHECK(draw(w, s, &rho) == got);
    }
}

TEST("gradients of draws fold to those of mean and rho, by finite differences") {
  for (bool is_trained : {true, false})
    for (uint32_t is_softplus : {0u, 1u}) {
      Shape s = shape(is_trained, is_softplus);
      auto w = floats(MEMBERS * s.len, 2, 1);
      auto drawn = draw(w, s, nullptr), g = floats(drawn.size(), 3, 1);
      Buffer<float> dw(w), dd(drawn), dg(g), out(std::vector<float>(w.size(), 0.0f));
      s.count = MEMBERS * s.points;
      Kernel("draws", "fold_draws").launch(grid(s.count), {64}, 0, dw, dd, dg, out, s);
      std::vector<std::vector<float>> noise;
      for (size_t draw = 0; draw < MEMBERS * SAMPLES; draw++)
        noise.push_back(noise_of(draw / SAMPLES, uint32_t(draw % SAMPLES)));
      // Σ g·θ of all draws, whose noise is what it was.
      auto loss = [&](const Values &at) {
        double sum = 0;
        for (size_t draw = 0; draw < MEMBERS * SAMPLES; draw++)
          for (size_t i = 0; i < s.points; i++) {
            const double *from = at.data() + draw / SAMPLES * s.len;
            double theta = from[i], rho = i < FACTORS ? from[s.points + i] : 0;
            double sigma = is_softplus ? std::log1p(std::exp(rho)) : rho * rho;
            if (i < FACTORS) theta += noise[draw][i] * sigma;
            sum += g[draw * s.drawn_len + i] * theta;
          }
        return Values{sum};
      };
      Values expected = differences(loss, {w.begin(), w.end()}, {1});
      auto got = out.read();
      hold("gradients", {got.begin(), got.end()}, expected, 2e-5);
    }
}

TEST("two updates of IVON are those of its algorithm, and rho follows the curvature") {
  for (bool is_trained : {true, false}) {
    Shape s = shape(is_trained, 0);
    size_t points = MEMBERS * s.points;
    auto w = floats(MEMBERS * s.len, 4, 1);
    std::vector<float> momentum(points), hessian(points, 0.1f);
    Buffer<float> dw(w), dm(momentum), dh(hessian), scale(std::vector<float>{1});
    double lambda = 50, delta = 0.01, beta1 = 0.9, beta2 = 0.95;
    for (int t = 1; t <= 2; t++) {
      w = dw.read(), momentum = dm.read(), hessian = dh.read();
      Buffer<float> drho(points);
      Kernel("draws", "ivon_rho").launch(grid(points), {64}, 0, dh, drho, points, lambda, delta);
      auto rho = drho.read();
      auto drawn = draw(w, s, &rho), g = floats(drawn.size(), 5 + unsigned(t), 0.3);
      Buffer<float> dd(drawn), dg(g);
      // Small enough to be met by some, large enough to be missed by others.
      Ivon c = {0.1, lambda, delta, beta1, beta2, 1.0, 1 - std::pow(beta1, t)};
      s.count = points;
      Buffer<Ivon> stored(std::vector<Ivon>{c});
      Kernel("draws", "ivon").launch(grid(points), {64}, 0, dw, dm, dh, dd, dg, scale, s, stored);
      auto got_w = dw.read(), got_m = dm.read(), got_h = dh.read();
      size_t clipped = 0;
      for (size_t i = 0; i < points; i++) {
        size_t member = i / s.points, at = i % s.points, place = member * s.len + at;
        double m = w[place], h = hessian[i], sum = 0, products = 0, after = h;
        for (size_t sample = 0; sample < SAMPLES; sample++) {
          size_t of_draw = (member * SAMPLES + sample) * s.drawn_len + at;
          sum += g[of_draw];
          products += double(g[of_draw]) * (double(drawn[of_draw]) - m);
        }
        if (at < FACTORS) {
          double estimate = lambda * (h + delta) * products;
          after = beta2 * h + (1 - beta2) * estimate +
                  0.5 * std::pow((1 - beta2) * (h - estimate), 2) / (h + delta);
          double std = 1 / std::sqrt(lambda * (after + delta));
          CHECK(std::abs(got_w[place + s.points] - std::sqrt(std)) < 1e-6);
        }
        double average = beta1 * momentum[i] + (1 - beta1) * sum;
        double newton = (average / c.debias + delta * m) / (after + delta);
        clipped += std::abs(newton) > c.clip;
        newton = std::max(-c.clip, std::min(c.clip, newton));
        CHECK(std::abs(got_m[i] - average) < 1e-6);
        CHECK(std::abs(got_h[i] - after) < 1e-6 * (1 + after) && got_h[i] > 0);
        CHECK(std::abs(got_w[place] - (m - c.lr * newton)) < 1e-6);
      }
      CHECK(clipped > 0 && clipped < points);
    }
    // What is not finite stops it.
    auto before = dw.read();
    Buffer<float> none(std::vector<float>{NAN}), dd(MEMBERS * SAMPLES * s.drawn_len);
    Buffer<Ivon> stored(std::vector<Ivon>{{1, 1, 1, 0, 0, 0, 1}});
    Kernel("draws", "ivon").launch(grid(points), {64}, 0, dw, dm, dh, dd, dd, none, s, stored);
    CHECK(dw.read() == before);
  }
}

int main() { return run_tests(); }
