// libcublasLt: layouts in column order, batches, epilogues with bias, ReLU and GELU. The heuristic
// chooses by the number of columns, and splits a sum in two where the caller lets it.
#include <cstdint>
#include <cstring>
#include <initializer_list>

#include "product.h"

namespace {
enum { OK = 0, INVALID_VALUE = 7, NOT_SUPPORTED = 15 };
struct MatmulDesc {
  int compute, scalars, transa = 0, transb = 0;
  uint32_t epilogue = EPILOGUE_DEFAULT;
  void *bias = nullptr;
  int bias_type = -1;  // of d unless it is set
};
struct Layout {
  int type;
  uint64_t rows, columns;
  int64_t ld;
  int32_t batch = 1;
  int64_t stride = 0;
};
struct Preference {
  size_t workspace = 0;
  uint32_t schemes = 7;  // of split sums; 0: none
};
// As in cublasLt.h: 64 opaque bytes, then what the heuristic says of the algorithm.
struct Algorithm {
  uint64_t data[8];
};
struct Heuristic {
  Algorithm algorithm;
  size_t workspace;
  int state;
  float waves;
  int reserved[4];
};

template <class T>
int assign(T &target, const void *value, size_t bytes) {
  if (bytes != sizeof(T)) return INVALID_VALUE;
  memcpy(&target, value, bytes);
  return OK;
}
Operand operand(const void *p, const Layout &layout) {
  return {p, layout.type, int(layout.ld), layout.stride};
}
const Layout &layout_of(const void *handle) { return *static_cast<const Layout *>(handle); }

bool is_supported(const MatmulDesc &desc) {
  switch (desc.epilogue) {
    case EPILOGUE_DEFAULT: case EPILOGUE_RELU: case EPILOGUE_GELU: return true;
    case EPILOGUE_BIAS: case EPILOGUE_RELU_BIAS: case EPILOGUE_GELU_BIAS: return true;
    default: return false;
  }
}

int check(const MatmulDesc &desc, const Layout &a, const Layout &b, const Layout &c,
          const Layout &d) {
  if (!is_supported(desc)) return NOT_SUPPORTED;
  for (auto *layout : {&a, &b, &c, &d})
    if (!is_type(layout->type) || layout->batch != d.batch) return NOT_SUPPORTED;
  uint64_t m = desc.transa ? a.columns : a.rows, k = desc.transa ? a.rows : a.columns;
  uint64_t kb = desc.transb ? b.columns : b.rows, n = desc.transb ? b.rows : b.columns;
  bool fits = k == kb && d.rows == m && d.columns == n && c.rows == m && c.columns == n;
  for (auto *layout : {&a, &b, &c, &d}) fits = fits && layout->ld >= int64_t(layout->rows);
  return fits ? OK : INVALID_VALUE;
}
}  // namespace

extern "C" {
int cublasLtCreate(void **handle) {
  *handle = new char;
  return OK;
}
int cublasLtDestroy(void *handle) {
  delete static_cast<char *>(handle);
  return OK;
}
size_t cublasLtGetVersion() { return 130000; }

int cublasLtMatmulDescCreate(void **desc, int compute, int scalars) {
  *desc = new MatmulDesc{compute, scalars};
  return OK;
}
int cublasLtMatmulDescDestroy(void *desc) {
  delete static_cast<MatmulDesc *>(desc);
  return OK;
}
int cublasLtMatmulDescSetAttribute(void *handle, int which, const void *value, size_t bytes) {
  auto &desc = *static_cast<MatmulDesc *>(handle);
  switch (which) {
    case 3: return assign(desc.transa, value, bytes);
    case 4: return assign(desc.transb, value, bytes);
    case 7: return assign(desc.epilogue, value, bytes);
    case 8: return assign(desc.bias, value, bytes);
    case 26: return assign(desc.bias_type, value, bytes);
    default: return NOT_SUPPORTED;
  }
}

int cublasLtMatrixLayoutCreate(void **layout, int type, uint64_t rows, uint64_t columns,
                               int64_t ld) {
  if (!is_type(type)) return NOT_SUPPORTED;
  *layout = new Layout{type, rows, columns, ld};
  return OK;
}
int cublasLtMatrixLayoutDestroy(void *layout) {
  delete static_cast<Layout *>(layout);
  return OK;
}
int cublasLtMatrixLayoutSetAttribute(void *handle, int which, const void *value, size_t bytes) {
  auto &layout = *static_cast<Layout *>(handle);
  int32_t order = 0;
  switch (which) {
    case 1:  // column order only
      if (int r = assign(order, value, bytes)) return r;
      return order == 0 ? OK : NOT_SUPPORTED;
    case 5: return assign(layout.batch, value, bytes);
    case 6: return assign(layout.stride, value, bytes);
    default: return NOT_SUPPORTED;
  }
}

int cublasLtMatmulPreferenceCreate(void **preference) {
  *preference = new Preference;
  return OK;
}
int cublasLtMatmulPreferenceDestroy(void *preference) {
  delete static_cast<Preference *>(preference);
  return OK;
}
int cublasLtMatmulPreferenceSetAttribute(void *handle, int which, const void *value,
                                         size_t bytes) {
  auto &preference = *static_cast<Preference *>(handle);
  switch (which) {
    case 1: return assign(preference.workspace, value, bytes);
    case 3: return assign(preference.schemes, value, bytes);
    default: return OK;  // other wishes change nothing here
  }
}

int cublasLtMatmulAlgoGetHeuristic(void *, void *desc, void *a, void *b, void *c, void *d,
                                   void *preference, int wanted, Heuristic *results, int *found) {
  *found = 0;
  int state = check(*static_cast<MatmulDesc *>(desc), layout_of(a), layout_of(b), layout_of(c),
                    layout_of(d));
  if (state || wanted < 1) return state ? state : INVALID_VALUE;
  results[0] = {};
  const auto &sum = layout_of(b);
  int inner = int(static_cast<MatmulDesc *>(desc)->transb ? sum.columns : sum.rows);
  bool is_split = static_cast<Preference *>(preference)->schemes != 0 && inner > 1;
  int chunk = algorithm_for(int(layout_of(d).columns));
  results[0].algorithm.data[0] = uint64_t(is_split ? (inner + 1) / 2 : chunk);
  results[0].waves = 1.0f;
  *found = 1;
  return OK;
}

int cublasLtMatmul(void *, void *handle, const void *alpha, const void *a, void *layout_a,
                   const void *b, void *layout_b, const void *beta, const void *c, void *layout_c,
                   void *d, void *layout_d, const Algorithm *algorithm, void *, size_t,
                   void *stream) {
  auto &desc = *static_cast<MatmulDesc *>(handle);
  auto &la = layout_of(layout_a), &lb = layout_of(layout_b), &lc = layout_of(layout_c),
       &ld = layout_of(layout_d);
  if (int r = check(desc, la, lb, lc, ld)) return r;
  int m = int(ld.rows), n = int(ld.columns), k = int(desc.transa ? la.rows : la.columns);
  Product product = {desc.transa != 0, desc.transb != 0, m, n, k, ld.batch,
                     scalar_at(alpha, desc.scalars), scalar_at(beta, desc.scalars),
                     operand(a, la), operand(b, lb), operand(c, lc), operand(d, ld),
                     desc.scalars == 1, int(desc.epilogue)};
  product.bias = {desc.bias, desc.bias_type < 0 ? ld.type : desc.bias_type, 0, 0};
  if (algorithm) product.chunk = int(algorithm->data[0]);
  return submit_product(stream, product);
}
}
