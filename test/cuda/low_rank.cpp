#include "reference.h"

namespace {
constexpr unsigned N = 37, K = 150, M = 40, R = 3;
constexpr float SCALING = 2;
enum : uint32_t { NONE, OF_TOKENS, OF_PROMPTS };
struct Key {
  uint32_t x, y;
};
struct Draw {
  Address key;
  uint32_t input_tag, rank_tag, signs, mean_tag, noise_tag;
  float dropout;
};

// One pass: who its rows are, its signs and masks (drawn by noise_signs and noise_dropout, which
// have the engine's bits), E.
struct Pass {
  Buffer<Key> key{std::vector<Key>{{11, 22}}};
  Draw draw;
  uint32_t gaussian_tag = 176;
  float gaussian_sign = -1;
  std::vector<uint32_t> positions, rows;
  Values in_signs, rank_signs, gaussian;  // (N, K), (N, R), (R, K)
  Values mean_mask, noise_mask;           // (N, K)

  Pass(uint32_t signs, float dropout) : draw{key.address(), 177, 178, signs, 179, 180, dropout} {
    for (unsigned i = 0; i < N; i++) {
      positions.push_back(i % 20);
      rows.push_back(1000 + i / 20);
    }
    in_signs = drawn(K, draw.input_tag);
    rank_signs = drawn(R, draw.rank_tag);
    mean_mask = mask(draw.mean_tag);
    noise_mask = mask(draw.noise_tag);
    Buffer<float> normals(R * K);
    Kernel("noise", "noise_normal")
        .launch({blocks_of(R * K, 128)}, {128}, 0, normals, size_t(R * K), Key{11, 22},
                gaussian_tag, gaussian_sign);
    for (float e : normals.read()) gaussian.push_back(e);
  }
  Values drawn(unsigned width, uint32_t tag) const {
    unsigned words = (width + 31) / 32;
    std::vector<uint32_t> places = draw.signs == OF_PROMPTS ? std::vector<uint32_t>(N) : positions;
    Buffer<uint32_t> out(N * words), p(places), r(rows);
    Kernel("noise", "noise_signs")
        .launch({blocks_of(N * words, 64)}, {64}, 0, out, p, r, N, words, Key{11, 22}, tag);
    auto bits = out.read();
    Values result;
    for (unsigned row = 0; row < N; row++)
      for (unsigned i = 0; i < width; i++) {
        bool is_negative = bits[row * words + i / 32] >> (i % 32) & 1;
        result.push_back(draw.signs != NONE && is_negative ? -1 : 1);
      }
    return result;
  }
  Values mask(uint32_t tag) const {
    Buffer<float> out(N * K);
    Buffer<uint32_t> p(positions), r(rows);
    Kernel("noise", "noise_dropout")
        .launch({blocks_of(N * K, 128)}, {128}, 0, out, p, r, N, K, draw.dropout, Key{11, 22},
                tag);
    Values result;
    for (float factor : out.read()) result.push_back(factor);
    return result;
  }
};

// s·h·Bᵀ (N, M), and h, in double precision; σ = ρ².
struct Term {
  const Pass &pass;
  bool is_sampled;
  Values hidden(const Values &x, const Values &a, const Values &rho) const {
    Values h(N * R);
    for (size_t n = 0; n < N; n++)
      for (size_t r = 0; r < R; r++) {
        double mean = 0, noise = 0;
        for (size_t k = 0; k < K; k++) {
          mean += x[n * K + k] * pass.mean_mask[n * K + k] * a[r * K + k];
          noise += x[n * K + k] * pass.noise_mask[n * K + k] * pass.in_signs[n * K + k] *
                   rho[r * K + k] * rho[r * K + k] * pass.gaussian[r * K + k];
        }
        h[n * R + r] = mean + (is_sampled ? noise * pass.rank_signs[n * R + r] : 0);
      }
    return h;
  }
  Values operator()(const Values &x, const Values &a, const Values &rho, const Values &b) const {
    Values h = hidden(x, a, rho), y(N * M);
    for (size_t n = 0; n < N; n++)
      for (size_t m = 0; m < M; m++)
        for (size_t r = 0; r < R; r++) y[n * M + m] += SCALING * h[n * R + r] * b[m * R + r];
    return y;
  }
};

// Σ dy·f is linear in x, a and b and quadratic in ρ: one difference along a direction is exact, so
// a gradient is checked against the differences along random directions.
void hold_along(const char *what, const Values &gradient, const Values &at,
                const std::function<double(const Values &)> &loss, double tolerance) {
  for (unsigned seed = 50; seed < 54; seed++) {
    Values direction = values(at.size(), seed), plus = at, minus = at;
    double along = 0, size = 0;
    for (size_t i = 0; i < at.size(); i++) {
      along += gradient[i] * direction[i];
      size += std::abs(gradient[i] * direction[i]);
      plus[i] += 1e-3 * direction[i];
      minus[i] -= 1e-3 * direction[i];
    }
    double expected = (loss(plus) - loss(minus)) / 2e-3;
    if (!(std::abs(along - expected) <= tolerance * (1 + size)))
      throw std::runtime_error(std::string(what) + " is no gradient: " + std::to_string(along) +
                               ", expected " + std::to_string(expected));
  }
}

void run(Type type, bool is_sampled, uint32_t signs, float dropout = 0) {
  Pass pass(signs, dropout);
  Term term{pass, is_sampled};
  Values x = rounded(values(N * K, 1), type), dy = rounded(values(N * M, 2), type);
  Values a = rounded(values(R * K, 3, 0.3), Type::F32), b = rounded(values(M * R, 4), Type::F32);
  Values rho = rounded(values(R * K, 5, 0.5), Type::F32), p_values;
  for (size_t i = 0; i < R * K; i++) p_values.push_back(rho[i] * rho[i] * pass.gaussian[i]);
  Tensor dx_(x, type), ddy(dy, type), y(Values(N * M, 0.25), type), dx(Values(N * K, 0.5), type);
  Tensor da(a, Type::F32), db(b, Type::F32), drho(rho, Type::F32), p(p_values, Type::F32);
  Tensor h(N * R, Type::F32), back(N * R, Type::F32);
  Tensor ga(Values(R * K, 1), Type::F32), grho(Values(R * K, 2), Type::F32);
  Tensor gb(Values(M * R, 3), Type::F32);
  Buffer<uint32_t> positions(pass.positions), rows(pass.rows);
  Address noise = is_sampled ? p.address() : 0, of_rho = is_sampled ? drho.address() : 0;
  auto kernel = [&](const char *name) { return Kernel("low_rank", name + suffix(type)); };
  double tol = tolerance(type) * 4;

  Tensor mean_input(x, type), noise_input(x, type);
  if (dropout > 0)
    for (auto [to, tag] : {std::pair{&mean_input, pass.draw.mean_tag},
                             std::pair{&noise_input, pass.draw.noise_tag}})
      kernel("low_rank_drop")
          .launch({blocks_of(N * ((K + 7) / 8), 128)}, {128}, 0, dx_.address(), positions, rows,
                  to->address(), N, K, dropout, pass.key, tag);
  kernel("low_rank_down").launch({N}, {96}, 0, mean_input.address(), noise_input.address(),
                                 da.address(), noise, positions, rows, h.address(), K, R,
                                 pass.draw);
  hold("h", h.read(), term.hidden(x, a, rho), 1e-4);
  kernel("low_rank_up").launch({blocks_of(N * M, 128)}, {128}, 0, h.address(), db.address(),
                               y.address(), N, M, R, SCALING);
  Values expected = term(x, a, rho, b);
  for (double &v : expected) v += 0.25;
  hold("y", y.read(), expected, tol);

  kernel("low_rank_back").launch({N}, {96}, 0, ddy.address(), db.address(), back.address(), M, R,
                                 SCALING);
  kernel("low_rank_input").launch({blocks_of(N * K, 128)}, {128}, 0, back.address(), da.address(),
                                  noise, positions, rows, dx.address(), N, K, R, pass.draw);
  kernel("low_rank_b").launch({blocks_of(M * R, 128)}, {128}, 0, ddy.address(), h.address(),
                              gb.address(), N, M, R, SCALING);
  kernel("low_rank_a").launch({blocks_of(K, 128), R}, {128}, 0, mean_input.address(),
                              noise_input.address(), back.address(), of_rho, positions, rows,
                              ga.address(), grho.address(), N, K, R, 0u, pass.gaussian_tag,
                              pass.gaussian_sign, pass.draw);
  auto loss = [&](const Values &at_x, const Values &at_a, const Values &at_rho,
                  const Values &at_b) {
    Values out = term(at_x, at_a, at_rho, at_b);
    double sum = 0;
    for (size_t i = 0; i < out.size(); i++) sum += dy[i] * out[i];
    return sum;
  };
  auto less = [](Values v, double before) {
    for (double &e : v) e -= before;
    return v;
  };
  hold_along("dx", less(dx.read(), 0.5), x, [&](auto &v) { return loss(v, a, rho, b); }, tol);
  hold_along("dA", less(ga.read(), 1), a, [&](auto &v) { return loss(x, v, rho, b); }, 1e-4);
  hold_along("dB", less(gb.read(), 3), b, [&](auto &v) { return loss(x, a, rho, v); }, 1e-4);
  if (is_sampled)
    hold_along("drho", less(grho.read(), 2), rho, [&](auto &v) { return loss(x, a, v, b); }, 1e-4);
  else CHECK(grho.read() == Values(R * K, 2));
}
}  // namespace

TEST("the mean of a low-rank term, and its gradients") {
  for (Type type : BOTH) run(type, false, NONE);
}
TEST("a term sampled by Flipout, and its gradients") {
  for (Type type : BOTH) run(type, true, OF_TOKENS);
}
TEST("a term whose rows share their draw, or the signs of their prompt, and its gradients") {
  run(Type::F32, true, NONE);
  run(Type::F32, true, OF_PROMPTS);
}
TEST("a term under dropout, at its mean and sampled, and its gradients") {
  run(Type::F32, false, NONE, 0.25f);
  run(Type::F32, true, OF_TOKENS, 0.25f);
}

int main() { return run_tests(); }
