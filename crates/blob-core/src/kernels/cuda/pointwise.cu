// Operations on each value alone: activations, gates, rotary positions, rows of a matrix, sums.
//
//   activation  y = φ(x)            dx = dy ∘ φ′(x)                         count values
//             φ: 0 x·Φ(x), 1 its form by tanh (arXiv:1606.08415), 2 x·σ(x)
//   gated     y = φ(g) ∘ u          dg = dy ∘ u ∘ φ′(g)    du = dy ∘ φ(g)   (arXiv:2002.05202)
//   rope      y_i       = x_i·cos φ − x_{i+c/2}·sin φ                (arXiv:2104.09864)
//             y_{i+c/2} = x_{i+c/2}·cos φ + x_i·sin φ   the adjoint: direction −1
//             x, y (n, H·c); positions (n); cos, sin (positions, c/2); a thread per pair
//   gather    y (n, d) = x[rows]                        a thread per value
//   scatter   y_{rows_b} = x_b, x (n, d); each row is named once, y is zero before
//   sum       z = x + y, count values                   add_to_rows   y (n, d) += b (d)
//   to_bf16   y = x rounded to bf16                     to_f32        y = x
//
// Values f32, y may be x in rope. gated_rounded rounds y for a product in bf16, and g and u, unless
// null, for gated_rounded_backward, which rounds dg and du; both compute in f32.
#include "values.cuh"

__device__ __forceinline__ size_t thread_index() {
  return size_t(blockIdx.x) * blockDim.x + threadIdx.x;
}

struct Curve {
  float value, slope;
};
__device__ __forceinline__ Curve activated(float x, unsigned kind) {
  if (kind == 0) {
    float phi = 0.5f * erfcf(-0.70710678f * x), density = 0.39894228f * expf(-0.5f * x * x);
    return {x * phi, phi + x * density};
  }
  if (kind == 1) {
    float t = tanhf(0.79788456f * (x + 0.044715f * x * x * x)), half = 0.5f * (1.0f + t);
    float slope = 0.79788456f * (1.0f + 0.134145f * x * x);
    return {x * half, half + 0.5f * x * (1.0f - t * t) * slope};
  }
  float s = 1.0f / (1.0f + expf(-x));
  return {x * s, s * (1.0f + x * (1.0f - s))};
}

extern "C" __global__ void activation_f32(const float *__restrict__ x, float *__restrict__ y,
                                          size_t count, unsigned kind) {
  size_t i = thread_index();
  if (i < count) y[i] = activated(x[i], kind).value;
}
extern "C" __global__ void activation_backward_f32(const float *__restrict__ x,
                                                   const float *__restrict__ dy,
                                                   float *__restrict__ dx, size_t count,
                                                   unsigned kind) {
  size_t i = thread_index();
  if (i < count) dx[i] = dy[i] * activated(x[i], kind).slope;
}

extern "C" __global__ void gated_f32(const float *__restrict__ gate, const float *__restrict__ up,
                                     float *__restrict__ y, size_t count, unsigned kind) {
  size_t i = thread_index();
  if (i < count) y[i] = activated(gate[i], kind).value * up[i];
}
extern "C" __global__ void gated_rounded(const float *__restrict__ gate,
                                         const float *__restrict__ up, bf16 *__restrict__ y,
                                         bf16 *__restrict__ kept_gate, bf16 *__restrict__ kept_up,
                                         size_t count, unsigned kind) {
  size_t i = thread_index();
  if (i >= count) return;
  float g = gate[i], u = up[i];
  y[i] = from_float<bf16>(activated(g, kind).value * u);
  if (kept_gate == nullptr) return;
  kept_gate[i] = from_float<bf16>(g);
  kept_up[i] = from_float<bf16>(u);
}

template <class T>
__device__ __forceinline__ void gated_back(const T *gate, const T *up, const float *dy, T *d_gate,
                                           T *d_up, size_t count, unsigned kind) {
  size_t i = thread_index();
  if (i >= count) return;
  Curve at = activated(to_float(gate[i]), kind);
  float d = dy[i];
  d_gate[i] = from_float<T>(d * to_float(up[i]) * at.slope);
  d_up[i] = from_float<T>(d * at.value);
}
extern "C" __global__ void gated_backward_f32(const float *__restrict__ gate,
                                              const float *__restrict__ up,
                                              const float *__restrict__ dy,
                                              float *__restrict__ d_gate, float *__restrict__ d_up,
                                              size_t count, unsigned kind) {
  gated_back(gate, up, dy, d_gate, d_up, count, kind);
}
extern "C" __global__ void gated_rounded_backward(const bf16 *__restrict__ gate,
                                                  const bf16 *__restrict__ up,
                                                  const float *__restrict__ dy,
                                                  bf16 *__restrict__ d_gate,
                                                  bf16 *__restrict__ d_up, size_t count,
                                                  unsigned kind) {
  gated_back(gate, up, dy, d_gate, d_up, count, kind);
}

extern "C" __global__ void rope_f32(const float *x, float *y,
                                    const uint32_t *__restrict__ positions,
                                    const float *__restrict__ cosines,
                                    const float *__restrict__ sines, unsigned n, unsigned heads,
                                    unsigned half, float direction) {
  size_t i = thread_index(), token = i / (size_t(heads) * half);
  if (token >= n) return;
  unsigned pair = unsigned(i % half), head = unsigned(i / half % heads);
  size_t at = (token * heads + head) * 2 * half + pair;
  size_t angle = size_t(positions[token]) * half + pair;
  float c = cosines[angle], s = direction * sines[angle];
  float first = x[at], second = x[at + half];
  y[at] = first * c - second * s;
  y[at + half] = second * c + first * s;
}

extern "C" __global__ void gather_f32(const float *__restrict__ x,
                                      const uint32_t *__restrict__ rows, float *__restrict__ y,
                                      unsigned n, unsigned d) {
  size_t i = thread_index(), row = i / d;
  if (row < n) y[i] = x[size_t(rows[row]) * d + i % d];
}
extern "C" __global__ void scatter_f32(const float *__restrict__ x,
                                       const uint32_t *__restrict__ rows, float *__restrict__ y,
                                       unsigned n, unsigned d) {
  size_t i = thread_index(), from = i / d;
  if (from < n) y[size_t(rows[from]) * d + i % d] = x[i];
}
extern "C" __global__ void sum_f32(const float *__restrict__ x, const float *__restrict__ y,
                                   float *__restrict__ z, size_t count) {
  size_t i = thread_index();
  if (i < count) z[i] = x[i] + y[i];
}
extern "C" __global__ void add_to_rows_f32(float *__restrict__ y, const float *__restrict__ b,
                                           size_t count, unsigned d) {
  size_t i = thread_index();
  if (i < count) y[i] += b[i % d];
}
extern "C" __global__ void to_bf16(const float *__restrict__ x, bf16 *__restrict__ y,
                                   size_t count) {
  size_t i = thread_index();
  if (i < count) y[i] = __float2bfloat16(x[i]);
}
extern "C" __global__ void to_f32(const bf16 *__restrict__ x, float *__restrict__ y,
                                  size_t count) {
  size_t i = thread_index();
  if (i < count) y[i] = __bfloat162float(x[i]);
}
