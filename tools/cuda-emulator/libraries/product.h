// The product that emulated cuBLAS and cuBLASLt share: column-major, with float accumulation
// (double for double), batched by strides. An algorithm is how many products are added up before
// their sum is added to the result: as on the hardware, the order of a sum is the algorithm's.
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
  int chunk = 0;   // the algorithm; 0: that of its size
};

size_t bytes_of(int type);
bool is_type(int type);
// The algorithm for so many columns: another for few than for many.
int algorithm_for(int n);
double scalar_at(const void *p, int type);
// 0, 7 (invalid value) when an operand leaves its allocation, 13 when it cannot be queued.
int submit_product(void *stream, const Product &product);
