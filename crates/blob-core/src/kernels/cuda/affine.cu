// Layers of the adapter's own on a few rows, and what lies between and behind them.
//
//   affine           y = x·Wᵀ + b                     a warp per value
//   affine_input     dx = dy·W                        a thread per value
//   affine_weight    dW += dyᵀ·x    db += Σ_t dy_t    a thread per value of W, rows in order
//   head_activation  y = tanh x, or max(x, 0)         a thread per value, as is its adjoint
//   head_activation_backward  dx = dy·(1 − y²), or dy where y > 0, 0 elsewhere
//   pick             z_l = x_{at_l}                   put  dx_i = Σ_{l: at_l = i} dz_l, in order
//
// x, dx (n, k), y, dy (n, m), W (m, k), b (m); at (L): places in x as a run of values.
#include "values.cuh"

__device__ __forceinline__ size_t thread_index() {
  return size_t(blockIdx.x) * blockDim.x + threadIdx.x;
}

extern "C" __global__ void affine(const float *__restrict__ x, const float *__restrict__ w,
                                  const float *__restrict__ b, float *__restrict__ y, unsigned n,
                                  unsigned k, unsigned m) {
  size_t i = thread_index() / 32, row = i / m;
  if (row >= n) return;
  const float *of_x = x + row * k, *of_w = w + i % m * k;
  float sum = 0;
  for (unsigned j = threadIdx.x % 32; j < k; j += 32) sum += of_x[j] * of_w[j];
  sum = warp_sum(sum);
  if (threadIdx.x % 32 == 0) y[i] = sum + b[i % m];
}

extern "C" __global__ void affine_input(const float *__restrict__ dy, const float *__restrict__ w,
                                        float *__restrict__ dx, unsigned n, unsigned k,
                                        unsigned m) {
  size_t i = thread_index(), row = i / k;
  if (row >= n) return;
  float sum = 0;
  for (unsigned o = 0; o < m; o++) sum += dy[row * m + o] * w[size_t(o) * k + i % k];
  dx[i] = sum;
}

extern "C" __global__ void affine_weight(const float *__restrict__ dy, const float *__restrict__ x,
                                         float *__restrict__ dw, float *__restrict__ db,
                                         unsigned n, unsigned k, unsigned m) {
  size_t i = thread_index(), output = i / k;
  if (output >= m) return;
  float sum = 0, of_bias = 0;
  for (size_t row = 0; row < n; row++) {
    float d = dy[row * m + output];
    sum += d * x[row * k + i % k];
    of_bias += d;
  }
  dw[i] += sum;
  if (i % k == 0) db[output] += of_bias;
}

extern "C" __global__ void head_activation(const float *__restrict__ x, float *__restrict__ y,
                                           size_t count, unsigned is_relu) {
  size_t i = thread_index();
  if (i < count) y[i] = is_relu ? fmaxf(x[i], 0.0f) : tanhf(x[i]);
}
extern "C" __global__ void head_activation_backward(const float *__restrict__ y,
                                                    const float *__restrict__ dy,
                                                    float *__restrict__ dx, size_t count,
                                                    unsigned is_relu) {
  size_t i = thread_index();
  if (i >= count) return;
  float slope = is_relu ? (y[i] > 0 ? 1.0f : 0.0f) : 1.0f - y[i] * y[i];
  dx[i] = dy[i] * slope;
}

extern "C" __global__ void pick(const float *__restrict__ x, const uint32_t *__restrict__ at,
                                float *__restrict__ z, unsigned count) {
  size_t l = thread_index();
  if (l < count) z[l] = x[at[l]];
}
extern "C" __global__ void put(const float *__restrict__ dz, const uint32_t *__restrict__ at,
                               float *__restrict__ dx, unsigned count, unsigned values) {
  size_t i = thread_index();
  if (i >= values) return;
  float sum = 0;
  for (unsigned l = 0; l < count; l++)
    if (at[l] == i) sum += dz[l];
  dx[i] = sum;
}
