// The low-rank term of an adapted layer, at its mean or sampled by Flipout, and its adjoint
// (BLoB, arXiv:2406.11675 §3; Flipout, arXiv:1803.04386). Signs are drawn where they are used.
//
//   low_rank_drop      D = x ∘ mask                            a thread per eight values
//   low_rank_down      h = D·Aᵀ + T ∘ ((D' ∘ S)·Pᵀ)            a block per row
//   low_rank_up        y += s·h·Bᵀ                             a thread per value of y
//   low_rank_back      p = s·dy·B                              a block per row
//   low_rank_input     dx += (p·A) ∘ mask + ((p ∘ T)·P) ∘ S ∘ mask'   a thread per value of dx
//   low_rank_b         dB += s·dyᵀ·h                           a thread per value of dB
//   low_rank_a         dA += pᵀ·D    dρ += (p ∘ T)ᵀ(D' ∘ S) ∘ E ∘ dσ/dρ
//                      128 threads per 128 columns and rank
//
// x, dx (n, k), y, dy (n, m): f32 or bf16; A, P, E, dA, ρ (r, k), B, dB (m, r), h, p (n, r): f32.
// P = σ ∘ E, or null at the mean; S (n, k) and T (n, r) are Philox signs of each row's position and
// identity, of the prompt's identity alone, or absent (rows share the draw). D and D' are x under
// two dropout masks, x itself without; a mask is 0 with probability p (`dropout`), else 1/(1 − p).
// Keys of streams are read from memory, so that a launch is the same in every step. Gradients sum
// over rows in their order.
#include "philox.cuh"

enum : uint32_t { NO_SIGNS, OF_TOKENS, OF_PROMPTS };
struct Draw {
  const uint2 *key;
  uint32_t input_tag, rank_tag, signs, mean_tag, noise_tag;
  float dropout;
};

__device__ __forceinline__ size_t thread_index() {
  return size_t(blockIdx.x) * blockDim.x + threadIdx.x;
}
__device__ __forceinline__ uint32_t place_of(const Draw &d, uint32_t position) {
  return d.signs == OF_PROMPTS ? 0u : position;
}
__device__ __forceinline__ uint32_t input_word(const Draw &d, uint32_t position, uint32_t row,
                                               unsigned word) {
  if (d.signs == NO_SIGNS) return 0u;
  return sign_word(*d.key, place_of(d, position), row, d.input_tag, word);
}
__device__ __forceinline__ float flip_rank(float value, const Draw &d, uint32_t position,
                                           uint32_t row, unsigned rank) {
  if (d.signs == NO_SIGNS) return value;
  return flip(value, sign_word(*d.key, place_of(d, position), row, d.rank_tag, rank / 32), rank);
}
__device__ __forceinline__ float mask_at(const Draw &d, uint32_t position, uint32_t row,
                                         uint32_t tag, unsigned feature) {
  if (d.dropout == 0) return 1.0f;
  uint4 words = philox4x32_10(make_uint4(feature / 8, position, row, tag), *d.key);
  return mask_of(half_of(words, feature % 8), dropped_below(d.dropout));
}

template <class T>
__device__ __forceinline__ void drop(const T *x, const uint32_t *positions, const uint32_t *rows,
                                     T *out, unsigned n, unsigned k, float dropout,
                                     const uint2 *key, uint32_t tag) {
  size_t i = thread_index(), eights = (k + 7) / 8, row = i / eights;
  if (row >= n) return;
  unsigned eight = unsigned(i % eights);
  uint4 words = philox4x32_10(make_uint4(eight, positions[row], rows[row], tag), *key);
  uint32_t below = dropped_below(dropout);
  for (unsigned j = 0; j < 8 && 8 * eight + j < k; j++) {
    size_t at = row * k + 8 * eight + j;
    out[at] = from_float<T>(__fmul_rn(to_float(x[at]), mask_of(half_of(words, j), below)));
  }
}

template <class T>
__device__ __forceinline__ void down(const T *x, const T *noisy, const float *a,
                                     const float *perturbation, const uint32_t *positions,
                                     const uint32_t *rows, float *h, unsigned k, unsigned r,
                                     const Draw &draw) {
  unsigned row = blockIdx.x, lane = threadIdx.x % 32, warps = blockDim.x / 32;
  uint32_t position = positions[row], identity = rows[row];
  x += size_t(row) * k;
  noisy += size_t(row) * k;
  for (unsigned rank = threadIdx.x / 32; rank < r; rank += warps) {
    float mean = 0, noise = 0;
    for (unsigned base = 0; base < k; base += 32) {
      unsigned i = base + lane;
      if (i < k) mean += to_float(x[i]) * a[size_t(rank) * k + i];
      if (!perturbation) continue;
      uint32_t drawn = lane == 0 ? input_word(draw, position, identity, base / 32) : 0u;
      uint32_t word = __shfl_sync(FULL_WARP, drawn, 0);
      if (i < k) noise += flip(to_float(noisy[i]), word, i) * perturbation[size_t(rank) * k + i];
    }
    mean = warp_sum(mean);
    noise = warp_sum(noise);
    if (lane == 0)
      h[size_t(row) * r + rank] = mean + flip_rank(noise, draw, position, identity, rank);
  }
}

template <class T>
__device__ __forceinline__ void up(const float *h, const float *b, T *y, unsigned n, unsigned m,
                                   unsigned r, float scaling) {
  size_t i = thread_index(), row = i / m;
  if (row >= n) return;
  const float *factors = b + i % m * r;
  float sum = 0;
  for (unsigned rank = 0; rank < r; rank++) sum += h[row * r + rank] * factors[rank];
  y[i] = from_float<T>(to_float(y[i]) + scaling * sum);
}

template <class T>
__device__ __forceinline__ void back(const T *dy, const float *b, float *p, unsigned m, unsigned r,
                                     float scaling) {
  unsigned row = blockIdx.x, lane = threadIdx.x % 32, warps = blockDim.x / 32;
  dy += size_t(row) * m;
  for (unsigned rank = threadIdx.x / 32; rank < r; rank += warps) {
    float sum = 0;
    for (unsigned o = lane; o < m; o += 32) sum += to_float(dy[o]) * b[size_t(o) * r + rank];
    sum = warp_sum(sum);
    if (lane == 0) p[size_t(row) * r + rank] = scaling * sum;
  }
}

template <class T>
__device__ __forceinline__ void input(const float *p, const float *a, const float *perturbation,
                                      const uint32_t *positions, const uint32_t *rows, T *dx,
                                      unsigned n, unsigned k, unsigned r, const Draw &draw) {
  size_t i = thread_index(), row = i / k;
  if (row >= n) return;
  unsigned column = unsigned(i % k);
  uint32_t position = positions[row], identity = rows[row];
  float mean = 0, noise = 0;
  for (unsigned rank = 0; rank < r; rank++) {
    float value = p[row * r + rank];
    mean += value * a[size_t(rank) * k + column];
    if (perturbation)
      noise += flip_rank(value, draw, position, identity, rank) *
               perturbation[size_t(rank) * k + column];
  }
  mean *= mask_at(draw, position, identity, draw.mean_tag, column);
  if (perturbation) {
    noise = flip(noise, input_word(draw, position, identity, column / 32), column);
    noise *= mask_at(draw, position, identity, draw.noise_tag, column);
  }
  dx[i] = from_float<T>(to_float(dx[i]) + mean + noise);
}

template <class T>
__device__ __forceinline__ void factor_b(const T *dy, const float *h, float *db, unsigned n,
                                         unsigned m, unsigned r, float scaling) {
  size_t i = thread_index(), o = i / r;
  if (o >= m) return;
  float sum = 0;
  for (size_t row = 0; row < n; row++) sum += to_float(dy[row * m + o]) * h[row * r + i % r];
  db[i] += scaling * sum;
}

// Blocks of 32 rows: 32 threads draw the four sign words of a row's 128 columns, all use them.
template <class T>
__device__ __forceinline__ void factor_a(const T *x, const T *noisy, const float *p,
                                         const float *rho, const uint32_t *positions,
                                         const uint32_t *rows, float *da, float *d_rho,
                                         unsigned n, unsigned k, unsigned r, unsigned is_softplus,
                                         uint32_t gaussian_tag, float gaussian_sign,
                                         const Draw &draw, uint4 *drawn, float *flipped) {
  unsigned rank = blockIdx.y, column = blockIdx.x * 128 + threadIdx.x;
  float mean = 0, noise = 0;
  for (unsigned first = 0; first < n; first += 32) {
    unsigned row = first + threadIdx.x;
    if (rho && threadIdx.x < 32 && row < n) {
      uint32_t position = place_of(draw, positions[row]);
      uint4 counter = make_uint4(blockIdx.x, position, rows[row], draw.input_tag);
      uint4 none = make_uint4(0, 0, 0, 0);
      drawn[threadIdx.x] = draw.signs == NO_SIGNS ? none : philox4x32_10(counter, *draw.key);
      flipped[threadIdx.x] =
          flip_rank(p[size_t(row) * r + rank], draw, positions[row], rows[row], rank);
    }
    __syncthreads();
    for (unsigned j = 0; j < 32 && first + j < n && column < k; j++) {
      size_t at = size_t(first + j) * k + column;
      mean += p[size_t(first + j) * r + rank] * to_float(x[at]);
      if (rho) {
        uint32_t word = word_of(drawn[j], threadIdx.x / 32);
        noise += flipped[j] * flip(to_float(noisy[at]), word, column);
      }
    }
    __syncthreads();
  }
  if (column >= k) return;
  size_t at = size_t(rank) * k + column;
  da[at] += mean;
  if (!rho) return;
  float slope = is_softplus ? 1.0f / (1.0f + expf(-rho[at])) : 2.0f * rho[at];
  d_rho[at] += noise * (gaussian_sign * normal_at(*draw.key, gaussian_tag, at)) * slope;
}

#define ENTRIES(T, suffix)                                                                        \
  extern "C" __global__ void low_rank_drop_##suffix(                                              \
      const T *__restrict__ x, const uint32_t *__restrict__ positions,                            \
      const uint32_t *__restrict__ rows, T *__restrict__ out, unsigned n, unsigned k,             \
      float dropout, const uint2 *__restrict__ key, uint32_t tag) {                               \
    drop(x, positions, rows, out, n, k, dropout, key, tag);                                       \
  }                                                                                               \
  extern "C" __global__ void low_rank_down_##suffix(                                              \
      const T *__restrict__ x, const T *__restrict__ noisy, const float *__restrict__ a,          \
      const float *__restrict__ p, const uint32_t *__restrict__ positions,                        \
      const uint32_t *__restrict__ rows, float *__restrict__ h, unsigned k, unsigned r,           \
      Draw draw) {                                                                                \
    down(x, noisy, a, p, positions, rows, h, k, r, draw);                                         \
  }                                                                                               \
  extern "C" __global__ void low_rank_up_##suffix(const float *__restrict__ h,                    \
                                                  const float *__restrict__ b,                    \
                                                  T *__restrict__ y, unsigned n, unsigned m,      \
                                                  unsigned r, float scaling) {                    \
    up(h, b, y, n, m, r, scaling);                                                                \
  }                                                                                               \
  extern "C" __global__ void low_rank_back_##suffix(                                              \
      const T *__restrict__ dy, const float *__restrict__ b, float *__restrict__ p, unsigned m,   \
      unsigned r, float scaling) {                                                                \
    back(dy, b, p, m, r, scaling);                                                                \
  }                                                                                               \
  extern "C" __global__ void low_rank_input_##suffix(                                             \
      const float *__restrict__ p, const float *__restrict__ a, const float *__restrict__ q,      \
      const uint32_t *__restrict__ positions, const uint32_t *__restrict__ rows,                  \
      T *__restrict__ dx, unsigned n, unsigned k, unsigned r, Draw draw) {                        \
    input(p, a, q, positions, rows, dx, n, k, r, draw);                                           \
  }                                                                                               \
  extern "C" __global__ void low_rank_b_##suffix(const T *__restrict__ dy,                        \
                                                 const float *__restrict__ h,                     \
                                                 float *__restrict__ db, unsigned n, unsigned m,  \
                                                 unsigned r, float scaling) {                     \
    factor_b(dy, h, db, n, m, r, scaling);                                                        \
  }                                                                                               \
  extern "C" __global__ void low_rank_a_##suffix(                                                 \
      const T *__restrict__ x, const T *__restrict__ noisy, const float *__restrict__ p,          \
      const float *__restrict__ rho, const uint32_t *__restrict__ positions,                      \
      const uint32_t *__restrict__ rows, float *__restrict__ da, float *__restrict__ d_rho,       \
      unsigned n, unsigned k, unsigned r, unsigned is_softplus, uint32_t gaussian_tag,            \
      float gaussian_sign, Draw draw) {                                                           \
    __shared__ uint4 drawn[32];                                                                   \
    __shared__ float flipped[32];                                                                 \
    factor_a(x, noisy, p, rho, positions, rows, da, d_rho, n, k, r, is_softplus, gaussian_tag,    \
             gaussian_sign, draw, drawn, flipped);                                                \
  }
ENTRIES(float, f32)
ENTRIES(bf16, bf16)
