// The rows of the head that can be answers, with the adapter's term, and the loss of their logits.
//
//   answer_logits   z_s = x_b·w_s                     a warp per logit, b = prompts[s]
//   answer_input    dx_b = Σ_s dz_s·w_s               a block per prompt
//   answer_term     z_s += κ·h_b·B_{token s}          a thread per logit
//   answer_back     p_b = κ·Σ_s dz_s·B_{token s}      a thread per prompt and rank
//   answer_b        dB_t += κ·Σ_{s of t} dz_s·h_b     a thread per token and rank, in order of s
//   soft_cap        y = a·tanh(z/a)    dz = dy·(1 − (y/a)²)           (arXiv:2408.00118 §2)
//   cross_entropy   p_bj = e^{z_bj} / Σ_i e^{z_bi}    nll_b = −ln p_{b,label_b}
//                   dz_bj = weight·(p_bj − [j = label_b])             a thread per prompt
//   add_losses      sums[0] += Σ nll_b, sums[1] += Σ correct_b        one block of 256 threads
//
// x, dx (n, d): the row that is read of each prompt; w (·, d): its row of a logit is which[s]; h, p
// (n, r), B, dB (V, r). Row b has the logits offsets[b]..offsets[b+1] (n + 1). The loss has
// `samples` runs of logits, one of each sample: of the mean of their logits, or the mean of their
// losses. losses (B, 2): nll in nats, summed in f64, NaN where a logit is not finite; whether the
// largest mean logit, the first among equals, is the label's. x, w, dx: f32 or bf16; the rest f32.
#include "values.cuh"

__device__ __forceinline__ unsigned thread_index() { return blockIdx.x * blockDim.x + threadIdx.x; }

template <class T>
__device__ __forceinline__ void logits(const T *x, const T *w, const uint32_t *which,
                                       const uint32_t *prompts, float *z, unsigned count,
                                       unsigned d) {
  unsigned s = thread_index() / 32, lane = threadIdx.x % 32;
  if (s >= count) return;
  const T *row = x + size_t(prompts[s]) * d, *weights = w + size_t(which[s]) * d;
  float sum = 0;
  for (unsigned i = lane; i < d; i += 32) sum += to_float(row[i]) * to_float(weights[i]);
  sum = warp_sum(sum);
  if (lane == 0) z[s] = sum;
}

template <class T>
__device__ __forceinline__ void input(const float *dz, const T *w, const uint32_t *which,
                                      const uint32_t *offsets, T *dx, unsigned d) {
  unsigned b = blockIdx.x;
  for (unsigned i = threadIdx.x; i < d; i += blockDim.x) {
    float sum = 0;
    for (unsigned s = offsets[b]; s < offsets[b + 1]; s++)
      sum += dz[s] * to_float(w[size_t(which[s]) * d + i]);
    dx[size_t(b) * d + i] = from_float<T>(sum);
  }
}

#define ENTRIES(T, suffix)                                                                       \
  extern "C" __global__ void answer_logits_##suffix(                                             \
      const T *__restrict__ x, const T *__restrict__ w, const uint32_t *__restrict__ which,      \
      const uint32_t *__restrict__ prompts, float *__restrict__ z, unsigned count, unsigned d) { \
    logits(x, w, which, prompts, z, count, d);                                                   \
  }                                                                                              \
  extern "C" __global__ void answer_input_##suffix(                                              \
      const float *__restrict__ dz, const T *__restrict__ w, const uint32_t *__restrict__ which, \
      const uint32_t *__restrict__ offsets, T *__restrict__ dx, unsigned d) {                    \
    input(dz, w, which, offsets, dx, d);                                                         \
  }
ENTRIES(float, f32)
ENTRIES(bf16, bf16)

// Of the terms: logits first..first+count are those of a group of rows from `row` on; h and p are
// of the group, B is its member's.
struct Group {
  unsigned row, rows, first, count;
};

extern "C" __global__ void answer_term(const float *__restrict__ h, const float *__restrict__ b,
                                       const uint32_t *__restrict__ tokens,
                                       const uint32_t *__restrict__ prompts, float *__restrict__ z,
                                       Group group, unsigned r, float scaling) {
  unsigned i = thread_index(), s = group.first + i;
  if (i >= group.count) return;
  const float *hidden = h + size_t(prompts[s] - group.row) * r;
  const float *factors = b + size_t(tokens[s]) * r;
  float sum = 0;
  for (unsigned j = 0; j < r; j++) sum += hidden[j] * factors[j];
  z[s] += scaling * sum;
}

extern "C" __global__ void answer_back(const float *__restrict__ dz, const float *__restrict__ b,
                                       const uint32_t *__restrict__ tokens,
                                       const uint32_t *__restrict__ offsets, float *__restrict__ p,
                                       Group group, unsigned r, float scaling) {
  unsigned i = thread_index(), row = group.row + i / r;
  if (i >= group.rows * r) return;
  float sum = 0;
  for (unsigned s = offsets[row]; s < offsets[row + 1]; s++)
    sum += dz[s] * b[size_t(tokens[s]) * r + i % r];
  p[i] = scaling * sum;
}

// `distinct` are the tokens that `which` counts.
extern "C" __global__ void answer_b(const float *__restrict__ dz, const float *__restrict__ h,
                                    const uint32_t *__restrict__ which,
                                    const uint32_t *__restrict__ prompts,
                                    const uint32_t *__restrict__ distinct, float *__restrict__ db,
                                    Group group, unsigned tokens, unsigned r, float scaling) {
  unsigned i = thread_index(), token = i / r;
  if (token >= tokens) return;
  float sum = 0;
  for (unsigned s = group.first; s < group.first + group.count; s++)
    if (which[s] == token) sum += dz[s] * h[size_t(prompts[s] - group.row) * r + i % r];
  db[size_t(distinct[token]) * r + i % r] += scaling * sum;
}

extern "C" __global__ void soft_cap(const float *__restrict__ z, float *__restrict__ y,
                                    unsigned count, float cap) {
  unsigned i = thread_index();
  if (i < count) y[i] = cap * tanhf(z[i] / cap);
}
extern "C" __global__ void soft_cap_backward(const float *__restrict__ y,
                                             const float *__restrict__ dy, float *__restrict__ dz,
                                             unsigned count, float cap) {
  unsigned i = thread_index();
  if (i < count) dz[i] = dy[i] * (1.0f - y[i] / cap * (y[i] / cap));
}

// The mean over the samples of one of `stride` logits.
__device__ __forceinline__ float mean_of(const float *z, unsigned samples, unsigned stride) {
  float sum = 0;
  for (unsigned c = 0; c < samples; c++) sum += z[size_t(c) * stride];
  return sum / float(samples);
}

extern "C" __global__ void cross_entropy(const float *__restrict__ z,
                                         const uint32_t *__restrict__ offsets,
                                         const int32_t *__restrict__ labels, float weight,
                                         unsigned samples, unsigned is_of_mean,
                                         double *__restrict__ losses, float *__restrict__ dz,
                                         unsigned prompts) {
  unsigned b = thread_index();
  if (b >= prompts) return;
  unsigned from = offsets[b], to = offsets[b + 1], stride = offsets[prompts];
  unsigned label = from + unsigned(labels[b]), best = from;
  float largest = mean_of(z + from, samples, stride), total = 0;
  for (unsigned s = from; s < to; s++) {
    float mean = mean_of(z + s, samples, stride);
    total += mean - mean;  // NaN where a logit is not finite
    if (mean > largest) {
      largest = mean;
      best = s;
    }
  }
  double nll = total;
  // Of the mean there is one run of logits, of the samples as many as these.
  unsigned runs = is_of_mean ? 1 : samples, over = is_of_mean ? samples : 1;
  for (unsigned run = 0; run < runs; run++) {
    const float *of = z + size_t(run) * stride;
    float top = mean_of(of + from, over, stride);
    for (unsigned s = from; s < to; s++) top = fmaxf(top, mean_of(of + s, over, stride));
    double sum = 0;
    for (unsigned s = from; s < to; s++) sum += exp(double(mean_of(of + s, over, stride)) - top);
    nll += (log(sum) - (double(mean_of(of + label, over, stride)) - top)) / runs;
    for (unsigned s = from; s < to; s++) {
      float p = float(exp(double(mean_of(of + s, over, stride)) - top) / sum);
      for (unsigned c = run; c < run + over; c++)
        dz[size_t(c) * stride + s] = weight * (s == label ? p - 1.0f : p);
    }
  }
  losses[2 * b] = nll;
  losses[2 * b + 1] = best == label ? 1.0 : 0.0;
}

extern "C" __global__ void add_losses(const double *__restrict__ losses, unsigned prompts,
                                      double *__restrict__ sums) {
  __shared__ double scratch[32];
  double nll = 0, correct = 0;
  for (unsigned b = threadIdx.x; b < prompts; b += blockDim.x) {
    nll += losses[2 * b];
    correct += losses[2 * b + 1];
  }
  nll = block_sum(nll, scratch);
  correct = block_sum(correct, scratch);
  if (threadIdx.x > 0) return;
  sums[0] += nll;
  sums[1] += correct;
}
