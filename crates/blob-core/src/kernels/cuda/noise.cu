// Matrices of noise, for the few places that read one; kernels that can draw in place do so.
//
//   noise_normal    e (count)            = sign·E            threads: count
//   noise_signs     words (n, w)                             threads: n·w
//   noise_dropout   factors (n, k)       0 with probability p, else 1/(1 − p)     threads: n·k
//   perturbation    out (count)          = sign·E ∘ σ(ρ)     σ = ρ² or ln(1 + e^ρ)
//
// key: the stream's two words, which `perturbation` reads from memory; tag: site·16 + purpose |
// sample·2¹⁶; positions, rows (n): who a token is.
// BLoB, arXiv:2406.11675 §3; Flipout, arXiv:1803.04386.
#include "philox.cuh"
#include "sigma.cuh"

__device__ __forceinline__ size_t thread_index() {
  return size_t(blockIdx.x) * blockDim.x + threadIdx.x;
}

extern "C" __global__ void noise_normal(float *__restrict__ out, size_t count, uint2 key,
                                        uint32_t tag, float sign) {
  size_t i = thread_index();
  if (i < count) out[i] = __fmul_rn(sign, normal_at(key, tag, i));
}

extern "C" __global__ void noise_signs(uint32_t *__restrict__ out,
                                       const uint32_t *__restrict__ positions,
                                       const uint32_t *__restrict__ rows, unsigned n,
                                       unsigned words, uint2 key, uint32_t tag) {
  size_t i = thread_index(), token = i / words;
  if (token < n)
    out[i] = sign_word(key, positions[token], rows[token], tag, unsigned(i % words));
}

extern "C" __global__ void noise_dropout(float *__restrict__ out,
                                         const uint32_t *__restrict__ positions,
                                         const uint32_t *__restrict__ rows, unsigned n,
                                         unsigned width, float p, uint2 key, uint32_t tag) {
  size_t i = thread_index(), token = i / width;
  if (token >= n) return;
  unsigned feature = unsigned(i % width);
  uint4 counter = make_uint4(feature / 8, positions[token], rows[token], tag);
  uint4 words = philox4x32_10(counter, key);
  out[i] = mask_of(half_of(words, feature % 8), dropped_below(p));
}

extern "C" __global__ void perturbation(const float *__restrict__ rho, float *__restrict__ out,
                                        size_t count, unsigned is_softplus,
                                        const uint2 *__restrict__ key, uint32_t tag,
                                        float sign) {
  size_t i = thread_index();
  if (i >= count) return;
  float noise = __fmul_rn(sign, normal_at(*key, tag, i));
  out[i] = __fmul_rn(noise, sigma_of(rho[i], is_softplus));
}
