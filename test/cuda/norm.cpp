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
  Values x, w, b, dy, addend;
  explicit Inputs(Type type)
      : x(rounded(values(N * D, 1), type)), w(rounded(values(D, 2), type)),
        b(rounded(values(D, 3), type)), dy(rounded(values(N * D, 4), type)),
        addend(rounded(values(N * D, 5), type)) {}
  Values with_addend(Values gradient) const {
    for (size_t i = 0; i < gradient.size(); i++) gradient[i] += addend[i];
    return gradient;
  }
};
}  // namespace

TEST("RMS norm is its equation, backward its gradient plus the addend") {
  for (Type type : BOTH) {
    Inputs in(type);
    Tensor x(in.x, type), w(in.w, type), dy(in.dy, type), addend(in.addend, type);
    Tensor y(N * D, type), dx(N * D, type);
    Kernel("norm", "rms_norm" + suffix(type))
        .launch({N}, {64}, 0, x.address(), w.address(), y.address(), D, float(EPS));
    hold("y", y.read(), rms_norm(in.x, in.w), tolerance(type));
    Kernel back("norm", "rms_norm_backward" + suffix(type));
    auto f = [&](const Values &at) { return rms_norm(at, in.w); };
    Values gradient = differences(f, in.x, in.dy);
    back.launch({N}, {64}, 0, x.address(), w.address(), dy.address(), addend.address(),
                dx.address(), D, float(EPS));
    hold("dx", dx.read(), in.with_addend(gradient), tolerance(type));
    back.launch({N}, {64}, 0, x.address(), w.address(), dy.address(), Address(0), dx.address(), D,
                float(EPS));
    hold("dx alone", dx.read(), gradient, tolerance(type));
  }
}

TEST("layer norm is its equation, backward its gradient plus the addend") {
  for (Type type : BOTH) {
    Inputs in(type);
    Tensor x(in.x, type), w(in.w, type), b(in.b, type), dy(in.dy, type), addend(in.addend, type);
    Tensor y(N * D, type), dx(N * D, type);
    Kernel("norm", "layer_norm" + suffix(type))
        .launch({N}, {64}, 0, x.address(), w.address(), b.address(), y.address(), D, float(EPS));
    hold("y", y.read(), layer_norm(in.x, in.w, in.b), tolerance(type));
    Kernel("norm", "layer_norm_backward" + suffix(type))
        .launch({N}, {64}, 0, x.address(), w.address(), dy.address(), addend.address(),
                dx.address(), D, float(EPS));
    auto f = [&](const Values &at) { return layer_norm(at, in.w, in.b); };
    hold("dx", dx.read(), in.with_addend(differences(f, in.x, in.dy)), tolerance(type));
  }
}

int main() { return run_tests(); }
