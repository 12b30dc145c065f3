// A kernel whose counts can be written down: y = a·b + c with b of the block's opposite thread, by
// way of shared memory, and exp for every fourth value. n is a multiple of 64.
#include <cuda_runtime.h>

extern "C" __global__ void counted(const float *a, const float *b, const float *c, float *y,
                                   unsigned n) {
  __shared__ float mine[64];
  unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;
  mine[threadIdx.x] = b[i];
  __syncthreads();
  float value = fmaf(a[i % 16], mine[63 - threadIdx.x], c[i]);
  y[i] = i % 4 ? value : expf(value);
}
