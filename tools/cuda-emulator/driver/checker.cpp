#include "checker.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <map>
#include <string>
#include <sys/mman.h>
#include <unordered_map>

#include "counter.h"
#include "fiber.h"
#include "memory.h"

namespace {
struct Touch {
  uint32_t thread, clock;
};
struct Cell {  // of one byte
  Touch write, read;
};
constexpr uint32_t ATOMIC = 0x80000000, MANY = 0x7fffffff;
constexpr uint32_t LANES = 0x40000000;  // beside a thread: it and others of its warp
struct Region {
  char *begin;
  size_t bytes;
  bool is_shared;
  Cell *cells;
  bool *written;
  bool has(const char *p) const { return p >= begin && p < begin + bytes; }
};

std::map<int, Region> of_device;
std::vector<Region> regions;  // of the launch: its device's memory, then shared memory
std::unordered_map<void *, int> reported;
bool is_active;
uint32_t now = 1, launch_clock, block_clock, block_first_thread;

bool is_set(const char *name) { return getenv(name) != nullptr; }
bool checks() {
  static const bool on = is_set("CUDA_EMU_CHECK");
  return on;
}

template <class T>
T *reserve(size_t count) {
  int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
  return static_cast<T *>(
      mmap(nullptr, count * sizeof(T), PROT_READ | PROT_WRITE, flags, -1, 0));
}

std::string source_line(void *where) {
  Dl_info info;
  if (!dladdr(where, &info)) return "?";
  char command[600], line[300] = "?";
  auto offset = static_cast<char *>(where) - static_cast<char *>(info.dli_fbase);
  snprintf(command, sizeof command, "addr2line -e '%s' %#lx", info.dli_fname, long(offset) - 1);
  if (FILE *pipe = popen(command, "r")) {
    if (fgets(line, sizeof line, pipe)) line[strcspn(line, "\n")] = 0;
    pclose(pipe);
  }
  return line;
}

void report(void *where, const char *what, const void *address, unsigned bytes) {
  if (reported[where]++) return;
  const EmuIndex &block = emu_launch.block_idx;
  char text[600];
  snprintf(text, sizeof text, "%s: %u bytes at %p, thread %u of block (%u,%u,%u), %s", what, bytes,
           address, emu_thread->linear, block.x, block.y, block.z, source_line(where).c_str());
  fprintf(stderr, "cuda-emu: %s\n", text);
  set_fault(strstr(what, "outside") ? 700 : 719, text);
}

// Addresses without a region that a kernel may use: its own stack, the scheduler's state, and
// constants of its own library.
bool is_private(const char *p, void *where) {
  char here;
  if (size_t(labs(p - &here)) < FIBER_STACK || is_scheduler_state(p)) return true;
  Dl_info data, code;
  return dladdr(p, &data) && dladdr(where, &code) && data.dli_fbase == code.dli_fbase;
}

// Whether nothing orders an earlier touch before an access by `thread` now.
bool is_unordered(const Touch &touch, uint32_t thread, bool is_shared) {
  if (touch.clock < launch_clock || touch.thread == thread) return false;
  uint32_t by = touch.thread & ~LANES;
  bool same_block = is_shared || touch.thread == MANY || by / 1024 == thread / 1024;
  if (same_block && touch.clock < block_clock) return false;
  bool same_warp = touch.thread != MANY && by / 32 == thread / 32;
  return !(same_warp && touch.clock < warp_clock());
}

// Who has read, when `thread` reads beside those that nothing orders before it.
uint32_t readers(uint32_t before, uint32_t thread) {
  bool same_warp = before != MANY && (before & ~LANES) / 32 == thread / 32;
  return same_warp ? thread | LANES : MANY;
}

void check_byte(Region &region, size_t at, EmuAccess kind, void *where) {
  Cell &cell = region.cells[at];
  char *p = region.begin + at;
  uint32_t thread = block_first_thread + emu_thread->linear;
  auto unordered = [&](const Touch &touch) {
    return is_unordered(touch, thread, region.is_shared);
  };
  if (kind != EMU_WRITE && !region.written[at]) {
    report(where, "read of memory nobody has written", p, 1);
    region.written[at] = true;
  }
  Touch wrote = {cell.write.thread & ~ATOMIC, cell.write.clock};
  if (kind == EMU_READ) {
    if (unordered(wrote))
      report(where, "race: read of what another thread wrote without synchronisation", p, 1);
    cell.read = {unordered(cell.read) ? readers(cell.read.thread, thread) : thread, now};
    return;
  }
  bool both_atomic = kind == EMU_ATOMIC && (cell.write.thread & ATOMIC);
  if (!both_atomic && unordered(wrote))
    report(where, "race: two threads write without synchronisation", p, 1);
  if (unordered(cell.read))
    report(where, "race: write of what another thread read without synchronisation", p, 1);
  cell.write = {kind == EMU_ATOMIC ? thread | ATOMIC : thread, now};
  region.written[at] = true;
}

__attribute__((noinline)) void check(const void *address, size_t bytes, EmuAccess kind,
                                     void *where) {
  if (counts()) counter_access(address, bytes, kind);
  if (!checks()) return;
  auto *p = static_cast<char *>(const_cast<void *>(address));
  Region *region = nullptr;
  for (auto &candidate : regions)
    if (candidate.has(p)) {
      region = &candidate;
      break;
    }
  if (!region) {
    if (is_private(p, where)) return;
    report(where,
           kind == EMU_READ ? "read outside device memory" : "write outside device memory", p,
           unsigned(bytes));
    return;
  }
  if (!region->is_shared && !device_range(reinterpret_cast<Address>(p), bytes)) {
    report(where,
           kind == EMU_READ ? "read outside an allocation" : "write outside an allocation", p,
           unsigned(bytes));
    return;
  }
  if (p + bytes > region->begin + region->bytes) {
    report(where, "access outside shared memory", p, unsigned(bytes));
    return;
  }
  size_t at = size_t(p - region->begin);
  for (size_t i = 0; i < bytes; i++) check_byte(*region, at + i, kind, where);
}

Region &device_region(int device) {
  auto it = of_device.find(device);
  if (it != of_device.end()) return it->second;
  DeviceMemory &memory = memory_of(device);
  size_t bytes = memory.capacity();
  Region region = {memory.base(), bytes, false, reserve<Cell>(bytes), reserve<bool>(bytes)};
  return of_device.emplace(device, region).first->second;
}

void mark(const void *p, size_t bytes, bool is_written) {
  int device = device_of(reinterpret_cast<Address>(p));
  if (!checks() || device < 0) return;
  Region &region = device_region(device);
  memset(region.written + (static_cast<const char *>(p) - region.begin), is_written, bytes);
}
}  // namespace

void checker_allocated(char *p, size_t bytes) { mark(p, bytes, false); }
void checker_written(const void *p, size_t bytes) { mark(p, bytes, true); }

void checker_begin(const Launch &launch, char *dynamic, const std::vector<EmuModule> &modules) {
  launch_clock = block_clock = ++now;
  is_active = checks() || counts();
  counter_begin(launch, dynamic, modules);
  if (!checks()) return;
  regions.clear();
  regions.push_back(device_region(launch.device));
  auto add = [](char *p, size_t bytes) {
    if (bytes) regions.push_back({p, bytes, true, reserve<Cell>(bytes), reserve<bool>(bytes)});
  };
  add(dynamic, launch.shared_bytes);
  for (auto &m : modules) add(m.shared_begin, size_t(m.shared_end - m.shared_begin));
}

void checker_begin_block(size_t block) {
  block_first_thread = unsigned(block) * 1024u;
  block_clock = ++now;
  counter_begin_block();
  if (!checks()) return;
  for (auto &region : regions)
    if (region.is_shared) memset(region.written, 0, region.bytes);
}

void checker_block_synchronised() { block_clock = ++now; }
uint32_t checker_tick() { return ++now; }

void checker_end() {
  counter_end();
  if (checks())
    for (auto &region : regions)
      if (region.is_shared) {
        munmap(region.cells, region.bytes * sizeof(Cell));
        munmap(region.written, region.bytes);
      }
  is_active = false;
}

void emu_access(const void *p, unsigned bytes, EmuAccess kind, void *where) {
  if (is_active) check(p, bytes, kind, where);
}

// What -fsanitize=alignment calls: a type at an address that the hardware would not read it from.
struct Misaligned {
  const char *file;
  uint32_t line, column;
};
extern "C" void __ubsan_handle_type_mismatch_v1(const Misaligned *at, uintptr_t address) {
  if (!is_active || !checks()) return;
  char text[300];
  snprintf(text, sizeof text, "misaligned address %#lx, %s:%u", long(address), at->file, at->line);
  fprintf(stderr, "cuda-emu: %s\n", text);
  set_fault(716, text);
}

#define HOOK(name, kind, bytes)                                          \
  extern "C" void __tsan_##name(void *p) {                               \
    if (is_active) check(p, bytes, kind, __builtin_return_address(0));   \
  }
#define HOOKS(bytes)                                                     \
  HOOK(read##bytes, EMU_READ, bytes)                                     \
  HOOK(write##bytes, EMU_WRITE, bytes)                                   \
  HOOK(unaligned_read##bytes, EMU_READ, bytes)                           \
  HOOK(unaligned_write##bytes, EMU_WRITE, bytes)                         \
  HOOK(volatile_read##bytes, EMU_READ, bytes)                            \
  HOOK(volatile_write##bytes, EMU_WRITE, bytes)
HOOKS(1) HOOKS(2) HOOKS(4) HOOKS(8) HOOKS(16)
extern "C" void __tsan_read_range(void *p, unsigned long bytes) {
  if (is_active) check(p, bytes, EMU_READ, __builtin_return_address(0));
}
extern "C" void __tsan_write_range(void *p, unsigned long bytes) {
  if (is_active) check(p, bytes, EMU_WRITE, __builtin_return_address(0));
}
extern "C" void __tsan_func_entry(void *) {}
extern "C" void __tsan_func_exit() {}
extern "C" void __tsan_init() {}
