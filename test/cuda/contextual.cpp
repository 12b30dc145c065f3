#include "golden.h"
#include "reference.h"

namespace {
constexpr unsigned H = 64, N = 37;
constexpr double PRIOR = 0.4, C = 0.05;
enum : uint32_t { AT_MEAN, OF_TOKENS, OF_PROMPTS, OF_ALL };
struct Key {
  uint32_t x, y;
};
struct Noise {
  Address key;
  uint32_t tag, whose;
  float sign;
  uint32_t unused;
};
std::vector<float> floats(const Values &v) { return {v.begin(), v.end()}; }
Grid rows_of(unsigned n, unsigned columns) { return {blocks_of(n, 32), columns}; }

// The network of a rank, on the device.
struct Network {
  unsigned r;
  Values w1, b1, w2, b2;
  Buffer<float> on_w1, on_b1, on_w2, on_b2;
  Network(unsigned r, Values w1, Values b1, Values w2, Values b2)
      : r(r), w1(w1), b1(b1), w2(w2), b2(b2), on_w1(floats(w1)), on_b1(floats(b1)),
        on_w2(floats(w2)), on_b2(floats(b2)) {}
  static Network random(unsigned r) {
    auto of = [](size_t count, unsigned seed, double scale) {
      return rounded(values(count, seed, scale), Type::F32);
    };
    return {r, of(H * r, 1, 0.7), of(H, 2, 0.5), of(2 * r * r * H, 3, 0.2), of(2 * r * r, 4, 0.4)};
  }
  std::vector<float> forward(const Buffer<float> &z, const Buffer<uint32_t> &positions,
                             const Buffer<uint32_t> &rows, unsigned n, Noise noise) const {
    Buffer<float> h(n * r);
    Kernel("contextual", "contextual_forward")
        .launch(rows_of(n, blocks_of(r, 8)), {256}, 0, z, on_w1, on_b1, on_w2, on_b2, positions,
                rows, h, n, r, noise);
    return h.read();
  }
};

// A network that makes E = ε of whatever z is: μ = 0, and σ = 1 to its last bit.
Network of_noise(unsigned r) {
  Values b2(2 * r * r, 0);
  for (size_t i = r * r; i < b2.size(); i++) b2[i] = 100;
  return {r, Values(H * r, 0), Values(H, 0), Values(2 * r * r * H, 0), b2};
}

// One pass: who its rows are, and the ε that they see, read out column by column.
struct Pass {
  Buffer<Key> key{std::vector<Key>{{11, 22}}};
  Noise noise;
  std::vector<uint32_t> positions, rows;
  Pass(uint32_t whose, float sign) : noise{key.address(), 189, whose, sign, 0} {
    for (unsigned i = 0; i < N; i++) {
      positions.push_back(i % 20);
      rows.push_back(1000 + i / 20);
    }
  }
  Values epsilon(unsigned r) const {
    Network network = of_noise(r);
    Buffer<uint32_t> p(positions), q(rows);
    Values all(N * r * r);
    for (unsigned j = 0; j < r; j++) {
      Values z(N * r, 0);
      for (unsigned row = 0; row < N; row++) z[row * r + j] = 1;
      auto column = network.forward(Buffer<float>(floats(z)), p, q, N, noise);
      for (unsigned row = 0; row < N; row++)
        for (unsigned i = 0; i < r; i++) all[row * r * r + i * r + j] = column[row * r + i];
    }
    return all;
  }
};

double value(const Values &w, const Values &b, const double *x, size_t inputs, size_t i) {
  double sum = b[i];
  for (size_t j = 0; j < inputs; j++) sum += w[i * inputs + j] * x[j];
  return sum;
}

// ⟨dh, h⟩ + w·KL by their definitions; parts: z, W₁, b₁, W₂, b₂.
double loss(unsigned r, const std::vector<Values> &parts, const Values &dh, const Values &epsilon,
            double weight, Values *h = nullptr) {
  const Values &z = parts[0], &w1 = parts[1], &b1 = parts[2], &w2 = parts[3], &b2 = parts[4];
  double sum = 0;
  for (size_t row = 0; row < z.size() / r; row++) {
    double u[H];
    for (size_t unit = 0; unit < H; unit++)
      u[unit] = std::max(0.0, value(w1, b1, &z[row * r], r, unit));
    for (size_t i = 0; i < r; i++) {
      double made = 0;
      for (size_t j = 0; j < r; j++) {
        double mean = value(w2, b2, u, H, i * r + j);
        double rho = value(w2, b2, u, H, r * r + i * r + j);
        double std = std::pow(1 / (1 + std::exp(-rho)), 2), d = 2 * PRIOR * PRIOR + C;
        made += (mean + std * epsilon[(row * r + i) * r + j]) * z[row * r + j];
        sum += weight * ((std * std + mean * mean) / d - std::log(std + C));
      }
      if (h) h->push_back(made);
      sum += made * dh[row * r + i];
    }
  }
  return sum;
}

void run(unsigned r, uint32_t whose, float sign, double weight) {
  Pass pass(whose, sign);
  Network network = Network::random(r);
  Values z = rounded(values(N * r, 5), Type::F32), dh = rounded(values(N * r, 6), Type::F32);
  Values epsilon = whose == AT_MEAN ? Values(N * r * r, 0) : pass.epsilon(r), expected;
  std::vector<Values> parts = {z, network.w1, network.b1, network.w2, network.b2};
  loss(r, parts, dh, epsilon, weight, &expected);
  Buffer<uint32_t> positions(pass.positions), rows(pass.rows);
  Buffer<float> dev_z(floats(z)), dev_dh(floats(dh));
  auto h = network.forward(dev_z, positions, rows, N, pass.noise);
  hold("h", {h.begin(), h.end()}, expected, 2e-5);

  unsigned outputs = 2 * r * r;
  Buffer<float> kl(std::vector<float>{float(2 * weight / (2 * PRIOR * PRIOR + C)), float(weight),
                                      float(C)});
  Buffer<float> u(N * H), dmade(N * outputs), du(N * H), dz(N * r);
  std::vector<std::unique_ptr<Buffer<float>>> sums;
  for (size_t part = 1; part < 5; part++)
    sums.push_back(std::make_unique<Buffer<float>>(std::vector<float>(parts[part].size(), 2)));
  Kernel("contextual", "contextual_entries")
      .launch(rows_of(N, blocks_of(r, 32)), {256}, 0, dev_z, dev_dh, network.on_w1, network.on_b1,
              network.on_w2, network.on_b2, positions, rows, kl, u, dmade, dz, N, r, pass.noise);
  Kernel("contextual", "contextual_hidden")
      .launch(rows_of(N, 1), {256}, 0, u, dmade, network.on_w1, network.on_w2, du, dz, N, r);
  Kernel layer("contextual", "contextual_layer");
  layer.launch({blocks_of(outputs * (H + 1), 128)}, {128}, 0, dmade, u, *sums[2], *sums[3], N,
               outputs, H);
  layer.launch({blocks_of(H * (r + 1), 128)}, {128}, 0, du, dev_z, *sums[0], *sums[1], N, H, r);

  // Differences along random directions, of which the largest entries have their part.
  for (size_t part = 0; part < 5; part++) {
    auto got = part == 0 ? dz.read() : sums[part - 1]->read();
    for (unsigned seed = 50; seed < 53; seed++) {
      Values direction = values(got.size(), seed);
      double along = 0, size = 0;
      auto moved = parts;
      for (double step : {1e-6, -1e-6}) {
        for (size_t i = 0; i < got.size(); i++)
          moved[part][i] = parts[part][i] + step * direction[i];
        along += loss(r, moved, dh, epsilon, weight) / (2 * step);
      }
      for (size_t i = 0; i < got.size(); i++) {
        double gradient = got[i] - (part == 0 ? 0 : 2), term = gradient * direction[i];
        along -= term;
        size += std::abs(term);
      }
      if (!(std::abs(along) <= 2e-5 * (1 + size)))
        throw std::runtime_error("part " + std::to_string(part) + " of rank " + std::to_string(r) +
                                 " is no gradient: off by " + std::to_string(along) + " of " +
                                 std::to_string(size));
    }
  }
}
}  // namespace

TEST("the matrix of each row at its mean, and its gradients with the divergence and without") {
  for (double weight : {0.0, 0.3}) run(3, AT_MEAN, 1, weight);
}
TEST("a sampled one, whoever shares its noise, and its gradients") {
  for (uint32_t whose : {OF_TOKENS, OF_PROMPTS, OF_ALL}) run(3, whose, 1, 0.3);
  run(8, OF_TOKENS, -1, 0.3);
  run(9, OF_TOKENS, 1, 0);
}
TEST("one with columns for several blocks, and its gradients") { run(34, OF_TOKENS, 1, 0.01); }

TEST("noise has the bits of the engine, and is that of who shares it") {
  std::ifstream file = golden("noise.txt");
  std::string line, next;
  Key key{};
  while (std::getline(file, line)) {
    std::string name = line.substr(0, line.find(' '));
    auto asked = words_of(line.substr(line.find(' ')));
    if (name == "key") key = {asked[0], asked[1]};
    if (name != "token") continue;
    CHECK(bool(std::getline(file, next)));
    auto expected = words_of(next);
    unsigned r = unsigned(std::sqrt(expected.size()));
    Buffer<Key> stored(std::vector<Key>{key});
    Buffer<uint32_t> positions(std::vector<uint32_t>{asked[1]});
    Buffer<uint32_t> rows(std::vector<uint32_t>{asked[2]});
    for (float sign : {1.0f, -1.0f})
      for (unsigned j = 0; j < r; j++) {
        std::vector<float> z(r, 0);
        z[j] = 1;
        Noise noise = {stored.address(), asked[0], OF_TOKENS, sign, 0};
        auto column = of_noise(r).forward(Buffer<float>(z), positions, rows, 1, noise);
        for (unsigned i = 0; i < r; i++) {
          float e;
          memcpy(&e, &expected[i * r + j], 4);
          CHECK(column[i] == sign * e);
        }
      }
    Pass of_tokens(OF_TOKENS, 1), of_prompts(OF_PROMPTS, 1), of_all(OF_ALL, 1);
    Values tokens = of_tokens.epsilon(2), prompts = of_prompts.epsilon(2), all = of_all.epsilon(2);
    for (unsigned row = 1; row < N; row++)
      for (unsigned at = 0; at < 4; at++) {
        CHECK(tokens[row * 4 + at] != tokens[row * 4 + at - 4]);
        CHECK((prompts[row * 4 + at] == prompts[row * 4 + at - 4]) == (row != 20));
        CHECK(all[row * 4 + at] == all[at]);
      }
    for (unsigned at = 0; at < 4; at++) CHECK(tokens[at] == prompts[at]);
    return;
  }
  throw std::runtime_error("no noise of a token in noise.txt");
}

TEST("a row's matrix is the same bits with other rows beside it and without") {
  Pass pass(OF_TOKENS, 1);
  Network network = Network::random(5);
  Values z = values(N * 5, 7);
  std::vector<float> of_all = floats(z);
  Buffer<float> dev_z(of_all), last(std::vector<float>(of_all.end() - 5, of_all.end()));
  Buffer<uint32_t> positions(pass.positions), rows(pass.rows);
  auto together = network.forward(dev_z, positions, rows, N, pass.noise);
  Buffer<uint32_t> position(std::vector<uint32_t>{pass.positions[N - 1]});
  Buffer<uint32_t> row(std::vector<uint32_t>{pass.rows[N - 1]});
  auto alone = network.forward(last, position, row, 1, pass.noise);
  for (unsigned i = 0; i < 5; i++) CHECK(alone[i] == together[(N - 1) * 5 + i]);
}

int main() { return run_tests(); }
