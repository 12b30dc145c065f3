// Updates of flat f32 buffers, bit for bit those of the CPU, and sums in fixed order.
//
//   adamw      m ← β₁m + (1 − β₁)g    v ← β₂v + (1 − β₂)g²          g = scale·gradient
//              w ← w·keep − step·m / (√v / root + ε)                (arXiv:1711.05101, alg. 2)
//              keep = 1 − ηλ    step = η/(1 − β₁ᵗ)    root = √(1 − β₂ᵗ)
//   kl_sgd     M ← M − η'π·2M/D                                     (arXiv:2406.11675 §3)
//              ρ ← ρ − η'·(π·(2σ/D − 1/(σ + c))·dσ/dρ + ∂NLL/∂ρ)    D = 2σp² + c
//   kl_sum     Σ [ln(σp + c) − ln(σ + c) + (σ² + μ²)/D − ½]  nats, f64
//   square_sum Σ x²  f64
//   add_partials  the sum of what the blocks of a sum wrote, in their order
//
// A thread per value; sums: `partials` has a value per block of 256 threads, each taking the
// values block·256 + thread + i·(blocks·256). The order depends on count and grid alone.
#include "values.cuh"

struct AdamW {
  float step, root, keep, beta1, beta2, rest1, rest2, epsilon;
};

__device__ __forceinline__ size_t thread_index() {
  return size_t(blockIdx.x) * blockDim.x + threadIdx.x;
}

extern "C" __global__ void adamw(float *__restrict__ w, const float *__restrict__ gradient,
                                 float scale, float *__restrict__ first,
                                 float *__restrict__ second, size_t count, AdamW c) {
  size_t i = thread_index();
  if (i >= count) return;
  float g = __fmul_rn(scale, gradient[i]);
  float m = __fadd_rn(__fmul_rn(c.beta1, first[i]), __fmul_rn(c.rest1, g));
  float v = __fadd_rn(__fmul_rn(c.beta2, second[i]), __fmul_rn(__fmul_rn(c.rest2, g), g));
  first[i] = m;
  second[i] = v;
  float divisor = __fadd_rn(__fdiv_rn(__fsqrt_rn(v), c.root), c.epsilon);
  w[i] = __fsub_rn(__fmul_rn(w[i], c.keep), __fdiv_rn(__fmul_rn(c.step, m), divisor));
}

struct Kl {
  double prior_std, c, denominator;
  unsigned is_softplus;
};

__device__ __forceinline__ float sigma_of(float rho, unsigned is_softplus) {
  if (!is_softplus) return __fmul_rn(rho, rho);
  return fmaxf(rho, 0.0f) + log1pf(expf(-fabsf(rho)));
}
__device__ __forceinline__ float slope_of(float rho, unsigned is_softplus) {
  return is_softplus ? 1.0f / (1.0f + expf(-rho)) : __fmul_rn(2.0f, rho);
}

extern "C" __global__ void kl_sgd(float *__restrict__ mean, float *__restrict__ rho,
                                  const float *__restrict__ of_nll, size_t count, Kl kl,
                                  double rate, double weight) {
  size_t i = thread_index();
  if (i >= count) return;
  double m = mean[i], std = sigma_of(rho[i], kl.is_softplus);
  double slope = slope_of(rho[i], kl.is_softplus);
  double by_mean = __ddiv_rn(__dmul_rn(2.0, m), kl.denominator);
  double by_std = __dadd_rn(__ddiv_rn(__dmul_rn(2.0, std), kl.denominator),
                            -__ddiv_rn(1.0, __dadd_rn(std, kl.c)));
  double by_rho = __dadd_rn(__dmul_rn(__dmul_rn(weight, by_std), slope), double(of_nll[i]));
  mean[i] = __fsub_rn(mean[i], float(__dmul_rn(__dmul_rn(rate, weight), by_mean)));
  rho[i] = __fsub_rn(rho[i], float(__dmul_rn(rate, by_rho)));
}

extern "C" __global__ void kl_sum(const float *__restrict__ mean, const float *__restrict__ rho,
                                  size_t count, Kl kl, double *__restrict__ partials) {
  __shared__ double scratch[32];
  double sum = 0;
  for (size_t i = thread_index(); i < count; i += size_t(gridDim.x) * blockDim.x) {
    double m = mean[i], std = sigma_of(rho[i], kl.is_softplus);
    sum += log(kl.prior_std + kl.c) - log(std + kl.c) + (std * std + m * m) / kl.denominator - 0.5;
  }
  sum = block_sum(sum, scratch);
  if (threadIdx.x == 0) partials[blockIdx.x] = sum;
}

extern "C" __global__ void square_sum(const float *__restrict__ x, size_t count,
                                      double *__restrict__ partials) {
  __shared__ double scratch[32];
  double sum = 0;
  for (size_t i = thread_index(); i < count; i += size_t(gridDim.x) * blockDim.x)
    sum += double(x[i]) * x[i];
  sum = block_sum(sum, scratch);
  if (threadIdx.x == 0) partials[blockIdx.x] = sum;
}

// One thread.
extern "C" __global__ void add_partials(const double *__restrict__ partials, unsigned count,
                                        double *__restrict__ sum) {
  double total = 0;
  for (unsigned i = 0; i < count; i++) total += partials[i];
  *sum = total;
}
