// Draws of a Gaussian over all factors as factors of their own, and updates from their gradients,
// in the CPU's order of operations.
//
//   draw_factors  θ_s = μ + σ∘E_s                                       σ = ρ² or ln(1 + e^ρ)
//   fold_draws    g = Σ_s ĝ_s    ∂ρ = Σ_s ĝ_s·e_s·dσ/dρ    e_s = (θ_s − μ)/σ, 0 where σ is
//                                                      (Bayes by backprop, arXiv:1505.05424)
//   ivon_rho      ρ = √v    v = 1/√(λ(h + δ))
//   ivon          g = Σ_s ĝ_s    ĥ = λ(h + δ)·Σ_s (θ_s − m)ĝ_s          (arXiv:2402.17641, alg. 1)
//                 ḡ ← β₁ḡ + (1 − β₁)g
//                 h ← β₂h + (1 − β₂)ĥ + ½(1 − β₂)²(h − ĥ)²/(h + δ)      of the factors alone
//                 m ← m − η·clip( (ḡ/(1 − β₁ᵗ) + δm)/(h + δ), ±ξ )      ρ as above
//
// ĝ_s hold the 1/S of a mean over S draws already. A member of the adapter has `Shape`: its
// factors, then layers of its own that are trained with them (together the `points`), then a ρ for
// each factor, then layers that are not trained; a draw has the same without ρ. Draws of a member
// follow each other. A thread per value of a draw (draw_factors) or per point of a member (the
// others); sums run over the draws in order. An update whose scale is NaN changes nothing.
#include "philox.cuh"
#include "sigma.cuh"

struct Shape {
  size_t len, drawn_len, points, factors, count;  // count: threads
  unsigned samples, is_softplus;
};
struct Ivon {
  double lr, lambda, delta, beta1, beta2, clip, debias;
};

__device__ __forceinline__ size_t thread_index() {
  return size_t(blockIdx.x) * blockDim.x + threadIdx.x;
}

// E of a member's factors is drawn factor by factor: starts, tags (n): where each begins, and who
// asks for its first sample. keys (members). rho: that of a member's first factor, rho_stride from
// that of the next one.
extern "C" __global__ void draw_factors(const float *__restrict__ w, const float *__restrict__ rho,
                                        size_t rho_stride, const uint2 *__restrict__ keys,
                                        const uint32_t *__restrict__ starts,
                                        const uint32_t *__restrict__ tags, unsigned n,
                                        float *__restrict__ out, Shape s) {
  size_t thread = thread_index();
  if (thread >= s.count) return;
  size_t draw = thread / s.drawn_len, i = thread % s.drawn_len, member = draw / s.samples;
  w += member * s.len;
  if (i >= s.factors) {
    out[thread] = w[s.points > s.factors ? i : i + s.factors];  // behind every ρ, if not trained
    return;
  }
  unsigned from = 0, to = n;  // the factor lies in [from, to)
  while (to - from > 1) {
    unsigned middle = (from + to) / 2;
    if (starts[middle] <= i) from = middle;
    else to = middle;
  }
  uint32_t tag = tags[from] | uint32_t(draw % s.samples) << 16;
  float e = normal_at(keys[member], tag, i - starts[from]);
  float sigma = sigma_of(rho[member * rho_stride + i], s.is_softplus);
  out[thread] = __fadd_rn(w[i], __fmul_rn(e, sigma));
}

extern "C" __global__ void fold_draws(const float *__restrict__ w,
                                      const float *__restrict__ drawn,
                                      const float *__restrict__ gradients,
                                      float *__restrict__ out, Shape s) {
  size_t thread = thread_index();
  if (thread >= s.count) return;
  size_t member = thread / s.points, i = thread % s.points;
  w += member * s.len;
  out += member * s.len;
  bool is_factor = i < s.factors;
  float mean = w[i], rho = is_factor ? w[s.points + i] : 0.0f;
  float std = sigma_of(rho, s.is_softplus), slope = slope_of(rho, s.is_softplus);
  float sum = 0, of_rho = 0;
  for (unsigned sample = 0; sample < s.samples; sample++) {
    size_t at = (member * s.samples + sample) * s.drawn_len + i;
    float g = gradients[at];
    sum = __fadd_rn(sum, g);
    if (!is_factor || !(std > 0)) continue;
    float e = __fdiv_rn(__fsub_rn(drawn[at], mean), std);
    of_rho = __fadd_rn(of_rho, __fmul_rn(__fmul_rn(g, e), slope));
  }
  out[i] = sum;
  if (is_factor) out[s.points + i] = of_rho;
}

__device__ __forceinline__ float rho_of(float hessian, double lambda, double delta) {
  double curvature = __dadd_rn(double(hessian), delta);
  float std = float(__ddiv_rn(1.0, __dsqrt_rn(__dmul_rn(lambda, curvature))));
  return __fsqrt_rn(std);
}

extern "C" __global__ void ivon_rho(const float *__restrict__ hessian, float *__restrict__ rho,
                                    size_t count, double lambda, double delta) {
  size_t i = thread_index();
  if (i < count) rho[i] = rho_of(hessian[i], lambda, delta);
}

extern "C" __global__ void ivon(float *__restrict__ w, float *__restrict__ momentum,
                                float *__restrict__ hessian, const float *__restrict__ drawn,
                                const float *__restrict__ gradients,
                                const float *__restrict__ scale, Shape s,
                                const Ivon *__restrict__ constants) {
  size_t thread = thread_index();
  if (thread >= s.count || isnan(*scale)) return;
  Ivon c = *constants;
  size_t member = thread / s.points, i = thread % s.points;
  w += member * s.len;
  double m = w[i], before = hessian[thread], g = 0, products = 0;
  for (unsigned sample = 0; sample < s.samples; sample++) {
    size_t at = (member * s.samples + sample) * s.drawn_len + i;
    double gradient = gradients[at];
    g = __dadd_rn(g, gradient);
    products = __dadd_rn(products, __dmul_rn(gradient, __dadd_rn(double(drawn[at]), -m)));
  }
  double rest1 = __dadd_rn(1.0, -c.beta1), rest2 = __dadd_rn(1.0, -c.beta2);
  double curvature = __dadd_rn(before, c.delta), after = before;
  if (i < s.factors) {
    double estimate = __dmul_rn(__dmul_rn(c.lambda, curvature), products);
    double off = __dadd_rn(before, -estimate);
    double half = __dmul_rn(__dmul_rn(0.5, rest2), rest2);
    double correction = __ddiv_rn(__dmul_rn(half, __dmul_rn(off, off)), curvature);
    after = __dadd_rn(__dmul_rn(c.beta2, before), __dmul_rn(rest2, estimate));
    after = __dadd_rn(after, correction);
  }
  double average = __dadd_rn(__dmul_rn(c.beta1, double(momentum[thread])), __dmul_rn(rest1, g));
  double pull = __dadd_rn(__ddiv_rn(average, c.debias), __dmul_rn(c.delta, m));
  double newton = __ddiv_rn(pull, __dadd_rn(after, c.delta));
  if (c.clip > 0) newton = newton < -c.clip ? -c.clip : newton > c.clip ? c.clip : newton;
  momentum[thread] = float(average);
  hessian[thread] = float(after);
  w[i] = float(__dadd_rn(m, -__dmul_rn(c.lr, newton)));
  if (i < s.factors) w[s.points + i] = rho_of(float(after), c.lambda, c.delta);
}
