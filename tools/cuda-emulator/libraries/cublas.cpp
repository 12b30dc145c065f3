// libcublas: the products that an engine with its own kernels calls.
#include "product.h"

namespace {
struct Handle {
  void *stream;
  int math_mode;
};
enum { OK = 0, NOT_INITIALIZED = 1, INVALID_VALUE = 7, NOT_SUPPORTED = 15 };
enum { COMPUTE_16F = 64, COMPUTE_32F = 68, COMPUTE_64F = 70 };
int type_of_scalars(int compute) {
  return compute == COMPUTE_64F ? 1 : compute == COMPUTE_16F ? 2 : 0;
}
}  // namespace

extern "C" {
int cuDriverGetVersion(int *);

int cublasCreate_v2(void **handle) {
  int driver = 0;
  cuDriverGetVersion(&driver);
  if (driver < 13000) return NOT_INITIALIZED;  // this is cuBLAS of CUDA 13
  *handle = new Handle{};
  return OK;
}
int cublasDestroy_v2(void *handle) {
  delete static_cast<Handle *>(handle);
  return OK;
}
int cublasSetStream_v2(void *handle, void *stream) {
  static_cast<Handle *>(handle)->stream = stream;
  return OK;
}
int cublasSetWorkspace_v2(void *, void *, unsigned long) { return OK; }
int cublasSetPointerMode_v2(void *, int mode) { return mode ? NOT_SUPPORTED : OK; }
int cublasGetPointerMode_v2(void *, int *mode) {
  *mode = 0;
  return OK;
}
int cublasSetMathMode(void *handle, int mode) {
  static_cast<Handle *>(handle)->math_mode = mode;
  return OK;
}

int cublasGemmStridedBatchedEx(void *handle, int transa, int transb, int m, int n, int k,
                               const void *alpha, const void *a, int type_a, int lda,
                               long long stride_a, const void *b, int type_b, int ldb,
                               long long stride_b, const void *beta, void *c, int type_c, int ldc,
                               long long stride_c, int batch, int compute, int) {
  if (!is_type(type_a) || !is_type(type_b) || !is_type(type_c)) return NOT_SUPPORTED;
  if (m < 0 || n < 0 || k < 0 || batch < 0) return INVALID_VALUE;
  int scalars = type_of_scalars(compute);
  Operand to = {c, type_c, ldc, stride_c};
  return submit_product(static_cast<Handle *>(handle)->stream,
                        {transa != 0, transb != 0, m, n, k, batch, scalar_at(alpha, scalars),
                         scalar_at(beta, scalars), {a, type_a, lda, stride_a},
                         {b, type_b, ldb, stride_b}, to, to, compute == COMPUTE_64F});
}
int cublasGemmEx(void *handle, int transa, int transb, int m, int n, int k, const void *alpha,
                 const void *a, int type_a, int lda, const void *b, int type_b, int ldb,
                 const void *beta, void *c, int type_c, int ldc, int compute, int algorithm) {
  return cublasGemmStridedBatchedEx(handle, transa, transb, m, n, k, alpha, a, type_a, lda, 0, b,
                                    type_b, ldb, 0, beta, c, type_c, ldc, 0, 1, compute, algorithm);
}
int cublasSgemm_v2(void *handle, int transa, int transb, int m, int n, int k, const float *alpha,
                   const float *a, int lda, const float *b, int ldb, const float *beta, float *c,
                   int ldc) {
  return cublasGemmEx(handle, transa, transb, m, n, k, alpha, a, 0, lda, b, 0, ldb, beta, c, 0, ldc,
                      COMPUTE_32F, -1);
}
}
