// σ of ρ and dσ/dρ: ρ², or ln(1 + e^ρ).
#pragma once

__device__ __forceinline__ float sigma_of(float rho, unsigned is_softplus) {
  if (!is_softplus) return __fmul_rn(rho, rho);
  return fmaxf(rho, 0.0f) + log1pf(expf(-fabsf(rho)));
}
__device__ __forceinline__ float slope_of(float rho, unsigned is_softplus) {
  return is_softplus ? 1.0f / (1.0f + expf(-rho)) : __fmul_rn(2.0f, rho);
}
