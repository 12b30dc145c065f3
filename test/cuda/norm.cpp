#include "reference.h"

namespace {
constexpr unsigned N = 3, D = 70;
constexpr double EPS = 1e-5;

Values rms_norm(const Values &x, const Values &w) {
  Values y(x.size());
  for (size_t row = 0; row < x.size() / D; row++) {
    double squares = 0;
    for (size_t i = 0; i < D; i++) squares += x[row * D + i] * x[row * D + i];
    for (size_t i = 0; i < D; i++)
      y[row * D + i] = x[row * D + i] / std::sqrt(squares / D + EPS) * w[i];
  }
  return y;
}
Values layer_norm(const Values &x, const Values &w, const Values &b) {
  Values y(x.size());
  for (size_t row = 0; row < x.size() / D; row++) {
    double mean = 0, variance = 0;
    for (size_t i = 0; i < D; i++) mean += x[row * D + i] / D;
    for (size_t i = 0; i < D; i++) variance += std::pow(x[row * D + i] - mean, 2) / D;
    for (size_t i = 0; i < D; i++)
      y[row * D + i] = (x[row * D + i] - mean) / std::sqrt(variance + EPS) * w[i] + b[i];
  }
  return y;
}

struct Inputs {
  Values x = rounded(values(N * D, 1), Type::F32), w = rounded(values(D, 2), Type::F32),
         b = rounded(values(D, 3), Type::F32), dy = rounded(values(N * D, 4), Type::F32),
         addend = rounded(values(N * D, 5), Type::F32);
  Values with_addend(Values gradient) const {
    for (size_t i = 0; i < gradient.size(); i++) gradient[i] += addend[i];
    return gradient;
  }
};
const double CLOSE = tolerance(Type::F32);
}  // namespace

TEST("RMS norm is its equation, backward its gradient plus the addend") {
  Inputs in;
  Tensor x(in.x, Type::F32), w(in.w, Type::F32), dy(in.dy, Type::F32);
  Tensor addend(in.addend, Type::F32), y(N * D, Type::F32), dx(N * D, Type::F32);
  Kernel("norm", "rms_norm_f32")
      .launch({N}, {64}, 0, x.address(), w.address(), y.address(), D, float(EPS));
  hold("y", y.read(), rms_norm(in.x, in.w), CLOSE);
  Kernel back("norm", "rms_norm_backward_f32");
  auto f = [&](const Values &at) { return rms_norm(at, in.w); };
  Values gradient = differences(f, in.x, in.dy);
  back.launch({N}, {64}, 0, x.address(), w.address(), dy.address(), addend.address(), dx.address(),
              D, float(EPS));
  hold("dx", dx.read(), in.with_addend(gradient), CLOSE);
  back.launch({N}, {64}, 0, x.address(), w.address(), dy.address(), Address(0), dx.address(), D,
              float(EPS));
  hold("dx alone", dx.read(), gradient, CLOSE);
}

TEST("layer norm is its equation, backward its gradient plus the addend") {
  Inputs in;
  Tensor x(in.x, Type::F32), w(in.w, Type::F32), b(in.b, Type::F32), dy(in.dy, Type::F32);
  Tensor addend(in.addend, Type::F32), y(N * D, Type::F32), dx(N * D, Type::F32);
  Kernel("norm", "layer_norm_f32")
      .launch({N}, {64}, 0, x.address(), w.address(), b.address(), y.address(), D, float(EPS));
  hold("y", y.read(), layer_norm(in.x, in.w, in.b), CLOSE);
  Kernel("norm", "layer_norm_backward_f32")
      .launch({N}, {64}, 0, x.address(), w.address(), dy.address(), addend.address(), dx.address(),
              D, float(EPS));
  auto f = [&](const Values &at) { return layer_norm(at, in.w, in.b); };
  hold("dx", dx.read(), in.with_addend(differences(f, in.x, in.dy)), CLOSE);
}

TEST("a norm that rounds for a product gives the other's values, rounded") {
  Inputs in;
  Tensor x(in.x, Type::F32), w(in.w, Type::F32), b(in.b, Type::F32);
  Tensor y(N * D, Type::F32), less(N * D, Type::BF16);
  for (auto [name, to] : {std::pair{"rms_norm_f32", &y}, std::pair{"rms_norm_rounded", &less}})
    Kernel("norm", name)
        .launch({N}, {64}, 0, x.address(), w.address(), to->address(), D, float(EPS));
  CHECK(less.read() == rounded(y.read(), Type::BF16));
  for (auto [name, to] : {std::pair{"layer_norm_f32", &y}, std::pair{"layer_norm_rounded", &less}})
    Kernel("norm", name)
        .launch({N}, {64}, 0, x.address(), w.address(), b.address(), to->address(), D, float(EPS));
  CHECK(less.read() == rounded(y.read(), Type::BF16));
}

int main() { return run_tests(); }
