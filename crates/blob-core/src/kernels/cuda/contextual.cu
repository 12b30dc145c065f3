// The matrix between A and B that a network makes of each row, and its adjoint (C-LoRA,
// arXiv:2505.17773 §3).
//
//   u = max(0, z·W₁ᵀ + b₁)    (μ, ρ) = u·W₂ᵀ + b₂    σ = (1 + e^−ρ)⁻²    E = μ + σ ∘ ε
//
//   contextual_forward   h_t = E_t z_t                              a warp per 32 rows and i
//   contextual_entries   u    dz_t = E_tᵀ dh_t                      a warp per 32 rows and 4 j
//                        dμ_t = dh_t z_tᵀ + w·∂KL/∂μ
//                        dρ_t = (dh_t z_tᵀ ∘ ε_t + w·∂KL/∂σ) ∘ dσ/dρ
//   contextual_hidden    du = (dμ, dρ)·W₂ where u > 0    dz += du·W₁    256 threads per 32 rows
//   contextual_layer     dW += dyᵀ·x    db += Σ dy                  a thread per value of both
//
// z, dz, h, dh (n, r), u (n, H), E, ε (r, r) of each row, W₁ (H, r), W₂ (2r², H): f32. Adjoints of
// the network's layers lie by their columns: (dμ, dρ) (2r², n), du (H, n); they are dy (m, n) of x
// (n, k). KL is to N(0, σp²): ∂μ = 2μ/D, ∂σ = 2σ/D − 1/(σ + c), D = 2σp² + c; `kl` is 2w/D, w, c in
// memory, as the key is, so that a launch is the same in every step.
//
// ε is a pure function of the token's identity and place, of the prompt's identity alone, or the
// same for all rows. Blocks of 256 threads, a lane for each of 32 rows. A row's sums depend on
// nobody else; those of weights run over the rows in order.
#include "philox.cuh"

constexpr unsigned H = 64, ROWS = 32, WARPS = 8, COLUMNS = 4;

enum : uint32_t { AT_MEAN, OF_TOKENS, OF_PROMPTS, OF_ALL };
struct Noise {
  const uint2 *key;
  uint32_t tag, whose;
  float sign;
  unsigned unused;
};

// A value of each column for each row of the block; r, H ≤ 64.
using Tile = float[ROWS][H + 1];

__device__ __forceinline__ void load(const float *values, unsigned n, unsigned width, Tile tile) {
  size_t first = size_t(blockIdx.x) * ROWS;
  for (unsigned i = threadIdx.x; i < ROWS * width; i += blockDim.x) {
    unsigned row = i / width;
    tile[row][i % width] = first + row < n ? values[first * width + i] : 0.0f;
  }
}

// u of the block's rows, whose z is loaded.
__device__ __forceinline__ void hide(const Tile z, const float *w1, const float *b1, unsigned r,
                                     Tile u) {
  unsigned lane = threadIdx.x % 32;
  __syncthreads();
  for (unsigned unit = threadIdx.x / 32; unit < H; unit += WARPS) {
    float sum = 0;
    for (unsigned j = 0; j < r; j++) sum += z[lane][j] * w1[unit * r + j];
    u[lane][unit] = fmaxf(sum + b1[unit], 0.0f);
  }
  __syncthreads();
}

// μ and ρ of an entry of the lane's matrix; `weights` (2H) is the warp's.
__device__ __forceinline__ float2 moments_of(const float *u, const float *w2, const float *b2,
                                             unsigned at, unsigned entries, float *weights) {
  const float *of_mean = w2 + size_t(at) * H, *of_rho = w2 + size_t(entries + at) * H;
  __syncwarp();  // all lanes have read those of the entry before
  for (unsigned unit = threadIdx.x % 32; unit < H; unit += 32) {
    weights[unit] = of_mean[unit];
    weights[H + unit] = of_rho[unit];
  }
  __syncwarp();
  float mean = 0, rho = 0;
#pragma unroll
  for (unsigned unit = 0; unit < H; unit++) {
    mean += u[unit] * weights[unit];
    rho += u[unit] * weights[H + unit];
  }
  return make_float2(mean + b2[at], rho + b2[entries + at]);
}

// Whose ε a row sees: a position and an identity.
__device__ __forceinline__ uint2 who(const Noise &noise, const uint32_t *positions,
                                     const uint32_t *rows, size_t row) {
  uint32_t position = noise.whose == OF_TOKENS ? positions[row] : 0u;
  uint32_t identity = noise.whose == OF_ALL ? 0u : rows[row];
  return make_uint2(position, identity);
}

// ε of an entry; `four` are those of its block, drawn where they begin or are read first.
__device__ __forceinline__ float draw(const Noise &noise, uint2 token, unsigned at, bool is_first,
                                      float4 &four) {
  if (noise.whose == AT_MEAN) return 0.0f;
  if (is_first || at % 4 == 0) {
    uint4 counter = make_uint4(at / 4, token.x, token.y, noise.tag);
    four = four_normals(philox4x32_10(counter, *noise.key));
  }
  return __fmul_rn(noise.sign, one_of(four, at % 4));
}

__device__ __forceinline__ float logistic(float x) { return 1.0f / (1.0f + expf(-x)); }

extern "C" __global__ void contextual_forward(
    const float *__restrict__ z, const float *__restrict__ w1, const float *__restrict__ b1,
    const float *__restrict__ w2, const float *__restrict__ b2,
    const uint32_t *__restrict__ positions, const uint32_t *__restrict__ rows,
    float *__restrict__ h, unsigned n, unsigned r, Noise noise) {
  __shared__ Tile inputs, hidden;
  __shared__ float4 weights[WARPS][2 * H / 4];
  unsigned lane = threadIdx.x % 32, warp = threadIdx.x / 32, i = blockIdx.y * WARPS + warp;
  load(z, n, r, inputs);
  hide(inputs, w1, b1, r, hidden);
  if (i >= r) return;
  size_t row = size_t(blockIdx.x) * ROWS + lane;
  float u[H], sum = 0;
#pragma unroll
  for (unsigned unit = 0; unit < H; unit++) u[unit] = hidden[lane][unit];
  uint2 token = row < n ? who(noise, positions, rows, row) : make_uint2(0, 0);
  float4 four = make_float4(0, 0, 0, 0);
  for (unsigned j = 0; j < r; j++) {
    unsigned at = i * r + j;
    float2 made = moments_of(u, w2, b2, at, r * r, (float *)weights[warp]);
    float l = logistic(made.y), epsilon = draw(noise, token, at, j == 0, four);
    sum += (made.x + l * l * epsilon) * inputs[lane][j];
  }
  if (row < n) h[row * r + i] = sum;
}

extern "C" __global__ void contextual_entries(
    const float *__restrict__ z, const float *__restrict__ dh, const float *__restrict__ w1,
    const float *__restrict__ b1, const float *__restrict__ w2, const float *__restrict__ b2,
    const uint32_t *__restrict__ positions, const uint32_t *__restrict__ rows,
    const float *__restrict__ kl, float *__restrict__ u_out, float *__restrict__ dmade,
    float *__restrict__ dz, unsigned n, unsigned r, Noise noise) {
  __shared__ Tile inputs, hidden, adjoint;
  __shared__ float4 weights[WARPS][2 * H / 4];
  unsigned lane = threadIdx.x % 32, warp = threadIdx.x / 32, entries = r * r;
  unsigned first_j = (blockIdx.y * WARPS + warp) * COLUMNS;
  size_t first_row = size_t(blockIdx.x) * ROWS, row = first_row + lane;
  load(z, n, r, inputs);
  load(dh, n, r, adjoint);
  hide(inputs, w1, b1, r, hidden);
  for (unsigned i = threadIdx.x; blockIdx.y == 0 && i < ROWS * H; i += blockDim.x)
    if (first_row + i / H < n) u_out[first_row * H + i] = hidden[i / H][i % H];
  if (first_j >= r) return;
  float u[H], sums[COLUMNS] = {};
#pragma unroll
  for (unsigned unit = 0; unit < H; unit++) u[unit] = hidden[lane][unit];
  uint2 token = row < n ? who(noise, positions, rows, row) : make_uint2(0, 0);
  float4 four = make_float4(0, 0, 0, 0);
  float slope_of_kl = kl[0], weight = kl[1], c = kl[2];
  for (unsigned i = 0; i < r; i++) {
    float d = adjoint[lane][i];
#pragma unroll
    for (unsigned column = 0; column < COLUMNS; column++) {
      unsigned j = first_j + column, at = i * r + j;
      if (j >= r) break;
      float2 made = moments_of(u, w2, b2, at, entries, (float *)weights[warp]);
      float epsilon = draw(noise, token, at, column == 0, four);
      float l = logistic(made.y), std = l * l;
      sums[column] += d * (made.x + std * epsilon);
      float by_entry = d * inputs[lane][j], by_mean = by_entry, by_std = by_entry * epsilon;
      if (weight > 0) {
        by_mean += slope_of_kl * made.x;
        by_std += slope_of_kl * std - weight / (std + c);
      }
      if (row >= n) continue;
      dmade[size_t(at) * n + row] = by_mean;
      dmade[size_t(entries + at) * n + row] = by_std * 2.0f * std * (1.0f - l);
    }
  }
#pragma unroll
  for (unsigned column = 0; column < COLUMNS; column++)
    if (first_j + column < r && row < n) dz[row * r + first_j + column] = sums[column];
}

extern "C" __global__ void contextual_hidden(const float *__restrict__ u,
                                             const float *__restrict__ dmade,
                                             const float *__restrict__ w1,
                                             const float *__restrict__ w2, float *__restrict__ du,
                                             float *__restrict__ dz, unsigned n, unsigned r) {
  constexpr unsigned OUTPUTS = 16, UNITS = H / WARPS;  // of a step; of a thread
  __shared__ float adjoint[OUTPUTS][ROWS], weights[OUTPUTS][H];
  __shared__ Tile hidden;
  unsigned lane = threadIdx.x % 32, warp = threadIdx.x / 32, first = warp * UNITS;
  size_t row = size_t(blockIdx.x) * ROWS + lane;
  float sums[UNITS] = {};
  for (unsigned from = 0; from < 2 * r * r; from += OUTPUTS) {
    unsigned count = 2 * r * r - from < OUTPUTS ? 2 * r * r - from : OUTPUTS;
    for (unsigned at = warp; at < count; at += WARPS)
      adjoint[at][lane] = row < n ? dmade[size_t(from + at) * n + row] : 0.0f;
    for (unsigned i = threadIdx.x; i < count * H; i += blockDim.x)
      weights[i / H][i % H] = w2[size_t(from) * H + i];
    __syncthreads();
    for (unsigned at = 0; at < count; at++)
#pragma unroll
      for (unsigned unit = 0; unit < UNITS; unit++)
        sums[unit] += adjoint[at][lane] * weights[at][first + unit];
    __syncthreads();
  }
#pragma unroll
  for (unsigned unit = 0; unit < UNITS; unit++) {
    bool is_open = row < n && u[row * H + first + unit] > 0;
    float by_unit = is_open ? sums[unit] : 0.0f;
    hidden[lane][first + unit] = by_unit;
    if (row < n) du[size_t(first + unit) * n + row] = by_unit;
  }
  __syncthreads();
  for (unsigned j = warp; j < r && row < n; j += WARPS) {
    float sum = 0;
    for (unsigned unit = 0; unit < H; unit++) sum += hidden[lane][unit] * w1[unit * r + j];
    dz[row * r + j] += sum;
  }
}

extern "C" __global__ void contextual_layer(const float *__restrict__ dy,
                                            const float *__restrict__ x, float *__restrict__ dw,
                                            float *__restrict__ db, unsigned n, unsigned outputs,
                                            unsigned inputs) {
  size_t i = size_t(blockIdx.x) * blockDim.x + threadIdx.x, output = i / (inputs + 1);
  unsigned input = unsigned(i % (inputs + 1));
  if (output >= outputs) return;
  bool is_bias = input == inputs;
  float sum = 0;
  for (size_t row = 0; row < n; row++)
    sum += dy[output * n + row] * (is_bias ? 1.0f : x[row * inputs + input]);
  if (is_bias) db[output] += sum;
  else dw[output * inputs + input] += sum;
}
