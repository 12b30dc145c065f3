// RMS norm (arXiv:1910.07467) and layer norm (arXiv:1607.06450) with frozen weights; a block of
// whole warps for each of the n rows of width d.
//
//   RMS     s = 1/√(mean x² + ε)      y = x·s·w
//           dx = s·(g − x·s²·mean(g·x)) + addend                 g = w·dy
//   layer   s = 1/√(mean (x − μ)² + ε)   x̂ = (x − μ)·s   y = x̂·w + b
//           dx = s·(g − mean g − x̂·mean(g·x̂)) + addend
//
// Nothing is kept for the adjoint. Values are f32, and y is rounded to bf16 for products where a
// kernel is _rounded; addend may be null.
#include "values.cuh"

__device__ __forceinline__ float inverse_rms(const float *x, unsigned d, float eps,
                                             float *scratch) {
  float squares = 0;
  for (unsigned i = threadIdx.x; i < d; i += blockDim.x) {
    float v = x[i];
    squares += v * v;
  }
  return rsqrtf(block_sum(squares, scratch) / d + eps);
}

template <class Y>
__device__ __forceinline__ void rms_forward(const float *x, const float *w, Y *y, unsigned d,
                                            float eps, float *scratch) {
  x += size_t(blockIdx.x) * d;
  y += size_t(blockIdx.x) * d;
  float s = inverse_rms(x, d, eps, scratch);
  for (unsigned i = threadIdx.x; i < d; i += blockDim.x)
    y[i] = from_float<Y>(x[i] * s * w[i]);
}

__device__ __forceinline__ float addend_at(const float *addend, size_t i) {
  return addend ? addend[i] : 0.0f;
}

__device__ __forceinline__ void rms_backward(const float *x, const float *w, const float *dy,
                                             const float *addend, float *dx, unsigned d, float eps,
                                             float *scratch) {
  size_t base = size_t(blockIdx.x) * d;
  float s = inverse_rms(x + base, d, eps, scratch), dot = 0;
  for (unsigned i = threadIdx.x; i < d; i += blockDim.x)
    dot += w[i] * dy[base + i] * x[base + i];
  float mean = block_sum(dot, scratch) / d;
  for (unsigned i = threadIdx.x; i < d; i += blockDim.x) {
    float g = w[i] * dy[base + i];
    float gradient = s * (g - x[base + i] * s * s * mean);
    dx[base + i] = gradient + addend_at(addend, base + i);
  }
}

struct Moments {
  float mean, inverse;
};

__device__ __forceinline__ Moments moments(const float *x, unsigned d, float eps, float *scratch) {
  float sum = 0, squares = 0;
  for (unsigned i = threadIdx.x; i < d; i += blockDim.x) sum += x[i];
  float mean = block_sum(sum, scratch) / d;
  for (unsigned i = threadIdx.x; i < d; i += blockDim.x) {
    float v = x[i] - mean;
    squares += v * v;
  }
  return {mean, rsqrtf(block_sum(squares, scratch) / d + eps)};
}

template <class Y>
__device__ __forceinline__ void layer_forward(const float *x, const float *w, const float *b, Y *y,
                                              unsigned d, float eps, float *scratch) {
  x += size_t(blockIdx.x) * d;
  y += size_t(blockIdx.x) * d;
  Moments m = moments(x, d, eps, scratch);
  for (unsigned i = threadIdx.x; i < d; i += blockDim.x)
    y[i] = from_float<Y>((x[i] - m.mean) * m.inverse * w[i] + b[i]);
}

__device__ __forceinline__ void layer_backward(const float *x, const float *w, const float *dy,
                                               const float *addend, float *dx, unsigned d,
                                               float eps, float *scratch) {
  size_t base = size_t(blockIdx.x) * d;
  Moments m = moments(x + base, d, eps, scratch);
  float sum = 0, dot = 0;
  for (unsigned i = threadIdx.x; i < d; i += blockDim.x) {
    float g = w[i] * dy[base + i];
    sum += g;
    dot += g * (x[base + i] - m.mean) * m.inverse;
  }
  float mean_g = block_sum(sum, scratch) / d, mean_gx = block_sum(dot, scratch) / d;
  for (unsigned i = threadIdx.x; i < d; i += blockDim.x) {
    float g = w[i] * dy[base + i];
    float normal = (x[base + i] - m.mean) * m.inverse;
    float gradient = m.inverse * (g - mean_g - normal * mean_gx);
    dx[base + i] = gradient + addend_at(addend, base + i);
  }
}

#define FORWARD(Y, name)                                                                     \
  extern "C" __global__ void rms_norm_##name(const float *__restrict__ x,                      \
                                             const float *__restrict__ w, Y *__restrict__ y,   \
                                             unsigned d, float eps) {                          \
    __shared__ float scratch[32];                                                              \
    rms_forward(x, w, y, d, eps, scratch);                                                     \
  }                                                                                            \
  extern "C" __global__ void layer_norm_##name(const float *__restrict__ x,                    \
                                               const float *__restrict__ w,                    \
                                               const float *__restrict__ b, Y *__restrict__ y, \
                                               unsigned d, float eps) {                        \
    __shared__ float scratch[32];                                                              \
    layer_forward(x, w, b, y, d, eps, scratch);                                                \
  }
FORWARD(float, f32)
FORWARD(bf16, rounded)

extern "C" __global__ void rms_norm_backward_f32(const float *__restrict__ x,
                                                 const float *__restrict__ w,
                                                 const float *__restrict__ dy,
                                                 const float *__restrict__ addend,
                                                 float *__restrict__ dx, unsigned d, float eps) {
  __shared__ float scratch[32];
  rms_backward(x, w, dy, addend, dx, d, eps, scratch);
}
extern "C" __global__ void layer_norm_backward_f32(const float *__restrict__ x,
                                                   const float *__restrict__ w,
                                                   const float *__restrict__ dy,
                                                   const float *__restrict__ addend,
                                                   float *__restrict__ dx, unsigned d, float eps) {
  __shared__ float scratch[32];
  layer_backward(x, w, dy, addend, dx, d, eps, scratch);
}
