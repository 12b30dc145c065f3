// Bit for bit what candle decodes: fixtures/cuda/blocks.txt has two blocks of each of ggml's types.
#include "golden.h"

namespace {
std::vector<uint8_t> bytes_of(const std::string &hex) {
  std::vector<uint8_t> bytes;
  for (size_t i = 0; i + 1 < hex.size(); i += 2)
    bytes.push_back(uint8_t(std::stoul(hex.substr(i, 2), nullptr, 16)));
  return bytes;
}
}  // namespace

TEST("blocks of every type have candle's bits, in order and by index") {
  std::ifstream file = golden("blocks.txt");
  std::string line, next;
  unsigned seen = 0;
  while (std::getline(file, line) && std::getline(file, next)) {
    seen++;
    size_t space = line.find(' ');
    Buffer<uint8_t> stored(bytes_of(line.substr(space + 1)));
    auto expected = words_of(next);
    unsigned columns = unsigned(expected.size() / 2);
    Buffer<uint32_t> out(expected.size());
    Kernel kernel("blocks", "decode_" + line.substr(0, space) + "_f32");
    unsigned blocks = unsigned((expected.size() + 127) / 128);
    kernel.launch({blocks}, {128}, 0, stored, Address(0), out, 2u, columns, 1.0f);
    CHECK(out.read() == expected);
    Buffer<uint32_t> second(std::vector<uint32_t>{1});
    kernel.launch({blocks}, {128}, 0, stored, second, out, 1u, columns, 1.0f);
    auto got = out.read();
    CHECK(std::equal(got.begin(), got.begin() + columns, expected.begin() + columns));
  }
  CHECK(seen == 10);
}

TEST("NF4 is its size times the code of each nibble, and rounds to bf16") {
  std::vector<uint8_t> block(36);
  float size = 0.75f;
  memcpy(block.data(), &size, 4);
  for (size_t i = 0; i < 32; i++) block[4 + i] = uint8_t(i % 16 | (15 - i % 16) << 4);
  const float codes[] = {-1.0f,        -0.6961928f, -0.52507305f, -0.3949175f,
                         -0.28444138f, -0.18477343f, -0.091050036f, 0.0f,
                         0.0795803f,   0.1609302f,  0.2461123f,   0.33791524f,
                         0.44070983f,  0.562617f,   0.72295684f,  1.0f};
  Buffer<uint8_t> stored(block);
  Buffer<float> floats(64);
  Buffer<uint16_t> halves(64);
  for (auto [name, out] : {std::pair{"decode_nf4_f32", floats.address()},
                           std::pair{"decode_nf4_bf16", halves.address()}})
    Kernel("blocks", name).launch({1}, {64}, 0, stored, Address(0), out, 1u, 64u, 1.0f);
  auto f = floats.read();
  auto h = halves.read();
  for (size_t i = 0; i < 64; i++) {
    size_t nibble = i % 32 < 16 ? i % 16 : 15 - i % 16;
    CHECK(f[i] == size * codes[nibble]);
    uint32_t bits;
    memcpy(&bits, &f[i], 4);
    CHECK(std::abs(int(h[i]) - int(bits >> 16)) <= 1);
  }
}

TEST("rows of plain numbers come by index, times a factor") {
  // 1.5, −2 in each type; the rows in reverse order.
  const std::vector<uint8_t> of_f32 = {0, 0, 0xc0, 0x3f, 0, 0, 0, 0xc0};
  const std::vector<uint8_t> of_f16 = {0, 0x3e, 0, 0xc0}, of_bf16 = {0xc0, 0x3f, 0, 0xc0};
  for (auto &[name, bytes] : {std::pair{"decode_f32_f32", of_f32},
                              std::pair{"decode_f16_f32", of_f16},
                              std::pair{"decode_bf16_f32", of_bf16}}) {
    Buffer<uint8_t> stored(bytes);
    Buffer<uint32_t> ids(std::vector<uint32_t>{1, 0});
    Buffer<float> out(2);
    Kernel("blocks", name).launch({1}, {32}, 0, stored, ids, out, 2u, 1u, 3.0f);
    CHECK(out.read() == (std::vector<float>{-6, 4.5}));
  }
}

int main() { return run_tests(); }
