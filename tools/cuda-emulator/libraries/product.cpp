#include "product.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <vector>

#include "../device/cuda_host.h"
#include "../driver/activity.h"

namespace {
enum { R_32F = 0, R_64F = 1, R_16F = 2, R_16BF = 14 };

template <class T>
T load(const void *p, int type, size_t i) {
  switch (type) {
    case R_32F: return T(static_cast<const float *>(p)[i]);
    case R_64F: return T(static_cast<const double *>(p)[i]);
    case R_16F: return T(emu_half_value(static_cast<const uint16_t *>(p)[i]));
    default: return T(emu_bf16_value(static_cast<const uint16_t *>(p)[i]));
  }
}
template <class T>
void store(void *p, int type, size_t i, T value) {
  switch (type) {
    case R_32F: static_cast<float *>(p)[i] = float(value); break;
    case R_64F: static_cast<double *>(p)[i] = double(value); break;
    case R_16F: static_cast<uint16_t *>(p)[i] = emu_half_bits(float(value)); break;
    default: static_cast<uint16_t *>(p)[i] = emu_bf16_bits(float(value));
  }
}

const char *batch_of(const Operand &x, int batch) {
  return static_cast<const char *>(x.p) + batch * x.stride * (long long)bytes_of(x.type);
}

template <class T>
T finish(const Product &p, T value, int row) {
  if (p.epilogue & 4) value += load<T>(p.bias.p, p.bias.type, size_t(row));
  if (p.epilogue & 2) value = value > 0 ? value : T(0);
  if (p.epilogue & 32) {  // GELU by tanh, as cublasLt computes it
    T inner = T(0.7978845608028654) * (value + T(0.044715) * value * value * value);
    value = T(0.5) * value * (1 + std::tanh(inner));
  }
  return value;
}

template <class T>
void multiply(const Product &p) {
  std::vector<T> a(size_t(p.m) * p.k), column(size_t(p.m)), part(size_t(p.m));
  const int chunk = p.chunk ? p.chunk : algorithm_for(p.n);
  for (int batch = 0; batch < p.batch; batch++) {
    auto *from_a = batch_of(p.a, batch), *from_b = batch_of(p.b, batch);
    auto *from_c = batch_of(p.c, batch);
    auto *to = const_cast<char *>(batch_of(p.d, batch));
    for (int l = 0; l < p.k; l++)
      for (int i = 0; i < p.m; i++) {
        size_t at = p.is_a_transposed ? size_t(i) * p.a.ld + l : size_t(l) * p.a.ld + i;
        a[size_t(l) * p.m + i] = load<T>(from_a, p.a.type, at);
      }
    for (int j = 0; j < p.n; j++) {
      std::fill(column.begin(), column.end(), T(0));
      for (int first = 0; first < p.k; first += chunk) {
        std::fill(part.begin(), part.end(), T(0));
        for (int l = first; l < std::min(first + chunk, p.k); l++) {
          size_t at = p.is_b_transposed ? size_t(l) * p.b.ld + j : size_t(j) * p.b.ld + l;
          T b = load<T>(from_b, p.b.type, at);
          const T *panel = a.data() + size_t(l) * p.m;
          for (int i = 0; i < p.m; i++) part[i] += panel[i] * b;
        }
        for (int i = 0; i < p.m; i++) column[i] += part[i];
      }
      for (int i = 0; i < p.m; i++) {
        T before = T(0);  // β = 0: c may hold NaNs
        if (p.beta != 0) before = T(p.beta) * load<T>(from_c, p.c.type, size_t(j) * p.c.ld + i);
        store<T>(to, p.d.type, size_t(j) * p.d.ld + i,
                 finish(p, T(p.alpha) * column[i] + before, i));
      }
      emu_written(to + size_t(j) * p.d.ld * bytes_of(p.d.type), p.m * bytes_of(p.d.type));
    }
  }
}

size_t extent(bool is_transposed, int rows, int columns, int ld) {
  return is_transposed ? size_t(rows - 1) * ld + columns : size_t(columns - 1) * ld + rows;
}
bool is_inside(const Operand &x, size_t values, int batch) {
  return emu_is_device(x.p, (values + size_t(batch - 1) * x.stride) * bytes_of(x.type));
}

int run(void *data) {
  auto &p = *static_cast<Product *>(data);
  emu_count_product(p.m, p.n, p.k, p.batch, int(bytes_of(p.a.type)));
  if (emu_is_sketch()) return 0;
  Activity activity(KERNEL, "product");
  p.is_double ? multiply<double>(p) : multiply<float>(p);
  return 0;
}
}  // namespace

size_t bytes_of(int type) { return type == R_64F ? 8 : type == R_32F ? 4 : 2; }
bool is_type(int type) {
  return type == R_32F || type == R_64F || type == R_16F || type == R_16BF;
}
int algorithm_for(int n) { return n <= 16 ? 4 : n <= 64 ? 8 : n <= 512 ? 16 : 32; }
double scalar_at(const void *p, int type) { return load<double>(p, type, 0); }

int submit_product(void *stream, const Product &p) {
  enum { INVALID_VALUE = 7, EXECUTION_FAILED = 13 };
  if (!p.m || !p.n || !p.batch) return 0;
  bool holds = is_inside(p.a, extent(p.is_a_transposed, p.m, p.k, p.a.ld), p.batch) &&
               is_inside(p.b, extent(p.is_b_transposed, p.k, p.n, p.b.ld), p.batch) &&
               is_inside(p.d, extent(false, p.m, p.n, p.d.ld), p.batch) &&
               (p.beta == 0 || is_inside(p.c, extent(false, p.m, p.n, p.c.ld), p.batch)) &&
               (!(p.epilogue & 4) || is_inside(p.bias, size_t(p.m), 1));
  if (!holds) {
    fprintf(stderr, "cuda-emu: a matrix of a product leaves its allocation\n");
    return INVALID_VALUE;
  }
  auto release = [](void *data) { delete static_cast<Product *>(data); };
  return emu_submit(stream, run, new Product(p), release) ? EXECUTION_FAILED : 0;
}
