// What the kernels are held against: values, double-precision forward functions, and finite
// differences of these, so that an adjoint is never compared with another hand-written one.
#pragma once
#include <memory>

#include "cuda.h"

using Values = std::vector<double>;

// Reproducible values in (−scale, scale).
inline Values values(size_t count, unsigned seed, double scale = 1) {
  Values made(count);
  uint64_t state = seed * 0x9E3779B97F4A7C15ull + 1;
  for (double &v : made) {
    state = state * 6364136223846793005ull + 1442695040888963407ull;
    v = scale * (double(state >> 40) / double(1 << 23) - 1);
  }
  return made;
}

inline uint16_t to_bf16(float x) {
  uint32_t bits;
  memcpy(&bits, &x, 4);
  return uint16_t((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}
inline float of_bf16(uint16_t x) {
  uint32_t bits = uint32_t(x) << 16;
  float value;
  memcpy(&value, &bits, 4);
  return value;
}

enum class Type { F32, BF16 };
inline std::string suffix(Type type) { return type == Type::F32 ? "_f32" : "_bf16"; }
// How far results may lie from the reference, relative to 1 + |x|: f32 sums of some hundred
// values; one rounding to eight bits.
inline double tolerance(Type type) { return type == Type::F32 ? 2e-5 : 1.0 / 128; }

// Rounds as the type stores, so that references see what kernels see.
inline Values rounded(Values x, Type type) {
  for (double &v : x) v = type == Type::F32 ? float(v) : of_bf16(to_bf16(float(v)));
  return x;
}

// Device memory of either type.
class Tensor {
 public:
  Tensor(size_t count, Type type) : type_(type) {
    if (type == Type::F32) floats_ = std::make_unique<Buffer<float>>(count);
    else halves_ = std::make_unique<Buffer<uint16_t>>(count);
  }
  Tensor(const Values &x, Type type) : type_(type) {
    std::vector<float> floats(x.begin(), x.end());
    std::vector<uint16_t> halves;
    for (float v : floats) halves.push_back(to_bf16(v));
    if (type == Type::F32) floats_ = std::make_unique<Buffer<float>>(floats);
    else halves_ = std::make_unique<Buffer<uint16_t>>(halves);
  }
  Address address() const { return floats_ ? floats_->address() : halves_->address(); }
  Values read() const {
    Values x;
    if (floats_)
      for (float v : floats_->read()) x.push_back(v);
    else
      for (uint16_t v : halves_->read()) x.push_back(of_bf16(v));
    return x;
  }

 private:
  Type type_;
  std::unique_ptr<Buffer<float>> floats_;
  std::unique_ptr<Buffer<uint16_t>> halves_;
};

inline void hold(const char *what, const Values &got, const Values &expected, double tolerance) {
  if (got.size() != expected.size()) throw std::runtime_error(std::string(what) + ": sizes differ");
  for (size_t i = 0; i < got.size(); i++)
    if (!(std::abs(got[i] - expected[i]) <= tolerance * (1 + std::abs(expected[i])))) {
      char text[200];
      snprintf(text, sizeof text, "%s[%zu] is %.9g, expected %.9g", what, i, got[i], expected[i]);
      throw std::runtime_error(text);
    }
}

// d(Σ weights·f(x))/dx by central differences in double precision.
inline Values differences(const std::function<Values(const Values &)> &f, const Values &x,
                          const Values &weights) {
  constexpr double H = 1e-5;
  Values gradient(x.size()), moved = x;
  for (size_t i = 0; i < x.size(); i++) {
    double sum = 0;
    for (double sign : {1.0, -1.0}) {
      moved[i] = x[i] + sign * H;
      Values y = f(moved);
      for (size_t j = 0; j < y.size(); j++) sum += sign * weights[j] * y[j];
    }
    gradient[i] = sum / (2 * H);
    moved[i] = x[i];
  }
  return gradient;
}

inline unsigned blocks_of(size_t threads, unsigned block) {
  return unsigned((threads + block - 1) / block);
}
constexpr Type BOTH[] = {Type::F32, Type::BF16};
