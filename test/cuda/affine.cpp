#include "reference.h"

namespace {
constexpr unsigned N = 5, K = 70, M = 3;

Values affine(const Values &x, const Values &w, const Values &b) {
  Values y(N * M);
  for (size_t n = 0; n < N; n++)
    for (size_t m = 0; m < M; m++) {
      y[n * M + m] = b[m];
      for (size_t k = 0; k < K; k++) y[n * M + m] += x[n * K + k] * w[m * K + k];
    }
  return y;
}
Values made(size_t count, unsigned seed) { return rounded(values(count, seed), Type::F32); }
}  // namespace

TEST("a layer of the adapter's own, and its gradients added to what is there") {
  Values x = made(N * K, 1), w = made(M * K, 2), b = made(M, 3), dy = made(N * M, 4);
  Tensor tx(x, Type::F32), tw(w, Type::F32), tb(b, Type::F32), tdy(dy, Type::F32);
  Tensor y(N * M, Type::F32), dx(N * K, Type::F32);
  Tensor dw(Values(M * K, 1), Type::F32), db(Values(M, 2), Type::F32);
  Kernel("affine", "affine")
      .launch({blocks_of(32 * N * M, 64)}, {64}, 0, tx.address(), tw.address(), tb.address(),
              y.address(), N, K, M);
  hold("y", y.read(), affine(x, w, b), 2e-5);
  Kernel("affine", "affine_input")
      .launch({blocks_of(N * K, 64)}, {64}, 0, tdy.address(), tw.address(), dx.address(), N, K, M);
  hold("dx", dx.read(), differences([&](auto &v) { return affine(v, w, b); }, x, dy), 2e-5);
  Kernel("affine", "affine_weight")
      .launch({blocks_of(M * K, 64)}, {64}, 0, tdy.address(), tx.address(), dw.address(),
              db.address(), N, K, M);
  Values of_w = differences([&](auto &v) { return affine(x, v, b); }, w, dy);
  Values of_b = differences([&](auto &v) { return affine(x, w, v); }, b, dy);
  for (double &v : of_w) v += 1;
  for (double &v : of_b) v += 2;
  hold("dW", dw.read(), of_w, 2e-5);
  hold("db", db.read(), of_b, 2e-5);
}

TEST("what lies between two layers, and its gradient") {
  constexpr size_t COUNT = 40;
  Values x = made(COUNT, 5), dy = made(COUNT, 6);
  for (unsigned is_relu : {0u, 1u}) {
    auto of = [&](const Values &at) {
      Values y;
      for (double v : at) y.push_back(is_relu ? std::max(v, 0.0) : std::tanh(v));
      return y;
    };
    Tensor tx(x, Type::F32), tdy(dy, Type::F32), y(COUNT, Type::F32), dx(COUNT, Type::F32);
    Kernel("affine", "head_activation")
        .launch({1}, {64}, 0, tx.address(), y.address(), COUNT, is_relu);
    hold("y", y.read(), of(x), 1e-6);
    Kernel("affine", "head_activation_backward")
        .launch({1}, {64}, 0, y.address(), tdy.address(), dx.address(), COUNT, is_relu);
    hold("dx", dx.read(), differences(of, x, dy), 2e-5);
  }
}

TEST("single values are picked, and their gradients put back, even for one picked twice") {
  Tensor x(Values{1, 2, 3, 4, 5, 6}, Type::F32), z(3, Type::F32), dz(Values{1, 2, 4}, Type::F32);
  Tensor dx(6, Type::F32);
  Buffer<uint32_t> at(std::vector<uint32_t>{1, 4, 1});
  Kernel("affine", "pick").launch({1}, {32}, 0, x.address(), at, z.address(), 3u);
  CHECK(z.read() == (Values{2, 5, 2}));
  Kernel("affine", "put").launch({1}, {32}, 0, dz.address(), at, dx.address(), 3u, 6u);
  CHECK(dx.read() == (Values{0, 5, 0, 0, 2, 0}));
}

int main() { return run_tests(); }
