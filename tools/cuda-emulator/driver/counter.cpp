#include "counter.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <set>
#include <sys/mman.h>
#include <tuple>

namespace {
constexpr size_t SECTOR = 32;  // bytes that memory hands over at least
constexpr uint16_t SEVERAL = 0x8000;

struct Counts {
  uint64_t reads, writes, atomics;  // accesses of threads to the device's memory
  uint64_t shared;                  // words of four bytes of shared memory, by threads
  uint64_t asked;                   // bytes of the former
  uint64_t of_blocks;               // sectors, each once a block
};
struct Range {
  const char *begin, *end;
  bool has(const char *p) const { return p >= begin && p < end; }
};

std::vector<const uint64_t *> arithmetic;
std::vector<Range> shared;
std::vector<size_t> touched;  // sectors of the launch
uint16_t *seen;               // of each sector the last block, from 1, and whether others were there
char *base;
size_t capacity, peak;
uint16_t block;
Counts now;
const Launch *launch;
uint64_t before[3];

FILE *file() {
  static FILE *open = getenv("CUDA_EMU_COUNTS") ? fopen(getenv("CUDA_EMU_COUNTS"), "w") : nullptr;
  return open;
}

void sum(uint64_t (&all)[3]) {
  std::fill(all, all + 3, 0);
  for (auto *one : arithmetic)
    for (int i = 0; i < 3; i++) all[i] += one[i];
}

// Bytes that the launch takes from memory if every one comes once. What one block alone touched
// stands for as much of the blocks that were left out, as far as its allocation goes.
double distinct(double factor) {
  DeviceMemory &memory = memory_of(launch->device);
  double bytes = 0, alone = 0, common = 0;
  size_t begin = 0, size = 0;
  auto close = [&] { bytes += std::min(double(size), double(SECTOR) * (common + factor * alone)); };
  std::sort(touched.begin(), touched.end());
  for (size_t sector : touched) {
    if (sector * SECTOR >= begin + size || !size) {
      close();
      alone = common = 0;
      std::tie(begin, size) = memory.extent_of(sector * SECTOR);
    }
    (seen[sector] & SEVERAL ? common : alone) += 1;
    seen[sector] = 0;
  }
  close();
  touched.clear();
  return bytes;
}
}  // namespace

bool counts() { return file() != nullptr; }
bool is_sketch() {
  static const bool on = getenv("CUDA_EMU_BLOCKS") != nullptr;
  return on;
}

std::vector<size_t> blocks_of_sketch(const EmuIndex &grid) {
  static const size_t most = is_sketch() ? strtoul(getenv("CUDA_EMU_BLOCKS"), nullptr, 10) : 0;
  size_t others = size_t(grid.y) * grid.z, blocks = grid.x * others;
  std::set<size_t> some;
  if (!is_sketch() || blocks <= most)
    for (size_t i = 0; i < blocks; i++) some.insert(i);
  else
    for (size_t i = 0; i < most; i++) {
      double other = 0.5 / double(most);  // van der Corput's sequence of i
      for (size_t rest = i, half = 2; rest; rest /= 2, half *= 2)
        if (rest % 2) other += 1 / double(half);
      some.insert((2 * i + 1) * grid.x / (2 * most) + grid.x * size_t(other * double(others)));
    }
  return {some.begin(), some.end()};
}

void counter_arithmetic(const uint64_t *counters) {
  if (counters) arithmetic.push_back(counters);
}

void counter_begin(const Launch &started, char *dynamic, const std::vector<EmuModule> &modules) {
  if (!counts()) return;
  launch = &started;
  block = 0;
  now = {};
  sum(before);
  DeviceMemory &memory = memory_of(launch->device);
  base = memory.base();
  capacity = memory.capacity();
  if (!seen) {
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    size_t bytes = (capacity / SECTOR + 1) * sizeof(uint16_t);
    seen = static_cast<uint16_t *>(
        mmap(nullptr, bytes, PROT_READ | PROT_WRITE, flags, -1, 0));
  }
  shared = {{dynamic, dynamic + launch->shared_bytes}};
  for (auto &m : modules) shared.push_back({m.shared_begin, m.shared_end});
}

void counter_begin_block() { block++; }

void counter_access(const void *address, size_t bytes, EmuAccess kind) {
  auto *p = static_cast<const char *>(address);
  size_t offset = size_t(p - base);
  if (offset >= capacity) {
    for (auto &range : shared) now.shared += range.has(p) ? (bytes + 3) / 4 : 0;
    return;
  }
  (kind == EMU_READ ? now.reads : kind == EMU_WRITE ? now.writes : now.atomics)++;
  now.asked += bytes;
  uint16_t mine = block & (SEVERAL - 1);
  for (size_t s = offset / SECTOR; s <= (offset + bytes - 1) / SECTOR; s++) {
    uint16_t last = seen[s] & (SEVERAL - 1);
    if (last == mine) continue;
    if (!last) touched.push_back(s);
    seen[s] = last ? mine | SEVERAL : mine;
    now.of_blocks++;
  }
}

void counter_end() {
  if (!counts()) return;
  uint64_t after[3];
  sum(after);
  auto &grid = launch->grid, &dim = launch->block;
  double blocks = double(grid.x) * grid.y * grid.z, factor = blocks / std::max<double>(block, 1);
  auto all = [&](uint64_t count) { return double(count) * factor; };
  fprintf(file(),
          "{\"kernel\":\"%s\",\"blocks\":%.0f,\"threads\":%u,\"blocks_run\":%u,\"flop\":%.0f,"
          "\"tensor_flop\":%.0f,\"functions\":%.0f,\"reads\":%.0f,\"writes\":%.0f,"
          "\"atomics\":%.0f,\"shared\":%.0f,\"asked_bytes\":%.0f,\"block_bytes\":%.0f,"
          "\"distinct_bytes\":%.0f}\n",
          launch->kernel->name, blocks, dim.x * dim.y * dim.z, block, all(after[0] - before[0]),
          all(after[1] - before[1]), all(after[2] - before[2]), all(now.reads), all(now.writes),
          all(now.atomics), all(now.shared), all(now.asked), all(SECTOR * now.of_blocks),
          distinct(factor));
  fflush(file());
}

void counter_copy(const char *direction, size_t bytes) {
  if (!counts()) return;
  fprintf(file(), "{\"copy\":\"%s\",\"bytes\":%zu}\n", direction, bytes);
  fflush(file());
}

void counter_memory(size_t most) {
  if (!counts() || most <= peak) return;
  peak = most;
  fprintf(file(), "{\"peak_bytes\":%zu}\n", peak);
}

void emu_count_product(int m, int n, int k, int batch, int bytes_of_operand) {
  if (!counts()) return;
  fprintf(file(), "{\"product\":[%d,%d,%d],\"batch\":%d,\"operand_bytes\":%d}\n", m, n, k, batch,
          bytes_of_operand);
  fflush(file());
}
bool emu_is_sketch() { return is_sketch(); }
