// cuBLAS and cuBLASLt against sums in double precision.
#include "cuda.h"

extern "C" {
int cublasCreate_v2(void **);
int cublasDestroy_v2(void *);
int cublasGemmStridedBatchedEx(void *, int, int, int, int, int, const void *, const void *, int,
                               int, long long, const void *, int, int, long long, const void *,
                               void *, int, int, long long, int, int, int);
int cublasLtCreate(void **);
int cublasLtMatmulDescCreate(void **, int, int);
int cublasLtMatmulDescSetAttribute(void *, int, const void *, size_t);
int cublasLtMatrixLayoutCreate(void **, int, uint64_t, uint64_t, int64_t);
int cublasLtMatrixLayoutSetAttribute(void *, int, const void *, size_t);
int cublasLtMatmulPreferenceCreate(void **);
int cublasLtMatmulPreferenceSetAttribute(void *, int, const void *, size_t);
int cublasLtMatmulAlgoGetHeuristic(void *, void *, void *, void *, void *, void *, void *, int,
                                   void *, int *);
int cublasLtMatmul(void *, void *, const void *, const void *, void *, const void *, void *,
                   const void *, const void *, void *, void *, void *, const void *, void *,
                   size_t, void *);
}

namespace {
constexpr int M = 5, N = 7, K = 9, BATCH = 2;
constexpr int F32 = 0, COMPUTE_F32 = 68;

std::vector<float> values(size_t count, int seed) {
  std::vector<float> made(count);
  for (size_t i = 0; i < count; i++) made[i] = float(std::sin(double(i) * 1.7 + seed));
  return made;
}
// aᵀ·b, column-major: a (K, M), b (K, N).
double product(const std::vector<float> &a, const std::vector<float> &b, size_t batch, int i,
               int j) {
  double sum = 0;
  for (int l = 0; l < K; l++)
    sum += double(a[batch * K * M + size_t(i * K + l)]) * b[batch * K * N + size_t(j * K + l)];
  return sum;
}
bool is_near(double got, double expected) { return std::abs(got - expected) < 1e-5; }
}  // namespace

TEST("a batched product by cuBLAS is the sum, and beta 0 does not read what was there") {
  void *handle;
  REQUIRE(cublasCreate_v2(&handle));
  auto a = values(BATCH * K * M, 1), b = values(BATCH * K * N, 2);
  Buffer<float> da(a), db(b), dc(size_t(BATCH) * M * N);
  float alpha = 0.5f, beta = 0;
  auto p = [](const Buffer<float> &x) { return reinterpret_cast<void *>(x.address()); };
  REQUIRE(cublasGemmStridedBatchedEx(handle, 1, 0, M, N, K, &alpha, p(da), F32, K, K * M, p(db),
                                     F32, K, K * N, &beta, p(dc), F32, M, M * N, BATCH,
                                     COMPUTE_F32, -1));
  REQUIRE(cuCtxSynchronize());
  auto c = dc.read();
  for (size_t batch = 0; batch < BATCH; batch++)
    for (int j = 0; j < N; j++)
      for (int i = 0; i < M; i++)
        CHECK(is_near(c[batch * M * N + size_t(j * M + i)], 0.5 * product(a, b, batch, i, j)));
  REQUIRE(cublasDestroy_v2(handle));
}

TEST("a product whose matrix leaves its allocation is refused") {
  void *handle;
  REQUIRE(cublasCreate_v2(&handle));
  Buffer<float> a(K * M - 1), b(K * N), c(M * N);
  float alpha = 1, beta = 0;
  auto p = [](const Buffer<float> &x) { return reinterpret_cast<void *>(x.address()); };
  CHECK(cublasGemmStridedBatchedEx(handle, 1, 0, M, N, K, &alpha, p(a), F32, K, 0, p(b), F32, K, 0,
                                   &beta, p(c), F32, M, 0, 1, COMPUTE_F32, -1) == 7);
}

TEST("a product by cuBLASLt adds what it finds and a bias, and cuts off below zero") {
  void *handle, *desc, *la, *lb, *lc, *preference;
  REQUIRE(cublasLtCreate(&handle));
  REQUIRE(cublasLtMatmulDescCreate(&desc, COMPUTE_F32, F32));
  int32_t transposed = 1;
  uint32_t relu_bias = 6;
  auto a = values(K * M, 3), b = values(K * N, 4), c = values(M * N, 5), bias = values(M, 6);
  Buffer<float> da(a), db(b), dc(c), dd(M * N), dbias(bias);
  Address bias_address = dbias.address();
  REQUIRE(cublasLtMatmulDescSetAttribute(desc, 3, &transposed, sizeof transposed));
  REQUIRE(cublasLtMatmulDescSetAttribute(desc, 7, &relu_bias, sizeof relu_bias));
  REQUIRE(cublasLtMatmulDescSetAttribute(desc, 8, &bias_address, sizeof bias_address));
  REQUIRE(cublasLtMatrixLayoutCreate(&la, F32, K, M, K));
  REQUIRE(cublasLtMatrixLayoutCreate(&lb, F32, K, N, K));
  REQUIRE(cublasLtMatrixLayoutCreate(&lc, F32, M, N, M));
  REQUIRE(cublasLtMatmulPreferenceCreate(&preference));
  char heuristics[256];
  int found = 0;
  REQUIRE(cublasLtMatmulAlgoGetHeuristic(handle, desc, la, lb, lc, lc, preference, 1, heuristics,
                                         &found));
  CHECK(found == 1);
  float alpha = 2, beta = -1;
  auto p = [](const Buffer<float> &x) { return reinterpret_cast<void *>(x.address()); };
  REQUIRE(cublasLtMatmul(handle, desc, &alpha, p(da), la, p(db), lb, &beta, p(dc), lc, p(dd), lc,
                         heuristics, nullptr, 0, nullptr));
  REQUIRE(cuCtxSynchronize());
  auto d = dd.read();
  for (int j = 0; j < N; j++)
    for (int i = 0; i < M; i++) {
      size_t at = size_t(j * M + i);
      double sum = 2 * product(a, b, 0, i, j) - double(c[at]) + double(bias[size_t(i)]);
      CHECK(is_near(d[at], std::max(sum, 0.0)));
    }
}

TEST("a product by cuBLASLt whose shapes do not fit is refused") {
  void *handle, *desc, *la, *lb, *lc, *preference;
  REQUIRE(cublasLtCreate(&handle));
  REQUIRE(cublasLtMatmulDescCreate(&desc, COMPUTE_F32, F32));
  REQUIRE(cublasLtMatrixLayoutCreate(&la, F32, M, K, M));
  REQUIRE(cublasLtMatrixLayoutCreate(&lb, F32, K + 1, N, K + 1));
  REQUIRE(cublasLtMatrixLayoutCreate(&lc, F32, M, N, M));
  REQUIRE(cublasLtMatmulPreferenceCreate(&preference));
  char heuristics[256];
  int found = 1;
  CHECK(cublasLtMatmulAlgoGetHeuristic(handle, desc, la, lb, lc, lc, preference, 1, heuristics,
                                       &found) == 7);
  CHECK(found == 0);
}

// The first column of aᵀ·b (M, n) with sums of 100, by the algorithm that is chosen for
// `chosen_for` columns; 0: cuBLAS chooses by n.
std::vector<float> first_column(int n, int chosen_for, uint32_t schemes = 0) {
  constexpr int INNER = 100;
  auto a = values(INNER * M, 7), b = values(size_t(INNER * n), 8);
  Buffer<float> da(a), db(b), dc(size_t(M * n));
  auto p = [](const Buffer<float> &x) { return reinterpret_cast<void *>(x.address()); };
  float alpha = 1, beta = 0;
  void *handle, *desc, *la, *preference;
  if (!chosen_for) {
    REQUIRE(cublasCreate_v2(&handle));
    REQUIRE(cublasGemmStridedBatchedEx(handle, 1, 0, M, n, INNER, &alpha, p(da), F32, INNER, 0,
                                       p(db), F32, INNER, 0, &beta, p(dc), F32, M, 0, 1,
                                       COMPUTE_F32, -1));
  } else {
    REQUIRE(cublasLtCreate(&handle));
    REQUIRE(cublasLtMatmulDescCreate(&desc, COMPUTE_F32, F32));
    int32_t transposed = 1;
    REQUIRE(cublasLtMatmulDescSetAttribute(desc, 3, &transposed, sizeof transposed));
    REQUIRE(cublasLtMatrixLayoutCreate(&la, F32, INNER, M, INNER));
    REQUIRE(cublasLtMatmulPreferenceCreate(&preference));
    REQUIRE(cublasLtMatmulPreferenceSetAttribute(preference, 3, &schemes, sizeof schemes));
    char heuristics[256];
    for (int columns : {chosen_for, n}) {
      void *lb, *lc;
      REQUIRE(cublasLtMatrixLayoutCreate(&lb, F32, INNER, uint64_t(columns), INNER));
      REQUIRE(cublasLtMatrixLayoutCreate(&lc, F32, M, uint64_t(columns), M));
      int found = 0;
      if (columns == chosen_for)
        REQUIRE(cublasLtMatmulAlgoGetHeuristic(handle, desc, la, lb, lc, lc, preference, 1,
                                               heuristics, &found));
      if (columns == n)
        REQUIRE(cublasLtMatmul(handle, desc, &alpha, p(da), la, p(db), lb, &beta, p(dc), lc, p(dc),
                               lc, heuristics, nullptr, 0, nullptr));
    }
  }
  REQUIRE(cuCtxSynchronize());
  auto c = dc.read();
  return {c.begin(), c.begin() + M};
}

TEST("who chooses by the size gets other bits for more columns, who fixes an algorithm the same") {
  CHECK(first_column(3, 0) != first_column(70, 0));
  CHECK(first_column(3, 3) != first_column(3, 70));
  CHECK(first_column(3, 70) == first_column(70, 70));
  CHECK(first_column(3, 70, 7) != first_column(3, 70));
}

int main() { return run_tests(); }
