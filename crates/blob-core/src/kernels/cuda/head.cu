// The rows of the head that can be answers, and the cross-entropy of their logits.
//
//   answer_logits   z_s = x_b·w_{answer_s}            a warp per logit
//   answer_input    dx_b = Σ_s dz_s·w_{answer_s}      a block per prompt
//   cross_entropy   p_bj = e^{z_bj} / Σ_i e^{z_bi}    nll_b = −ln p_{b,label_b}
//                   dz_bj = weight_b·(p_bj − [j = label_b])      a thread per prompt
//
// x, dx (B, d): the last position of each prompt; w (V, d); answers (S); row b has the logits
// offsets[b]..offsets[b+1] (B + 1). nll in nats, summed in f64; label −1: nll and gradient are 0.
// x, w, dx: f32 or bf16; z, p, dz, weight: f32.
#include "values.cuh"

template <class T>
__device__ __forceinline__ void logits(const T *x, const T *w, const uint32_t *answers,
                                       const uint32_t *prompts, float *z, unsigned count,
                                       unsigned d) {
  unsigned s = (blockIdx.x * blockDim.x + threadIdx.x) / 32, lane = threadIdx.x % 32;
  if (s >= count) return;
  const T *row = x + size_t(prompts[s]) * d, *weights = w + size_t(answers[s]) * d;
  float sum = 0;
  for (unsigned i = lane; i < d; i += 32) sum += to_float(row[i]) * to_float(weights[i]);
  sum = warp_sum(sum);
  if (lane == 0) z[s] = sum;
}

template <class T>
__device__ __forceinline__ void input(const float *dz, const T *w, const uint32_t *answers,
                                      const uint32_t *offsets, T *dx, unsigned d) {
  unsigned b = blockIdx.x;
  for (unsigned i = threadIdx.x; i < d; i += blockDim.x) {
    float sum = 0;
    for (unsigned s = offsets[b]; s < offsets[b + 1]; s++)
      sum += dz[s] * to_float(w[size_t(answers[s]) * d + i]);
    dx[size_t(b) * d + i] = from_float<T>(sum);
  }
}

#define ENTRIES(T, suffix)                                                                       \
  extern "C" __global__ void answer_logits_##suffix(                                             \
      const T *__restrict__ x, const T *__restrict__ w, const uint32_t *__restrict__ answers,    \
      const uint32_t *__restrict__ prompts, float *__restrict__ z, unsigned count, unsigned d) { \
    logits(x, w, answers, prompts, z, count, d);                                                 \
  }                                                                                              \
  extern "C" __global__ void answer_input_##suffix(                                              \
      const float *__restrict__ dz, const T *__restrict__ w,                                     \
      const uint32_t *__restrict__ answers, const uint32_t *__restrict__ offsets,                \
      T *__restrict__ dx, unsigned d) {                                                          \
    input(dz, w, answers, offsets, dx, d);                                                       \
  }
ENTRIES(float, f32)
ENTRIES(bf16, bf16)

extern "C" __global__ void cross_entropy(const float *__restrict__ z,
                                         const uint32_t *__restrict__ offsets,
                                         const int32_t *__restrict__ labels,
                                         const float *__restrict__ weights,
                                         double *__restrict__ nll, float *__restrict__ probs,
                                         float *__restrict__ dz, unsigned prompts) {
  unsigned b = blockIdx.x * blockDim.x + threadIdx.x;
  if (b >= prompts) return;
  unsigned from = offsets[b], to = offsets[b + 1];
  float largest = z[from];
  for (unsigned s = from; s < to; s++) largest = fmaxf(largest, z[s]);
  double total = 0;
  for (unsigned s = from; s < to; s++) total += exp(double(z[s]) - largest);
  int32_t label = labels[b];
  nll[b] = label < 0 ? 0.0 : log(total) - (double(z[from + label]) - largest);
  for (unsigned s = from; s < to; s++) {
    float p = float(exp(double(z[s]) - largest) / total);
    probs[s] = p;
    float is_label = int32_t(s - from) == label ? 1.0f : 0.0f;
    dz[s] = label < 0 ? 0.0f : weights[b] * (p - is_label);
  }
}
