// Masked attention with grouped keys (arXiv:2305.13245) over ragged segments, without an L×L
// matrix (arXiv:2205.14135): the plain path, in f32 sums. A warp per (token, query head), and per
// (token, kv head) for the gradients of keys and values, whose sums run in the order of queries.
//
//   s_ij = κ·q_i·k_j, or a·tanh(κ·q_i·k_j/a)
//   p_ij = exp(s_ij − ℓ_i),  j ∈ V_i       ℓ_i = ln Σ_j exp(s_ij)
//   o_i = Σ_j p_ij·v_j
//   ds_ij = p_ij·(do_i·v_j − do_i·o_i), times 1 − (s_ij/a)² under a cap
//   dq_i = κ·Σ_j ds_ij·k_j       dk_j = κ·Σ_i ds_ij·q_i       dv_j = Σ_i p_ij·do_i
//
// V_i: with `is_causal` the positions of i's segment up to i, of these the last `window` unless it
// is 0; else all. Query head h reads kv head h/(H/G). q, o, do, dq (m, H·c); k, v, dk, dv (n, G·c):
// f32 or bf16; ℓ (m, H) f32. segments (n): the segment of each token; offsets (B + 1): where they
// begin. m is n, or B where only the last position of each segment asks. c ≤ 256.
#include "values.cuh"

struct Shape {
  unsigned n, asking, heads, kv_heads, width, is_causal, window;
  float scale;  // κ
  float cap;    // a; 0 = none
};
constexpr unsigned MOST = 8;  // values of a head in a lane

struct Score {
  float value, slope;
};
__device__ __forceinline__ Score score_of(float product, const Shape &s) {
  float value = s.scale * product;
  if (s.cap == 0) return {value, 1.0f};
  float t = tanhf(value / s.cap);
  return {s.cap * t, 1.0f - t * t};
}

template <class T>
__device__ __forceinline__ void load_head(const T *p, unsigned width, float (&values)[MOST]) {
  unsigned lane = threadIdx.x % 32;
  for (unsigned i = 0; i < MOST; i++)
    values[i] = lane + 32 * i < width ? to_float(p[lane + 32 * i]) : 0.0f;
}
template <class T>
__device__ __forceinline__ void store_head(T *p, unsigned width, const float (&values)[MOST],
                                           float factor) {
  unsigned lane = threadIdx.x % 32;
  for (unsigned i = 0; i < MOST; i++)
    if (lane + 32 * i < width) p[lane + 32 * i] = from_float<T>(factor * values[i]);
}
__device__ __forceinline__ float dot(const float (&a)[MOST], const float (&b)[MOST]) {
  float sum = 0;
  for (unsigned i = 0; i < MOST; i++) sum += a[i] * b[i];
  return warp_sum(sum);
}
__device__ __forceinline__ void add(float (&sum)[MOST], float factor, const float (&b)[MOST]) {
  for (unsigned i = 0; i < MOST; i++) sum[i] += factor * b[i];
}

struct Range {
  unsigned from, to;
};
__device__ __forceinline__ bool asks_last(const Shape &s) { return s.asking != s.n; }
// What the query of a row sees.
__device__ __forceinline__ Range seen_by(unsigned row, const uint32_t *segments,
                                         const uint32_t *offsets, const Shape &s) {
  unsigned segment = asks_last(s) ? row : segments[row];
  unsigned begin = offsets[segment], end = offsets[segment + 1];
  if (!s.is_causal) return {begin, end};
  unsigned after = asks_last(s) ? end : row + 1;
  return {s.window && after > begin + s.window ? after - s.window : begin, after};
}
// The rows of the queries that see j.
__device__ __forceinline__ Range seeing(unsigned j, const uint32_t *segments,
                                        const uint32_t *offsets, const Shape &s) {
  unsigned segment = segments[j], begin = offsets[segment], end = offsets[segment + 1];
  bool is_windowed = s.is_causal && s.window && j + s.window < end;
  if (asks_last(s)) return {segment, is_windowed ? segment : segment + 1};
  if (!s.is_causal) return {begin, end};
  return {j, is_windowed ? j + s.window : end};
}
__device__ __forceinline__ unsigned warp_index() {
  return (blockIdx.x * blockDim.x + threadIdx.x) / 32;
}

template <class T>
__device__ __forceinline__ void forward(const T *q, const T *k, const T *v,
                                        const uint32_t *segments, const uint32_t *offsets, T *o,
                                        float *log_sum_exp, Shape s) {
  unsigned i = warp_index() / s.heads, head = warp_index() % s.heads;
  if (i >= s.asking) return;
  unsigned kv = head / (s.heads / s.kv_heads);
  size_t at = (size_t(i) * s.heads + head) * s.width;
  float query[MOST], key[MOST], value[MOST], sum[MOST] = {};
  load_head(q + at, s.width, query);
  float largest = -INFINITY, total = 0;
  Range seen = seen_by(i, segments, offsets, s);
  for (unsigned j = seen.from; j < seen.to; j++) {
    size_t from = (size_t(j) * s.kv_heads + kv) * s.width;
    load_head(k + from, s.width, key);
    load_head(v + from, s.width, value);
    float score = score_of(dot(query, key), s).value, next = fmaxf(largest, score);
    float kept = expf(largest - next), weight = expf(score - next);
    for (unsigned e = 0; e < MOST; e++) sum[e] *= kept;
    add(sum, weight, value);
    total = total * kept + weight;
    largest = next;
  }
  store_head(o + at, s.width, sum, 1.0f / total);
  if (threadIdx.x % 32 == 0) log_sum_exp[size_t(i) * s.heads + head] = largest + logf(total);
}

template <class T>
__device__ __forceinline__ void queries(const T *q, const T *k, const T *v, const T *o,
                                        const T *d_o, const float *log_sum_exp,
                                        const uint32_t *segments, const uint32_t *offsets, T *dq,
                                        Shape s) {
  unsigned i = warp_index() / s.heads, head = warp_index() % s.heads;
  if (i >= s.asking) return;
  unsigned kv = head / (s.heads / s.kv_heads);
  size_t at = (size_t(i) * s.heads + head) * s.width;
  float query[MOST], key[MOST], value[MOST], gradient[MOST], output[MOST], sum[MOST] = {};
  load_head(q + at, s.width, query);
  load_head(d_o + at, s.width, gradient);
  load_head(o + at, s.width, output);
  float mean = dot(gradient, output), l = log_sum_exp[size_t(i) * s.heads + head];
  Range seen = seen_by(i, segments, offsets, s);
  for (unsigned j = seen.from; j < seen.to; j++) {
    size_t from = (size_t(j) * s.kv_heads + kv) * s.width;
    load_head(k + from, s.width, key);
    load_head(v + from, s.width, value);
    Score score = score_of(dot(query, key), s);
    float p = expf(score.value - l);
    add(sum, p * (dot(gradient, value) - mean) * score.slope, key);
  }
  store_head(dq + at, s.width, sum, s.scale);
}

template <class T>
__device__ __forceinline__ void keys(const T *q, const T *k, const T *v, const T *o, const T *d_o,
                                     const float *log_sum_exp, const uint32_t *segments,
                                     const uint32_t *offsets, T *dk, T *dv, Shape s) {
  unsigned j = warp_index() / s.kv_heads, kv = warp_index() % s.kv_heads;
  if (j >= s.n) return;
  unsigned group = s.heads / s.kv_heads;
  size_t at = (size_t(j) * s.kv_heads + kv) * s.width;
  float query[MOST], key[MOST], value[MOST], gradient[MOST], output[MOST];
  float key_sum[MOST] = {}, value_sum[MOST] = {};
  load_head(k + at, s.width, key);
  load_head(v + at, s.width, value);
  Range asking = seeing(j, segments, offsets, s);
  for (unsigned i = asking.from; i < asking.to; i++)
    for (unsigned head = kv * group; head < (kv + 1) * group; head++) {
      size_t from = (size_t(i) * s.heads + head) * s.width;
      load_head(q + from, s.width, query);
      load_head(d_o + from, s.width, gradient);
      load_head(o + from, s.width, output);
      Score score = score_of(dot(query, key), s);
      float p = expf(score.value - log_sum_exp[size_t(i) * s.heads + head]);
      add(value_sum, p, gradient);
      add(key_sum, p * (dot(gradient, value) - dot(gradient, output)) * score.slope, query);
    }
  store_head(dk + at, s.width, key_sum, s.scale);
  store_head(dv + at, s.width, value_sum, 1.0f);
}

#define ENTRIES(T, suffix)                                                                       \
  extern "C" __global__ void attention_##suffix(                                                 \
      const T *__restrict__ q, const T *__restrict__ k, const T *__restrict__ v,                 \
      const uint32_t *__restrict__ segments, const uint32_t *__restrict__ offsets,               \
      T *__restrict__ o, float *__restrict__ log_sum_exp, Shape shape) {                         \
    forward(q, k, v, segments, offsets, o, log_sum_exp, shape);                                  \
  }                                                                                              \
  extern "C" __global__ void attention_queries_##suffix(                                         \
      const T *__restrict__ q, const T *__restrict__ k, const T *__restrict__ v,                 \
      const T *__restrict__ o, const T *__restrict__ d_o, const float *__restrict__ log_sum_exp, \
      const uint32_t *__restrict__ segments, const uint32_t *__restrict__ offsets,               \
      T *__restrict__ dq, Shape shape) {                                                         \
    queries(q, k, v, o, d_o, log_sum_exp, segments, offsets, dq, shape);                         \
  }                                                                                              \
  extern "C" __global__ void attention_keys_##suffix(                                            \
      const T *__restrict__ q, const T *__restrict__ k, const T *__restrict__ v,                 \
      const T *__restrict__ o, const T *__restrict__ d_o, const float *__restrict__ log_sum_exp, \
      const uint32_t *__restrict__ segments, const uint32_t *__restrict__ offsets,               \
      T *__restrict__ dk, T *__restrict__ dv, Shape shape) {                                     \
    keys(q, k, v, o, d_o, log_sum_exp, segments, offsets, dk, dv, shape);                        \
  }
ENTRIES(float, f32)
ENTRIES(bf16, bf16)
