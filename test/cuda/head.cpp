#include "reference.h"

namespace {
constexpr unsigned B = 4, D = 70, V = 11, S = 10;
const std::vector<uint32_t> OFFSETS = {0, 3, 5, 9, 10}, ANSWERS = {4, 0, 7, 1, 10, 2, 2, 3, 9, 5};
const std::vector<uint32_t> PROMPTS = {0, 0, 0, 1, 1, 2, 2, 2, 2, 3};
const std::vector<int32_t> LABELS = {2, -1, 1, 0};

Values logits(const Values &x, const Values &w) {
  Values z(S);
  for (size_t s = 0; s < S; s++)
    for (size_t i = 0; i < D; i++) z[s] += x[PROMPTS[s] * D + i] * w[ANSWERS[s] * D + i];
  return z;
}
Values losses(const Values &z) {
  Values nll(B);
  for (size_t b = 0; b < B; b++) {
    double total = 0;
    for (size_t s = OFFSETS[b]; s < OFFSETS[b + 1]; s++) total += std::exp(z[s]);
    if (LABELS[b] >= 0) nll[b] = std::log(total) - z[OFFSETS[b] + size_t(LABELS[b])];
  }
  return nll;
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

TEST("cross-entropy, its probabilities and its weighted gradient; no label, no loss") {
  Values z = rounded(values(S, 4, 3), Type::F32), weight = {0.5, 3, -2, 1};
  Tensor dz(z, Type::F32), weights(weight, Type::F32), probs(S, Type::F32), out(S, Type::F32);
  Buffer<uint32_t> offsets(OFFSETS);
  Buffer<int32_t> labels(LABELS);
  Buffer<double> nll(B);
  Kernel("head", "cross_entropy")
      .launch({1}, {32}, 0, dz.address(), offsets, labels, weights.address(), nll, probs.address(),
              out.address(), B);
  hold("nll", nll.read(), losses(z), 1e-12);
  hold("dz", out.read(), differences(losses, z, weight), 1e-6);
  Values p = probs.read();
  for (size_t b = 0; b < B; b++) {
    double total = 0;
    for (size_t s = OFFSETS[b]; s < OFFSETS[b + 1]; s++) total += p[s];
    CHECK(std::abs(total - 1) < 1e-6);
  }
}

TEST("large logits stay finite") {
  Tensor z(Values{1e4, 1e4, -1e4}, Type::F32), weights(Values{1}, Type::F32);
  Tensor probs(3, Type::F32), dz(3, Type::F32);
  Buffer<uint32_t> offsets(std::vector<uint32_t>{0, 3});
  Buffer<int32_t> labels(std::vector<int32_t>{1});
  Buffer<double> nll(1);
  Kernel("head", "cross_entropy")
      .launch({1}, {32}, 0, z.address(), offsets, labels, weights.address(), nll, probs.address(),
              dz.address(), 1u);
  CHECK(std::abs(nll.read()[0] - std::log(2.0)) < 1e-12);
  CHECK(probs.read() == (Values{0.5, 0.5, 0}));
}

int main() { return run_tests(); }
