// Attention whose scores have terms of the distance from query to key (DeBERTa, arXiv:2006.03654
// §3.1), over ragged segments, without an L×L matrix: the plain path, in f32 sums.
//
//   s_ij = κ·( q_i·k_j + q_i·K̂_δ + k_j·Q̂_δ )      δ = δ(i − j)
//   p_ij = exp(s_ij − ℓ_i)     ℓ_i = ln Σ_j exp(s_ij)     o_i = Σ_j p_ij·v_j
//   ds_ij = p_ij·(do_i·v_j − do_i·o_i)                    dv_j = Σ_i p_ij·do_i
//   dq_i  = κ·Σ_j ds_ij·(k_j + K̂_δ)                       dk_j = κ·Σ_i ds_ij·(q_i + Q̂_δ)
//   dK̂_r  = κ·Σ_{ij: δ=r} ds_ij·q_i                       dQ̂_r = κ·Σ_{ij: δ=r} ds_ij·k_j
//
// q, k, v, o, do (n, H·c); queries and keys: Q̂ and K̂ (C·w, H·c), w rows for each of C copies of a
// batch; ℓ (n, H). segments (n): the segment of each token; offsets (B + 1): where they begin;
// shares (B): first row of the copy that a segment reads. places (2L − 1): the row of each distance
// from 1 − L on within a copy, not falling. A warp per (token, head); per (row, head) of the tables
// for their gradients, whose sums run over segments, distances, then queries. c ≤ 256.
#include "heads.cuh"

struct Shape {
  unsigned n, segments, heads, width, rows, copy, longest;  // rows C·w, copy w
  float scale;                                               // κ
};

// The row of Q̂ and K̂ for query i and key j.
__device__ __forceinline__ size_t row_of(unsigned i, unsigned j, const uint32_t *shares,
                                         const uint32_t *places, unsigned segment,
                                         const Shape &s) {
  return size_t(shares[segment]) + places[s.longest - 1 + i - j];
}

// One pair: κ·(q·k + q·K̂ + k·Q̂).
__device__ __forceinline__ float score_of(const float (&q)[MOST], const float (&k)[MOST],
                                          const float (&of_query)[MOST],
                                          const float (&of_key)[MOST], const Shape &s) {
  float sum = 0;
  for (unsigned e = 0; e < MOST; e++) sum += q[e] * k[e] + q[e] * of_key[e] + k[e] * of_query[e];
  return s.scale * warp_sum(sum);
}

extern "C" __global__ void distances_f32(
    const float *__restrict__ q, const float *__restrict__ k, const float *__restrict__ v,
    const float *__restrict__ queries, const float *__restrict__ keys,
    const uint32_t *__restrict__ segments, const uint32_t *__restrict__ offsets,
    const uint32_t *__restrict__ shares, const uint32_t *__restrict__ places,
    float *__restrict__ o, float *__restrict__ log_sum_exp, Shape s) {
  unsigned i = warp_index() / s.heads, head = warp_index() % s.heads;
  if (i >= s.n) return;
  unsigned segment = segments[i];
  float query[MOST], key[MOST], value[MOST], of_query[MOST], of_key[MOST], sum[MOST] = {};
  size_t at = (size_t(i) * s.heads + head) * s.width;
  load_head(q + at, s.width, query);
  float largest = -INFINITY, total = 0;
  for (unsigned j = offsets[segment]; j < offsets[segment + 1]; j++) {
    size_t from = (size_t(j) * s.heads + head) * s.width;
    size_t place = (row_of(i, j, shares, places, segment, s) * s.heads + head) * s.width;
    load_head(k + from, s.width, key);
    load_head(v + from, s.width, value);
    load_head(queries + place, s.width, of_query);
    load_head(keys + place, s.width, of_key);
    float score = score_of(query, key, of_query, of_key, s), next = fmaxf(largest, score);
    float kept = expf(largest - next), weight = expf(score - next);
    for (unsigned e = 0; e < MOST; e++) sum[e] *= kept;
    add(sum, weight, value);
    total = total * kept + weight;
    largest = next;
  }
  store_head(o + at, s.width, sum, 1.0f / total);
  if (threadIdx.x % 32 == 0) log_sum_exp[size_t(i) * s.heads + head] = largest + logf(total);
}

extern "C" __global__ void distances_queries_f32(
    const float *__restrict__ q, const float *__restrict__ k, const float *__restrict__ v,
    const float *__restrict__ queries, const float *__restrict__ keys,
    const float *__restrict__ o, const float *__restrict__ d_o,
    const float *__restrict__ log_sum_exp, const uint32_t *__restrict__ segments,
    const uint32_t *__restrict__ offsets, const uint32_t *__restrict__ shares,
    const uint32_t *__restrict__ places, float *__restrict__ dq, Shape s) {
  unsigned i = warp_index() / s.heads, head = warp_index() % s.heads;
  if (i >= s.n) return;
  unsigned segment = segments[i];
  float query[MOST], key[MOST], value[MOST], of_query[MOST], of_key[MOST], sum[MOST] = {};
  float gradient[MOST], output[MOST];
  size_t at = (size_t(i) * s.heads + head) * s.width;
  load_head(q + at, s.width, query);
  load_head(d_o + at, s.width, gradient);
  load_head(o + at, s.width, output);
  float mean = dot(gradient, output), l = log_sum_exp[size_t(i) * s.heads + head];
  for (unsigned j = offsets[segment]; j < offsets[segment + 1]; j++) {
    size_t from = (size_t(j) * s.heads + head) * s.width;
    size_t place = (row_of(i, j, shares, places, segment, s) * s.heads + head) * s.width;
    load_head(k + from, s.width, key);
    load_head(v + from, s.width, value);
    load_head(queries + place, s.width, of_query);
    load_head(keys + place, s.width, of_key);
    float p = expf(score_of(query, key, of_query, of_key, s) - l);
    float d_score = p * (dot(gradient, value) - mean);
    add(sum, d_score, key);
    add(sum, d_score, of_key);
  }
  store_head(dq + at, s.width, sum, s.scale);
}

extern "C" __global__ void distances_keys_f32(
    const float *__restrict__ q, const float *__restrict__ k, const float *__restrict__ v,
    const float *__restrict__ queries, const float *__restrict__ keys,
    const float *__restrict__ o, const float *__restrict__ d_o,
    const float *__restrict__ log_sum_exp, const uint32_t *__restrict__ segments,
    const uint32_t *__restrict__ offsets, const uint32_t *__restrict__ shares,
    const uint32_t *__restrict__ places, float *__restrict__ dk, float *__restrict__ dv, Shape s) {
  unsigned j = warp_index() / s.heads, head = warp_index() % s.heads;
  if (j >= s.n) return;
  unsigned segment = segments[j];
  float query[MOST], key[MOST], value[MOST], of_query[MOST], of_key[MOST];
  float gradient[MOST], output[MOST], key_sum[MOST] = {}, value_sum[MOST] = {};
  size_t at = (size_t(j) * s.heads + head) * s.width;
  load_head(k + at, s.width, key);
  load_head(v + at, s.width, value);
  for (unsigned i = offsets[segment]; i < offsets[segment + 1]; i++) {
    size_t from = (size_t(i) * s.heads + head) * s.width;
    size_t place = (row_of(i, j, shares, places, segment, s) * s.heads + head) * s.width;
    load_head(q + from, s.width, query);
    load_head(d_o + from, s.width, gradient);
    load_head(o + from, s.width, output);
    load_head(queries + place, s.width, of_query);
    load_head(keys + place, s.width, of_key);
    float l = log_sum_exp[size_t(i) * s.heads + head];
    float p = expf(score_of(query, key, of_query, of_key, s) - l);
    float d_score = p * (dot(gradient, value) - dot(gradient, output));
    add(value_sum, p, gradient);
    add(key_sum, d_score, query);
    add(key_sum, d_score, of_query);
  }
  store_head(dk + at, s.width, key_sum, s.scale);
  store_head(dv + at, s.width, value_sum, 1.0f);
}

// The first of places[from, to) that is not below a row.
__device__ __forceinline__ int first_place(const uint32_t *places, int from, int to, unsigned row) {
  while (from < to) {
    int middle = (from + to) / 2;
    if (places[middle] < row) from = middle + 1;
    else to = middle;
  }
  return from;
}

extern "C" __global__ void distances_tables_f32(
    const float *__restrict__ q, const float *__restrict__ k, const float *__restrict__ v,
    const float *__restrict__ queries, const float *__restrict__ keys,
    const float *__restrict__ o, const float *__restrict__ d_o,
    const float *__restrict__ log_sum_exp, const uint32_t *__restrict__ offsets,
    const uint32_t *__restrict__ shares, const uint32_t *__restrict__ places,
    float *__restrict__ d_queries, float *__restrict__ d_keys, Shape s) {
  unsigned row = warp_index() / s.heads, head = warp_index() % s.heads;
  if (row >= s.rows) return;
  float query[MOST], key[MOST], value[MOST], of_query[MOST], of_key[MOST];
  float gradient[MOST], output[MOST], query_sum[MOST] = {}, key_sum[MOST] = {};
  size_t at = (size_t(row) * s.heads + head) * s.width;
  load_head(queries + at, s.width, of_query);
  load_head(keys + at, s.width, of_key);
  for (unsigned segment = 0; segment < s.segments; segment++) {
    unsigned share = shares[segment];
    if (row < share || row >= share + s.copy) continue;
    int begin = int(offsets[segment]), end = int(offsets[segment + 1]), length = end - begin;
    int zero = int(s.longest) - 1, last = zero + length;
    int from = first_place(places, zero + 1 - length, last, row - share);
    int to = first_place(places, from, last, row - share + 1);
    for (int distance = from - zero; distance < to - zero; distance++)
      for (int i = begin; i < end; i++) {
        int j = i - distance;
        if (j < begin || j >= end) continue;
        size_t of_i = (size_t(i) * s.heads + head) * s.width;
        size_t of_j = (size_t(j) * s.heads + head) * s.width;
        load_head(q + of_i, s.width, query);
        load_head(d_o + of_i, s.width, gradient);
        load_head(o + of_i, s.width, output);
        load_head(k + of_j, s.width, key);
        load_head(v + of_j, s.width, value);
        float l = log_sum_exp[size_t(i) * s.heads + head];
        float p = expf(score_of(query, key, of_query, of_key, s) - l);
        float d_score = p * (dot(gradient, value) - dot(gradient, output));
        add(key_sum, d_score, query);
        add(query_sum, d_score, key);
      }
  }
  store_head(d_keys + at, s.width, key_sum, s.scale);
  store_head(d_queries + at, s.width, query_sum, s.scale);
}
