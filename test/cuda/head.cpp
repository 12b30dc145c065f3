#include <algorithm>

#include "reference.h"

namespace {
constexpr unsigned B = 4, D = 70, V = 11, S = 10;
const std::vector<uint32_t> OFFSETS = {0, 3, 5, 9, 10}, ANSWERS = {4, 0, 7, 1, 10, 2, 2, 3, 9, 5};
const std::vector<uint32_t> PROMPTS = {0, 0, 0, 1, 1, 2, 2, 2, 2, 3};

Values logits(const Values &x, const Values &w) {
  Values z(S);
  for (size_t s = 0; s < S; s++)
    for (size_t i = 0; i < D; i++) z[s] += x[PROMPTS[s] * D + i] * w[ANSWERS[s] * D + i];
  return z;
}
}  // namespace

TEST("only the rows of answers are computed, and their gradient goes to the prompt") {
  Buffer<uint32_t> answers(ANSWERS), prompts(PROMPTS), offsets(OFFSETS);
  for (Type type : BOTH) {
    Values x = rounded(values(B * D, 1), type), w = rounded(values(V * D, 2), type);
    Values dz = rounded(values(S, 3), Type::F32);
    Tensor dx_(x, type), dw(w, type), z(S, Type::F32), ddz(dz, Type::F32), dx(B * D, type);
    Kernel("head", "answer_logits" + suffix(type))
        .launch({blocks_of(S * 32, 64)}, {64}, 0, dx_.address(), dw.address(), answers, prompts,
                z.address(), S, D);
    hold("z", z.read(), logits(x, w), 1e-5);
    Kernel("head", "answer_input" + suffix(type))
        .launch({B}, {64}, 0, ddz.address(), dw.address(), answers, offsets, dx.address(), D);
    auto f = [&](const Values &at) { return logits(at, w); };
    hold("dx", dx.read(), differences(f, x, dz), tolerance(type));
  }
}

TEST("a low-rank term of the head, of a group of rows, and its gradients") {
  constexpr unsigned R = 3, ROW = 1, ROWS = 3, FIRST = 3, COUNT = 7;
  constexpr float SCALING = 2;
  struct {
    uint32_t row, rows, first, count;
  } group = {ROW, ROWS, FIRST, COUNT};
  Values h = rounded(values(ROWS * R, 5), Type::F32), b = rounded(values(V * R, 6), Type::F32);
  Values dz = rounded(values(S, 7), Type::F32);
  auto of = [&](const Values &at_h, const Values &at_b) {
    Values z(S, 0.25);
    for (size_t s = FIRST; s < S; s++)
      for (size_t i = 0; i < R; i++)
        z[s] += SCALING * at_h[(PROMPTS[s] - ROW) * R + i] * at_b[ANSWERS[s] * R + i];
    return z;
  };
  const std::vector<uint32_t> distinct = {0, 1, 2, 3, 4, 5, 7, 9, 10};
  std::vector<uint32_t> which;
  for (uint32_t answer : ANSWERS)
    which.push_back(uint32_t(std::find(distinct.begin(), distinct.end(), answer) - distinct.begin()));
  Buffer<uint32_t> answers(ANSWERS), prompts(PROMPTS), offsets(OFFSETS), d(distinct), w(which);
  Tensor th(h, Type::F32), tb(b, Type::F32), tdz(dz, Type::F32), z(Values(S, 0.25), Type::F32);
  Tensor p(ROWS * R, Type::F32), db(Values(V * R, 1), Type::F32);
  Kernel("head", "answer_term")
      .launch({1}, {32}, 0, th.address(), tb.address(), answers, prompts, z.address(), group, R,
              SCALING);
  hold("z", z.read(), of(h, b), 1e-5);
  Kernel("head", "answer_back")
      .launch({1}, {32}, 0, tdz.address(), tb.address(), answers, offsets, p.address(), group, R,
              SCALING);
  hold("p", p.read(), differences([&](const Values &at) { return of(at, b); }, h, dz), 2e-5);
  Kernel("head", "answer_b")
      .launch({1}, {32}, 0, tdz.address(), th.address(), w, prompts, d, db.address(), group,
              unsigned(distinct.size()), R, SCALING);
  Values expected = differences([&](const Values &at) { return of(h, at); }, b, dz);
  for (double &value : expected) value += 1;
  hold("dB", db.read(), expected, 2e-5);
}

TEST("a soft cap, and its gradient") {
  constexpr float CAP = 1.5f;
  Values z = rounded(values(S, 8, 4), Type::F32), dy = rounded(values(S, 9), Type::F32);
  auto of = [&](const Values &at) {
    Values y;
    for (double v : at) y.push_back(CAP * std::tanh(v / CAP));
    return y;
  };
  Tensor tz(z, Type::F32), y(S, Type::F32), tdy(dy, Type::F32), dz(S, Type::F32);
  Kernel("head", "soft_cap").launch({1}, {32}, 0, tz.address(), y.address(), S, CAP);
  hold("y", y.read(), of(z), 1e-6);
  Kernel("head", "soft_cap_backward")
      .launch({1}, {32}, 0, y.address(), tdy.address(), dz.address(), S, CAP);
  hold("dz", dz.read(), differences(of, z, dy), 2e-5);
}

namespace {
constexpr unsigned SAMPLES = 3;
const std::vector<int32_t> ALL_LABELS = {2, 0, 1, 0};

// Σ nll over the rows, of one run of logits.
double loss_of(const Values &z) {
  double sum = 0;
  for (size_t b = 0; b < B; b++) {
    double total = 0;
    for (size_t s = OFFSETS[b]; s < OFFSETS[b + 1]; s++) total += std::exp(z[s]);
    sum += std::log(total) - z[OFFSETS[b] + size_t(ALL_LABELS[b])];
  }
  return sum;
}
Values mean_loss(const Values &z, bool is_of_mean) {
  Values mean(S);
  double sum = 0;
  for (size_t c = 0; c < SAMPLES; c++) {
    Values of(z.begin() + long(c * S), z.begin() + long((c + 1) * S));
    for (size_t s = 0; s < S; s++) mean[s] += of[s] / SAMPLES;
    sum += loss_of(of) / SAMPLES;
  }
  return {is_of_mean ? loss_of(mean) : sum};
}

struct Loss {
  Values sums, dz;
};
Loss loss(const Values &z, float weight, unsigned samples, bool is_of_mean) {
  Tensor tz(z, Type::F32), dz(z.size(), Type::F32);
  Buffer<uint32_t> offsets(OFFSETS);
  Buffer<int32_t> labels(ALL_LABELS);
  Buffer<double> losses(2 * B), sums(std::vector<double>{10, 20});
  Kernel("head", "cross_entropy")
      .launch({1}, {32}, 0, tz.address(), offsets, labels, weight, samples, unsigned(is_of_mean),
              losses, dz.address(), B);
  Kernel("head", "add_losses").launch({1}, {256}, 0, losses, B, sums);
  auto both = sums.read();
  return {{both[0] - 10, both[1] - 20}, dz.read()};
}
}  // namespace

TEST("cross-entropy of samples, of their mean or in the mean, and its gradient") {
  Values z = rounded(values(SAMPLES * S, 4, 3), Type::F32);
  for (bool is_of_mean : {true, false}) {
    Loss got = loss(z, 0.5f / SAMPLES, SAMPLES, is_of_mean);
    auto of = [&](const Values &at) { return mean_loss(at, is_of_mean); };
    hold("nll", {got.sums[0]}, of(z), 1e-6);
    hold("dz", got.dz, differences(of, z, {0.5}), 1e-6);
    double correct = 0;
    for (size_t b = 0; b < B; b++) {
      size_t best = OFFSETS[b];
      auto mean = [&](size_t s) { return z[s] + z[S + s] + z[2 * S + s]; };
      for (size_t s = OFFSETS[b]; s < OFFSETS[b + 1]; s++)
        if (mean(s) > mean(best)) best = s;
      correct += best == OFFSETS[b] + size_t(ALL_LABELS[b]);
    }
    CHECK(got.sums[1] == correct);
  }
}

TEST("ties go to the first, large logits stay finite, and one that is not makes the loss NaN") {
  Values z(S, 1e4);
  Loss got = loss(z, 1, 1, true);
  // Rows of 3, 2, 4 and 1 equal classes; the labels of two rows are the first.
  CHECK(std::abs(got.sums[0] - std::log(3.0 * 2 * 4)) < 1e-12 && got.sums[1] == 2);
  for (double poison : {double(INFINITY), -double(INFINITY), double(NAN)}) {
    Values bad = z;
    bad[6] = poison;
    CHECK(std::isnan(loss(bad, 1, 1, true).sums[0]));
  }
}

int main() { return run_tests(); }
