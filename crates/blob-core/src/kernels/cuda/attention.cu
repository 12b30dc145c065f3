// Masked attention with grouped keys (arXiv:2305.13245) over ragged segments, without an L×L
// matrix: tiles with a running softmax (arXiv:2205.14135, Algorithm 1; arXiv:2307.08691 §3.1).
//
//   s_ij = κ·q_i·k_j, or a·tanh(κ·q_i·k_j/a)
//   p_ij = exp(s_ij − ℓ_i),  i − before ≤ j ≤ i + after       ℓ_i = ln Σ_j exp(s_ij)
//   o_i = Σ_j p_ij·v_j                                        δ_i = do_i·o_i
//   ds_ij = p_ij·(do_i·v_j − δ_i), times 1 − (s_ij/a)² under a cap
//   dq_i = κ·Σ_j ds_ij·k_j       dk_j = κ·Σ_i ds_ij·q_i       dv_j = Σ_i p_ij·do_i
//
// attention, attention_queries: a block per tile of queries and head, over the tiles of keys.
// attention_keys: a block per tile of keys, kv head and 128 columns of it, over the tiles of
// queries of each head of the group. Tiles begin at multiples of their size in a segment, so that
// sums do not depend on what else a batch has; each sum has one owner and runs in order.
//
// i and j count from the begin of a segment; query head h reads kv head h/(H/G). q, o, do, dq
// (m, H·c); k, v, dk, dv (n, G·c); ℓ, δ (m, H) f32. tiles: segment and first position of each;
// offsets (B + 1): where segments begin. m is n, or B where only the last position of each asks.
// _f32: products are f32, and so is everything else. _rounded: k and v are bf16, and κ·q, p, do and
// ds are rounded for products on tensor cores. c ≤ COLUMNS.
#include "tiles.cuh"

struct Shape {
  unsigned heads, kv_heads, width, before, after, last_queries_only;
  float scale;  // κ
  float cap;    // a; 0 = none
};

// Rows of the tile that a block owns, 16 to a warp, and of those that it runs over: no block has
// more than 99 KiB of shared memory. The host knows them, too (attention.rs).
template <class Way, unsigned COLUMNS>
struct Tiling;
template <unsigned COLUMNS>
struct Tiling<Exact, COLUMNS> {
  static constexpr unsigned OWN = COLUMNS == 64 ? 64 : 32, OTHER = COLUMNS == 256 ? 16 : 32;
};
template <unsigned COLUMNS>
struct Tiling<Rounded, COLUMNS> {
  static constexpr unsigned OWN = COLUMNS == 256 ? 64 : 128;
  static constexpr unsigned OTHER = COLUMNS == 64 ? 64 : COLUMNS == 128 ? 32 : 16;
};

struct Score {
  float value, slope;
};
__device__ __forceinline__ Score score_of(float product, const Shape &s) {
  if (s.cap == 0) return {product, 1.0f};
  float t = tanhf(product / s.cap);
  return {s.cap * t, 1.0f - t * t};
}
__device__ __forceinline__ bool sees(unsigned i, unsigned j, unsigned length, const Shape &s) {
  return i < length && j < length && j + s.before >= i && j <= i + s.after;
}

struct Segment {
  unsigned index, begin, length;
};
struct Range {
  unsigned from, to;
};
// Consecutive rows of queries, and the position of the first.
struct Queries {
  unsigned row, count, position;
};
// Those of the positions from `first` on, at most `most`.
__device__ __forceinline__ Queries queries_at(unsigned first, unsigned most, const Segment &segment,
                                              const Shape &s) {
  if (s.last_queries_only) return {segment.index, 1, segment.length - 1};
  return {segment.begin + first, min(most, segment.length - first), first};
}
// The positions that some of i, …, i + count − 1 sees, or is seen by with the reaches exchanged.
__device__ __forceinline__ Range reach(unsigned i, unsigned count, unsigned before, unsigned after,
                                       unsigned length) {
  unsigned last = i + count - 1;
  return {i > before ? i - before : 0, min(length, last + after + 1)};
}

// What a thread of a block knows of its place.
struct Place {
  Segment segment;
  unsigned first, warp, row;  // of the tile; of the warp's rows that of the thread's first sums
};
__device__ __forceinline__ Place place_of(const uint32_t *tiles, const uint32_t *offsets) {
  unsigned index = tiles[2 * blockIdx.x], begin = offsets[index];
  Segment segment = {index, begin, offsets[index + 1] - begin};
  unsigned warp = threadIdx.x / 32;
  return {segment, tiles[2 * blockIdx.x + 1], warp, 16 * warp + lane_index() / 4};
}
// The column of sum[t][e].
__device__ __forceinline__ unsigned column_of(unsigned t, unsigned e) {
  return 8 * t + lane_index() % 4 * 2 + e % 2;
}

// factor₀·sum of the first row, factor₁·sum of the second, as far as there are rows.
template <unsigned COLUMNS>
__device__ __forceinline__ void store_sums(float *to, size_t stride,
                                           const float (&sum)[COLUMNS / 8][4], unsigned row,
                                           unsigned rows, unsigned columns, float factor0,
                                           float factor1) {
#pragma unroll
  for (unsigned t = 0; t < COLUMNS / 8; t++)
    for (unsigned e = 0; e < 4; e++) {
      unsigned r = row + e / 2 * 8, column = column_of(t, e);
      if (r < rows && column < columns)
        to[r * stride + column] = (e < 2 ? factor0 : factor1) * sum[t][e];
    }
}
// Of the four lanes that share a row.
__device__ __forceinline__ float row_max(float x) {
  x = fmaxf(x, __shfl_xor_sync(FULL_WARP, x, 1));
  return fmaxf(x, __shfl_xor_sync(FULL_WARP, x, 2));
}
__device__ __forceinline__ float row_sum(float x) {
  x += __shfl_xor_sync(FULL_WARP, x, 1);
  return x + __shfl_xor_sync(FULL_WARP, x, 2);
}

// K: of k and v.
template <class Way, unsigned COLUMNS, class K>
__device__ __forceinline__ void forward(const float *q, const K *k, const K *v,
                                        const uint32_t *tiles, const uint32_t *offsets, float *o,
                                        float *log_sum_exp, const Shape &s, void *memory) {
  using Value = typename Way::Value;
  constexpr unsigned OWN = Tiling<Way, COLUMNS>::OWN, OTHER = Tiling<Way, COLUMNS>::OTHER;
  constexpr unsigned STRIDE = COLUMNS + Way::PAD;
  Value *query = static_cast<Value *>(memory), *key = query + OWN * STRIDE;
  Value *value = key + OTHER * STRIDE;
  Place at = place_of(tiles, offsets);
  unsigned head = blockIdx.y, kv = head / (s.heads / s.kv_heads), length = at.segment.length;
  size_t wide = size_t(s.heads) * s.width, narrow = size_t(s.kv_heads) * s.width;
  Queries rows = queries_at(at.first, OWN, at.segment, s);
  size_t from = rows.row * wide + head * s.width;
  load_tile<Way, OWN, COLUMNS>(query, q + from, wide, rows.count, s.width, s.scale);
  Range seen = reach(rows.position, rows.count, s.before, s.after, length);
  float sum[COLUMNS / 8][4] = {}, largest[2] = {-INFINITY, -INFINITY}, total[2] = {};
  for (unsigned first = seen.from / OTHER * OTHER; first < seen.to; first += OTHER) {
    size_t of = (at.segment.begin + first) * narrow + kv * s.width;
    __syncthreads();
    load_tile<Way, OTHER, COLUMNS>(key, k + of, narrow, length - first, s.width);
    load_tile<Way, OTHER, COLUMNS>(value, v + of, narrow, length - first, s.width);
    __syncthreads();
    if (16 * at.warp >= rows.count) continue;
    float p[OTHER / 8][4] = {}, next[2] = {largest[0], largest[1]}, kept[2];
    Way::by_rows(p, query + 16 * at.warp * STRIDE, key, STRIDE, padded(s.width));
#pragma unroll
    for (unsigned t = 0; t < OTHER / 8; t++)
#pragma unroll
      for (unsigned e = 0; e < 4; e++) {
        unsigned i = rows.position + at.row + e / 2 * 8, j = first + column_of(t, e);
        p[t][e] = sees(i, j, length, s) ? score_of(p[t][e], s).value : -INFINITY;
        next[e / 2] = fmaxf(next[e / 2], p[t][e]);
      }
    for (unsigned r = 0; r < 2; r++) {
      next[r] = row_max(next[r]);
      kept[r] = largest[r] == next[r] ? 1.0f : Way::exp(largest[r] - next[r]);
      largest[r] = next[r];
      total[r] *= kept[r];
    }
#pragma unroll
    for (unsigned t = 0; t < OTHER / 8; t++)
#pragma unroll
      for (unsigned e = 0; e < 4; e++) {
        bool is_hidden = p[t][e] == -INFINITY;
        p[t][e] = is_hidden ? 0.0f : Way::exp(p[t][e] - next[e / 2]);
        total[e / 2] += p[t][e];
      }
    if (!__all_sync(FULL_WARP, kept[0] == 1 && kept[1] == 1)) {
#pragma unroll
      for (unsigned t = 0; t < COLUMNS / 8; t++)
        for (unsigned e = 0; e < 4; e++) sum[t][e] *= kept[e / 2];
    }
    Way::template by_columns<OTHER / 8, COLUMNS>(sum, p, value, STRIDE, padded(s.width));
  }
  if (16 * at.warp >= rows.count) return;
  for (unsigned r = 0; r < 2; r++) total[r] = row_sum(total[r]);
  store_sums<COLUMNS>(o + from, wide, sum, at.row, rows.count, s.width, 1.0f / total[0],
                      1.0f / total[1]);
  for (unsigned r = 0; r < 2; r++) {
    unsigned row = at.row + 8 * r;
    if (lane_index() % 4 == 0 && row < rows.count)
      log_sum_exp[size_t(rows.row + row) * s.heads + head] = largest[r] + logf(total[r]);
  }
}

// dq, and δ for `attention_keys`.
template <class Way, unsigned COLUMNS, class K>
__device__ __forceinline__ void queries(const float *q, const K *k, const K *v, const float *o,
                                        const float *d_o, const float *log_sum_exp,
                                        const uint32_t *tiles, const uint32_t *offsets, float *dq,
                                        float *delta, const Shape &s, void *memory) {
  using Value = typename Way::Value;
  constexpr unsigned OWN = Tiling<Way, COLUMNS>::OWN, OTHER = Tiling<Way, COLUMNS>::OTHER;
  constexpr unsigned STRIDE = COLUMNS + Way::PAD;
  Value *query = static_cast<Value *>(memory), *gradient = query + OWN * STRIDE;
  Value *key = gradient + OWN * STRIDE, *value = key + OTHER * STRIDE;
  Place at = place_of(tiles, offsets);
  unsigned head = blockIdx.y, kv = head / (s.heads / s.kv_heads), length = at.segment.length;
  size_t wide = size_t(s.heads) * s.width, narrow = size_t(s.kv_heads) * s.width;
  Queries rows = queries_at(at.first, OWN, at.segment, s);
  size_t from = rows.row * wide + head * s.width;
  load_tile<Way, OWN, COLUMNS>(query, q + from, wide, rows.count, s.width, s.scale);
  load_tile<Way, OWN, COLUMNS>(gradient, d_o + from, wide, rows.count, s.width);
  float l[2] = {}, mean[2] = {};
  for (unsigned r = 0; r < 16 && 16 * at.warp + r < rows.count; r++) {
    unsigned row = 16 * at.warp + r;
    float product = 0;
    for (unsigned c = lane_index(); c < s.width; c += 32) {
      size_t here = from + row * wide + c;
      product += Way::rounded(d_o[here]) * o[here];
    }
    product = warp_sum(product);
    size_t of = size_t(rows.row + row) * s.heads + head;
    if (lane_index() == 0) delta[of] = product;
    if (lane_index() / 4 == r % 8) l[r / 8] = log_sum_exp[of], mean[r / 8] = product;
  }
  Range seen = reach(rows.position, rows.count, s.before, s.after, length);
  float sum[COLUMNS / 8][4] = {};
  for (unsigned first = seen.from / OTHER * OTHER; first < seen.to; first += OTHER) {
    size_t of = (at.segment.begin + first) * narrow + kv * s.width;
    __syncthreads();
    load_tile<Way, OTHER, COLUMNS>(key, k + of, narrow, length - first, s.width);
    load_tile<Way, OTHER, COLUMNS>(value, v + of, narrow, length - first, s.width);
    __syncthreads();
    if (16 * at.warp >= rows.count) continue;
    unsigned own = 16 * at.warp * STRIDE;
    float ds[OTHER / 8][4] = {}, dp[OTHER / 8][4] = {};
    Way::by_rows(ds, query + own, key, STRIDE, padded(s.width));
    Way::by_rows(dp, gradient + own, value, STRIDE, padded(s.width));
#pragma unroll
    for (unsigned t = 0; t < OTHER / 8; t++)
#pragma unroll
      for (unsigned e = 0; e < 4; e++) {
        unsigned i = rows.position + at.row + e / 2 * 8, j = first + column_of(t, e);
        Score score = score_of(ds[t][e], s);
        float p = sees(i, j, length, s) ? Way::exp(score.value - l[e / 2]) : 0.0f;
        ds[t][e] = p * (dp[t][e] - mean[e / 2]) * score.slope;
      }
    Way::template by_columns<OTHER / 8, COLUMNS>(sum, ds, key, STRIDE, padded(s.width));
  }
  store_sums<COLUMNS>(dq + from, wide, sum, at.row, rows.count, s.width, s.scale, s.scale);
}

template <class Way, unsigned COLUMNS, class K>
__device__ __forceinline__ void keys(const float *q, const K *k, const K *v, const float *d_o,
                                     const float *log_sum_exp, const float *delta,
                                     const uint32_t *tiles, const uint32_t *offsets, float *dk,
                                     float *dv, const Shape &s, void *memory) {
  using Value = typename Way::Value;
  constexpr unsigned OWN = Tiling<Way, COLUMNS>::OWN, OTHER = Tiling<Way, COLUMNS>::OTHER;
  constexpr unsigned STRIDE = COLUMNS + Way::PAD, PART = COLUMNS < 128 ? COLUMNS : 128;
  Value *key = static_cast<Value *>(memory), *value = key + OWN * STRIDE;
  Value *query = value + OWN * STRIDE, *gradient = query + OTHER * STRIDE;
  float *l = reinterpret_cast<float *>(gradient + OTHER * STRIDE), *mean = l + OTHER;
  Place at = place_of(tiles, offsets);
  unsigned kv = blockIdx.y, group = s.heads / s.kv_heads, length = at.segment.length;
  unsigned count = min(OWN, length - at.first), part = blockIdx.z * PART;
  unsigned columns = min(PART, padded(s.width) - part);
  size_t wide = size_t(s.heads) * s.width, narrow = size_t(s.kv_heads) * s.width;
  size_t from = (at.segment.begin + at.first) * narrow + kv * s.width;
  load_tile<Way, OWN, COLUMNS>(key, k + from, narrow, count, s.width);
  load_tile<Way, OWN, COLUMNS>(value, v + from, narrow, count, s.width);
  Range seen = reach(at.first, count, s.after, s.before, length);
  if (s.last_queries_only) seen = seen.to == length ? Range{length - 1, length} : Range{0, 0};
  float key_sum[PART / 8][4] = {}, value_sum[PART / 8][4] = {};
  for (unsigned head = kv * group; head < (kv + 1) * group; head++)
    for (unsigned first = seen.from / OTHER * OTHER; first < seen.to; first += OTHER) {
      Queries rows = queries_at(first, OTHER, at.segment, s);
      size_t of = rows.row * wide + head * s.width;
      __syncthreads();
      load_tile<Way, OTHER, COLUMNS>(query, q + of, wide, rows.count, s.width, s.scale);
      load_tile<Way, OTHER, COLUMNS>(gradient, d_o + of, wide, rows.count, s.width);
      if (threadIdx.x < OTHER) {
        bool is_row = threadIdx.x < rows.count;
        size_t here = size_t(rows.row + threadIdx.x) * s.heads + head;
        l[threadIdx.x] = is_row ? log_sum_exp[here] : 0.0f;
        mean[threadIdx.x] = is_row ? delta[here] : 0.0f;
      }
      __syncthreads();
      if (16 * at.warp >= count) continue;
      unsigned own = 16 * at.warp * STRIDE;
      float ds[OTHER / 8][4] = {}, p[OTHER / 8][4] = {};
      Way::by_rows(ds, key + own, query, STRIDE, padded(s.width));
      Way::by_rows(p, value + own, gradient, STRIDE, padded(s.width));
#pragma unroll
      for (unsigned t = 0; t < OTHER / 8; t++)
#pragma unroll
        for (unsigned e = 0; e < 4; e++) {
          unsigned column = column_of(t, e), j = at.first + at.row + e / 2 * 8;
          Score score = score_of(ds[t][e], s);
          bool is_seen = sees(rows.position + column, j, length, s);
          float weight = is_seen ? Way::exp(score.value - l[column]) : 0.0f;
          ds[t][e] = weight * (p[t][e] - mean[column]) * score.slope;
          p[t][e] = weight;
        }
      Way::template by_columns<OTHER / 8, PART>(value_sum, p, gradient + part, STRIDE, columns);
      Way::template by_columns<OTHER / 8, PART>(key_sum, ds, query + part, STRIDE, columns);
    }
  unsigned left = s.width - part;
  store_sums<PART>(dk + from + part, narrow, key_sum, at.row, count, left, 1, 1);  // q has κ
  store_sums<PART>(dv + from + part, narrow, value_sum, at.row, count, left, 1, 1);
}

#define MEMORY extern __shared__ __align__(16) unsigned char memory[]
#define ENTRIES(WAY, K, COLUMNS, suffix)                                                          \
  extern "C" __global__ void __launch_bounds__(2 * Tiling<WAY, COLUMNS>::OWN)                     \
      attention_##COLUMNS##_##suffix(                                                             \
          const float *__restrict__ q, const K *__restrict__ k, const K *__restrict__ v,          \
          const uint32_t *__restrict__ tiles, const uint32_t *__restrict__ offsets,               \
          float *__restrict__ o, float *__restrict__ log_sum_exp, Shape shape) {                  \
    MEMORY;                                                                                       \
    forward<WAY, COLUMNS>(q, k, v, tiles, offsets, o, log_sum_exp, shape, memory);                \
  }                                                                                               \
  extern "C" __global__ void __launch_bounds__(2 * Tiling<WAY, COLUMNS>::OWN)                     \
      attention_queries_##COLUMNS##_##suffix(                                                     \
          const float *__restrict__ q, const K *__restrict__ k, const K *__restrict__ v,          \
          const float *__restrict__ o, const float *__restrict__ d_o,                             \
          const float *__restrict__ log_sum_exp, const uint32_t *__restrict__ tiles,              \
          const uint32_t *__restrict__ offsets, float *__restrict__ dq,                           \
          float *__restrict__ delta, Shape shape) {                                               \
    MEMORY;                                                                                       \
    queries<WAY, COLUMNS>(q, k, v, o, d_o, log_sum_exp, tiles, offsets, dq, delta, shape,         \
                          memory);                                                                \
  }                                                                                               \
  extern "C" __global__ void __launch_bounds__(2 * Tiling<WAY, COLUMNS>::OWN)                     \
      attention_keys_##COLUMNS##_##suffix(                                                        \
          const float *__restrict__ q, const K *__restrict__ k, const K *__restrict__ v,          \
          const float *__restrict__ d_o, const float *__restrict__ log_sum_exp,                   \
          const float *__restrict__ delta, const uint32_t *__restrict__ tiles,                    \
          const uint32_t *__restrict__ offsets, float *__restrict__ dk, float *__restrict__ dv,   \
          Shape shape) {                                                                          \
    MEMORY;                                                                                       \
    keys<WAY, COLUMNS>(q, k, v, d_o, log_sum_exp, delta, tiles, offsets, dk, dv, shape, memory);  \
  }
#define WIDTHS(WAY, K, suffix)    \
  ENTRIES(WAY, K, 64, suffix)     \
  ENTRIES(WAY, K, 128, suffix)    \
  ENTRIES(WAY, K, 256, suffix)
WIDTHS(Exact, float, f32)
WIDTHS(Rounded, bf16, rounded)
