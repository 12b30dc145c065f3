// Updates of flat f32 buffers, bit for bit those of the CPU, and sums in fixed order.
//
//   adamw      m ← β₁m + (1 − β₁)g    v ← β₂v + (1 − β₂)g²          g = scale·gradient
//              w ← w·keep − step·m / (√v / root + ε)                (arXiv:1711.05101, alg. 2)
//              keep = 1 − ηλ    step = η/(1 − β₁ᵗ)    root = √(1 − β₂ᵗ)
//   kl_sgd     M ← M − η'π·2M/D                                     (arXiv:2406.11675 §3)
//              ρ ← ρ − η'·(π·(2σ/D − 1/(σ + c))·dσ/dρ + ∂NLL/∂ρ)    D = 2σp² + c
//   kl_add     ∂M += π·2M/D    ∂ρ += π·(2σ/D − 1/(σ + c))·dσ/dρ
//   add_scaled y ← y + factor·x
//   sgd        w ← w − η·g
//   collect    d = θ − θ̄    θ̄ ← θ̄ + d/i    δ ← θ − θ̄    S ← S + d·δ    (SWAG, arXiv:1902.02476)
//   kl_sum     Σ [ln(σp + c) − ln(σ + c) + (σ² + μ²)/D − ½]  nats, f64
//   sigma_sum  Σ σ  f64
//   square_sum Σ x²  f64
//   add_partials  the sum of what the blocks of a sum wrote
//   clip       scale_m = min(1, limit/(‖g_m‖ + 1e-6)) of each member, sums[2] = mean ‖g_m‖;
//              all NaN where sums[0] or a gradient is not finite
//
// A thread per value; sums: `partials` has a value per block of 256 threads, each taking the
// values block·256 + thread + i·(blocks·256), then one block of 256 threads. The order depends on
// count and grid alone. Updates with a scale of NaN change nothing. What changes from step to step
// (AdamW's constants; η' and π; π; η; i) is read from memory: a launch is the same in every step.
#include "sigma.cuh"
#include "values.cuh"

struct AdamW {
  float step, root, keep, beta1, beta2, rest1, rest2, epsilon;
};

__device__ __forceinline__ size_t thread_index() {
  return size_t(blockIdx.x) * blockDim.x + threadIdx.x;
}

extern "C" __global__ void adamw(float *__restrict__ w, const float *__restrict__ gradient,
                                 const float *__restrict__ scale, float *__restrict__ first,
                                 float *__restrict__ second, size_t count,
                                 const AdamW *__restrict__ constants) {
  size_t i = thread_index();
  if (i >= count || isnan(*scale)) return;
  AdamW c = *constants;
  float g = __fmul_rn(*scale, gradient[i]);
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

struct Gradient {
  double by_mean, by_rho;  // the second times π
};
__device__ __forceinline__ Gradient gradient_of(float mean, float rho, double weight,
                                                const Kl &kl) {
  double std = sigma_of(rho, kl.is_softplus), slope = slope_of(rho, kl.is_softplus);
  double by_std = __dadd_rn(__ddiv_rn(__dmul_rn(2.0, std), kl.denominator),
                            -__ddiv_rn(1.0, __dadd_rn(std, kl.c)));
  return {__ddiv_rn(__dmul_rn(2.0, double(mean)), kl.denominator),
          __dmul_rn(__dmul_rn(weight, by_std), slope)};
}

extern "C" __global__ void kl_sgd(float *__restrict__ mean, float *__restrict__ rho,
                                  const float *__restrict__ of_nll,
                                  const float *__restrict__ scale, size_t count, Kl kl,
                                  const double *__restrict__ rates) {
  size_t i = thread_index();
  if (i >= count || isnan(*scale)) return;
  double rate = rates[0], weight = rates[1];
  Gradient of_kl = gradient_of(mean[i], rho[i], weight, kl);
  double by_rho = __dadd_rn(of_kl.by_rho, double(of_nll[i]));
  mean[i] = __fsub_rn(mean[i], float(__dmul_rn(__dmul_rn(rate, weight), of_kl.by_mean)));
  rho[i] = __fsub_rn(rho[i], float(__dmul_rn(rate, by_rho)));
}

extern "C" __global__ void kl_add(float *__restrict__ of_mean, float *__restrict__ of_rho,
                                  const float *__restrict__ mean, const float *__restrict__ rho,
                                  size_t count, Kl kl, const double *__restrict__ weight) {
  size_t i = thread_index();
  if (i >= count) return;
  Gradient of_kl = gradient_of(mean[i], rho[i], *weight, kl);
  of_mean[i] = __fadd_rn(of_mean[i], float(__dmul_rn(*weight, of_kl.by_mean)));
  of_rho[i] = __fadd_rn(of_rho[i], float(of_kl.by_rho));
}

extern "C" __global__ void add_scaled(float *__restrict__ y, const float *__restrict__ x,
                                      float factor, size_t count) {
  size_t i = thread_index();
  if (i < count) y[i] = __fadd_rn(y[i], __fmul_rn(factor, x[i]));
}

extern "C" __global__ void sgd(float *__restrict__ w, const float *__restrict__ gradient,
                               const float *__restrict__ scale, const float *__restrict__ rate,
                               size_t count) {
  size_t i = thread_index();
  if (i >= count || isnan(*scale)) return;
  w[i] = __fsub_rn(w[i], __fmul_rn(*rate, gradient[i]));
}

extern "C" __global__ void collect(const float *__restrict__ theta, float *__restrict__ mean,
                                   float *__restrict__ scatter, float *__restrict__ deviation,
                                   const float *__restrict__ scale,
                                   const float *__restrict__ collected, size_t count) {
  size_t i = thread_index();
  if (i >= count || isnan(*scale)) return;
  float before = __fsub_rn(theta[i], mean[i]);
  float moved = __fadd_rn(mean[i], __fdiv_rn(before, *collected));
  float after = __fsub_rn(theta[i], moved);
  mean[i] = moved;
  deviation[i] = after;
  scatter[i] = __fadd_rn(scatter[i], __fmul_rn(before, after));
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

extern "C" __global__ void sigma_sum(const float *__restrict__ rho, size_t count,
                                     unsigned is_softplus, double *__restrict__ partials) {
  __shared__ double scratch[32];
  double sum = 0;
  for (size_t i = thread_index(); i < count; i += size_t(gridDim.x) * blockDim.x)
    sum += sigma_of(rho[i], is_softplus);
  sum = block_sum(sum, scratch);
  if (threadIdx.x == 0) partials[blockIdx.x] = sum;
}

__device__ __forceinline__ double sum_of(const double *partials, unsigned count, double *scratch) {
  double sum = 0;
  for (unsigned i = threadIdx.x; i < count; i += blockDim.x) sum += partials[i];
  return block_sum(sum, scratch);
}

extern "C" __global__ void add_partials(const double *__restrict__ partials, unsigned count,
                                        double *__restrict__ sum) {
  __shared__ double scratch[32];
  double total = sum_of(partials, count, scratch);
  if (threadIdx.x == 0) *sum = total;
}

// partials: of each member those of the squares that count, then of the others.
extern "C" __global__ void clip(const double *__restrict__ partials, unsigned counted,
                                unsigned others, unsigned members, double limit,
                                double *__restrict__ sums, float *__restrict__ scales) {
  __shared__ double scratch[32];
  double total = 0, all = sums[0];
  for (unsigned member = 0; member < members; member++) {
    double squares = sum_of(partials, counted, scratch), norm = sqrt(squares);
    all += squares + sum_of(partials + counted, others, scratch);
    partials += counted + others;
    total += norm;
    if (threadIdx.x == 0) scales[member] = limit > 0 ? float(fmin(limit / (norm + 1e-6), 1.0)) : 1;
  }
  if (threadIdx.x > 0) return;
  bool is_finite = all - all == 0;
  sums[2] = is_finite ? total / members : nan("");
  for (unsigned member = 0; member < members && !is_finite; member++) scales[member] = nanf("");
}
