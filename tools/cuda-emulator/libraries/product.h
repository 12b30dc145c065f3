// The product that emulated cuBLAS and cuBLASLt share: column-major, with float accumulation
// (double for double), batched by strides.
#pragma once
#include <cstddef>

struct Operand {
  const void *p;
  int type;  // cudaDataType: 0 f32, 1 f64, 2 f16, 14 bf16
  int ld;
  long long stride;
};
enum Epilogue {  // cublasLtEpilogue_t
  EPILOGUE_DEFAULT = 1,
  EPILOGUE_RELU = 2,
  EPILOGUE_BIAS = 4,
  EPILOGUE_RELU_BIAS = 6,
  EPILOGUE_GELU = 32,
  EPILOGUE_GELU_BIAS = 36
};
struct Product {
  bool is_a_transposed, is_b_transposed;
  int m, n, k, batch;
  double alpha, beta;
  Operand a, b, c, d;  // d = epilogue(α·a·b + β·c)
  bool is_double;
  int epilogue = EPILOGUE_DEFAULT;
  Operand bias{};  // (m), of every column
};

size_t bytes_of(int type);
bool is_type(int type);
double scalar_at(const void *p, int type);
// 0, 7 (invalid value) when an operand leaves its allocation, 13 when it cannot be queued.
int submit_product(void *stream, const Product &product);
