// RMS norm (arXiv:1910.07467) and layer norm (arXiv:1607.06450) with frozen weights; a block of
// whole warps for each of the n rows of width d.
//
//   RMS     s = 1/√(mean x² + ε)      y = x·s·w
//           dx = s·(g − x·s²·mean(g·x)) + addend                 g = w·dy
//   layer   s = 1/√(mean (x − μ)² + ε)   x̂ = (x − μ)·s   y = x̂·w + b
//           dx = s·(g − mean g − x̂·mean(g·x̂)) + addend
//
// Nothing is kept for the adjoint. x, w, b, y, dy, addend (or null), dx: f32 or bf16; sums in f32.
#include "values.cuh"

template <class T>
__device__ __forceinline__ float inverse_rms(const T *x, unsigned d, float eps, float *scratch) {
  float squares = 0;
  for (unsigned i = threadIdx.x; i < d; i += blockDim.x) {
    float v = to_float(x[i]);
    squares += v * v;
  }
  return rsqrtf(block_sum(squares, scratch) / d + eps);
}

template <class T>
__device__ __forceinline__ void rms_forward(const T *x, const T *w, T *y, unsigned d, float eps,
                                            float *scratch) {
  x += size_t(blockIdx.x) * d;
  y += size_t(blockIdx.x) * d;
  float s = inverse_rms(x, d, eps, scratch);
  for (unsigned i = threadIdx.x; i < d; i += blockDim.x)
    y[i] = from_float<T>(to_float(x[i]) * s * to_float(w[i]));
}

template <class T>
__device__ __forceinline__ float addend_at(const T *addend, size_t i) {
  return addend ? to_float(addend[i]) : 0.0f;
}

template <class T>
__device__ __forceinline__ void rms_backward(const T *x, const T *w, const T *dy, const T *addend,
                                             T *dx, unsigned d, float eps, float *scratch) {
  size_t base = size_t(blockIdx.x) * d;
  float s = inverse_rms(x + base, d, eps, scratch), dot = 0;
  for (unsigned i = threadIdx.x; i < d; i += blockDim.x)
    dot += to_float(w[i]) * to_float(dy[base + i]) * to_float(x[base + i]);
  float mean = block_sum(dot, scratch) / d;
  for (unsigned i = threadIdx.x; i < d; i += blockDim.x) {
    float g = to_float(w[i]) * to_float(dy[base + i]);
    float gradient = s * (g - to_float(x[base + i]) * s * s * mean);
    dx[base + i] = from_float<T>(gradient + addend_at(addend, base + i));
  }
}

struct Moments {
  float mean, inverse;
};

template <class T>
__device__ __forceinline__ Moments moments(const T *x, unsigned d, float eps, float *scratch) {
  float sum = 0, squares = 0;
  for (unsigned i = threadIdx.x; i < d; i += blockDim.x) sum += to_float(x[i]);
  float mean = block_sum(sum, scratch) / d;
  for (unsigned i = threadIdx.x; i < d; i += blockDim.x) {
    float v = to_float(x[i]) - mean;
    squares += v * v;
  }
  return {mean, rsqrtf(block_sum(squares, scratch) / d + eps)};
}

template <class T>
__device__ __forceinline__ void layer_forward(const T *x, const T *w, const T *b, T *y, unsigned d,
                                              float eps, float *scratch) {
  x += size_t(blockIdx.x) * d;
  y += size_t(blockIdx.x) * d;
  Moments m = moments(x, d, eps, scratch);
  for (unsigned i = threadIdx.x; i < d; i += blockDim.x)
    y[i] = from_float<T>((to_float(x[i]) - m.mean) * m.inverse * to_float(w[i]) + to_float(b[i]));
}

template <class T>
__device__ __forceinline__ void layer_backward(const T *x, const T *w, const T *dy, const T *addend,
                                               T *dx, unsigned d, float eps, float *scratch) {
  size_t base = size_t(blockIdx.x) * d;
  Moments m = moments(x + base, d, eps, scratch);
  float sum = 0, dot = 0;
  for (unsigned i = threadIdx.x; i < d; i += blockDim.x) {
    float g = to_float(w[i]) * to_float(dy[base + i]);
    sum += g;
    dot += g * (to_float(x[base + i]) - m.mean) * m.inverse;
  }
  float mean_g = block_sum(sum, scratch) / d, mean_gx = block_sum(dot, scratch) / d;
  for (unsigned i = threadIdx.x; i < d; i += blockDim.x) {
    float g = to_float(w[i]) * to_float(dy[base + i]);
    float normal = (to_float(x[base + i]) - m.mean) * m.inverse;
    float gradient = m.inverse * (g - mean_g - normal * mean_gx);
    dx[base + i] = from_float<T>(gradient + addend_at(addend, base + i));
  }
}

#define ENTRIES(T, suffix)                                                                        \
  extern "C" __global__ void rms_norm_##suffix(const T *__restrict__ x, const T *__restrict__ w,  \
                                               T *__restrict__ y, unsigned d, float eps) {        \
    __shared__ float scratch[32];                                                                 \
    rms_forward(x, w, y, d, eps, scratch);                                                        \
  }                                                                                               \
  extern "C" __global__ void rms_norm_backward_##suffix(                                          \
      const T *__restrict__ x, const T *__restrict__ w, const T *__restrict__ dy,                 \
      const T *__restrict__ addend, T *__restrict__ dx, unsigned d, float eps) {                  \
    __shared__ float scratch[32];                                                                 \
    rms_backward(x, w, dy, addend, dx, d, eps, scratch);                                          \
  }                                                                                               \
  extern "C" __global__ void layer_norm_##suffix(const T *__restrict__ x, const T *__restrict__ w,\
                                                 const T *__restrict__ b, T *__restrict__ y,      \
                                                 unsigned d, float eps) {                         \
    __shared__ float scratch[32];                                                                 \
    layer_forward(x, w, b, y, d, eps, scratch);                                                   \
  }                                                                                               \
  extern "C" __global__ void layer_norm_backward_##suffix(                                        \
      const T *__restrict__ x, const T *__restrict__ w, const T *__restrict__ dy,                 \
      const T *__restrict__ addend, T *__restrict__ dx, unsigned d, float eps) {                  \
    __shared__ float scratch[32];                                                                 \
    layer_backward(x, w, dy, addend, dx, d, eps, scratch);                                        \
  }
ENTRIES(float, f32)
ENTRIES(bf16, bf16)
