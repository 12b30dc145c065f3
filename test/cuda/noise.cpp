// Bit for bit what the CPU engine draws: fixtures/cuda/noise.txt is written by its own code.
#include "golden.h"

namespace {
struct Key {
  uint32_t x, y;
};
}  // namespace

TEST("normals, signs and dropout masks have the bits of the engine") {
  std::ifstream file = golden("noise.txt");
  std::string line, next;
  Key key{};
  unsigned seen = 0;
  while (std::getline(file, line)) {
    std::string name = line.substr(0, line.find(' '));
    auto who = words_of(line.substr(line.find(' ')));
    if (name == "key") {
      key = {who[0], who[1]};
      continue;
    }
    CHECK(bool(std::getline(file, next)));
    if (name == "token") continue;  // held in contextual.cpp
    auto expected = words_of(next);
    size_t count = expected.size();
    Buffer<uint32_t> out(count);
    seen++;
    if (name == "normal") {
      unsigned blocks = unsigned((count + 127) / 128);
      Kernel("noise", "noise_normal").launch({blocks}, {128}, 0, out, count, key, who[0], 1.0f);
      CHECK(out.read() == expected);
      Kernel("noise", "noise_normal").launch({blocks}, {128}, 0, out, count, key, who[0], -1.0f);
      for (uint32_t &bits : expected) bits ^= 0x80000000u;
      CHECK(out.read() == expected);
      continue;
    }
    Buffer<uint32_t> position(std::vector<uint32_t>{who[1]}), row(std::vector<uint32_t>{who[2]});
    if (name == "signs")
      Kernel("noise", "noise_signs")
          .launch({1}, {64}, 0, out, position, row, 1u, unsigned(count), key, who[0]);
    else
      Kernel("noise", "noise_dropout")
          .launch({1}, {64}, 0, out, position, row, 1u, unsigned(count), 0.1f, key, who[0]);
    CHECK(out.read() == expected);
  }
  CHECK(seen == 4);
}

TEST("a perturbation is the normals times sigma, in both parameterisations") {
  constexpr size_t COUNT = 50;
  Key key = {7, 9};
  Buffer<Key> stored(std::vector<Key>{key});
  std::vector<float> rho(COUNT);
  for (size_t i = 0; i < COUNT; i++) rho[i] = 0.1f * float(i) - 2;
  Buffer<float> in(rho), normals(COUNT), out(COUNT);
  Kernel("noise", "noise_normal").launch({1}, {64}, 0, normals, COUNT, key, 3u, -1.0f);
  auto e = normals.read();
  for (unsigned is_softplus : {0u, 1u}) {
    Kernel kernel("noise", "perturbation");
    kernel.launch({1}, {64}, 0, in, out, COUNT, is_softplus, stored, 3u, -1.0f);
    auto got = out.read();
    for (size_t i = 0; i < COUNT; i++) {
      double r = rho[i], sigma = is_softplus ? std::log1p(std::exp(r)) : r * r;
      CHECK(std::abs(got[i] - sigma * e[i]) < 1e-6 * (1 + std::abs(sigma * e[i])));
    }
  }
}

int main() { return run_tests(); }
