// Operations on each value alone: SwiGLU, rotary positions, rows of a matrix, sums, roundings.
//
//   swiglu    y = silu(g) ∘ u       silu(g) = g·σ(g)                 (arXiv:2002.05202)
//             dg = dy ∘ u ∘ σ(g)·(1 + g·(1 − σ(g)))    du = dy ∘ silu(g)      count values
//   rope      y_i       = x_i·cos φ − x_{i+c/2}·sin φ                (arXiv:2104.09864)
//             y_{i+c/2} = x_{i+c/2}·cos φ + x_i·sin φ   the adjoint: direction −1
//             x, y (n, H·c); positions (n); cos, sin (positions, c/2); a thread per pair
//   embedding y (n, d) = table[ids]                     a thread per value
//   scatter   y_{rows_b} = x_b, x (n, d); each row is named once, y is zero before
//   sum       z = x + y, count values                   add_to_rows   y (n, d) += b (d)
//   to_bf16   y = x rounded to bf16
//
// Values f32 or bf16, computed in f32; y may be x in rope.
#include "values.cuh"

__device__ __forceinline__ size_t thread_index() {
  return size_t(blockIdx.x) * blockDim.x + threadIdx.x;
}
__device__ __forceinline__ float sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }

template <class T>
__device__ __forceinline__ void rotate(const T *x, T *y, const uint32_t *positions,
                                       const float *cosines, const float *sines, unsigned n,
                                       unsigned heads, unsigned half, float direction) {
  size_t i = thread_index(), token = i / (size_t(heads) * half);
  if (token >= n) return;
  unsigned pair = unsigned(i % half), head = unsigned(i / half % heads);
  size_t at = (token * heads + head) * 2 * half + pair;
  size_t angle = size_t(positions[token]) * half + pair;
  float c = cosines[angle], s = direction * sines[angle];
  float first = to_float(x[at]), second = to_float(x[at + half]);
  y[at] = from_float<T>(first * c - second * s);
  y[at + half] = from_float<T>(second * c + first * s);
}

#define ENTRIES(T, suffix)                                                                       \
  extern "C" __global__ void swiglu_##suffix(const T *__restrict__ gate,                         \
                                             const T *__restrict__ up, T *__restrict__ y,        \
                                             size_t count) {                                     \
    size_t i = thread_index();                                                                   \
    if (i >= count) return;                                                                      \
    float g = to_float(gate[i]);                                                                 \
    y[i] = from_float<T>(g * sigmoid(g) * to_float(up[i]));                                      \
  }                                                                                              \
  extern "C" __global__ void swiglu_backward_##suffix(                                           \
      const T *__restrict__ gate, const T *__restrict__ up, const T *__restrict__ dy,            \
      T *__restrict__ d_gate, T *__restrict__ d_up, size_t count) {                              \
    size_t i = thread_index();                                                                   \
    if (i >= count) return;                                                                      \
    float g = to_float(gate[i]), s = sigmoid(g), d = to_float(dy[i]);                            \
    d_gate[i] = from_float<T>(d * to_float(up[i]) * s * (1.0f + g * (1.0f - s)));                \
    d_up[i] = from_float<T>(d * g * s);                                                          \
  }                                                                                              \
  extern "C" __global__ void rope_##suffix(const T *x, T *y,                                     \
                                           const uint32_t *__restrict__ positions,               \
                                           const float *__restrict__ cosines,                    \
                                           const float *__restrict__ sines, unsigned n,          \
                                           unsigned heads, unsigned half, float direction) {     \
    rotate(x, y, positions, cosines, sines, n, heads, half, direction);                          \
  }                                                                                              \
  extern "C" __global__ void embedding_##suffix(const T *__restrict__ table,                     \
                                                const uint32_t *__restrict__ ids,                \
                                                T *__restrict__ y, unsigned n, unsigned d) {     \
    size_t i = thread_index(), token = i / d;                                                    \
    if (token < n) y[i] = table[size_t(ids[token]) * d + i % d];                                 \
  }
ENTRIES(float, f32)
ENTRIES(bf16, bf16)

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
