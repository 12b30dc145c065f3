#include "memory.h"

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <sys/mman.h>
#include <vector>

#include "checker.h"
#include "counter.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
void poison(void *p, size_t bytes, bool on) {
  if (on) __asan_poison_memory_region(p, bytes);
  else __asan_unpoison_memory_region(p, bytes);
}
#else
void poison(void *, size_t, bool) {}
#endif

namespace {
constexpr size_t ALIGN = 256, GAP = 256;

size_t room(size_t bytes) { return (bytes + ALIGN - 1) / ALIGN * ALIGN + GAP; }

size_t number(const char *name, size_t otherwise) {
  const char *value = getenv(name);
  return value ? strtoul(value, nullptr, 10) : otherwise;
}

std::vector<std::unique_ptr<DeviceMemory>> &devices() {
  static auto *all = [] {
    auto *made = new std::vector<std::unique_ptr<DeviceMemory>>;
    size_t capacity = number("CUDA_EMU_MEMORY", 2048) << 20;
    size_t taken = std::min(number("CUDA_EMU_TAKEN", 0) << 20, capacity);
    for (size_t i = 0; i < std::min<size_t>(number("CUDA_EMU_DEVICES", 1), 8); i++)
      made->push_back(std::make_unique<DeviceMemory>(capacity, taken));
    return made;
  }();
  return *all;
}
}  // namespace

// In assembly because AddressSanitizer would object to the gaps between shared variables.
void fill_nan(char *p, size_t bytes) {
  asm volatile("rep stosb" : "+D"(p), "+c"(bytes) : "a"(0xff) : "memory");
}

DeviceMemory::DeviceMemory(size_t capacity, size_t taken)
    : capacity_(capacity), taken_(taken), used_(taken) {
  int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
  base_ = static_cast<char *>(mmap(nullptr, capacity, PROT_READ | PROT_WRITE, flags, -1, 0));
  poison(base_, capacity, true);
}

int DeviceMemory::allocate(size_t bytes, Address *address) {
  if (!bytes) return 1;
  size_t at = taken_ + GAP;
  for (auto [offset, size] : extents_) {  // first fit
    if (at + room(bytes) <= offset) break;
    at = offset + room(size);
  }
  if (at + room(bytes) > capacity_) return 2;
  extents_[at] = bytes;
  used_ += bytes;
  *address = reinterpret_cast<Address>(base_ + at);
  most_ = std::max(most_, used_ - taken_);
  counter_memory(most_);
  poison(base_ + at, bytes, false);
  if (!is_sketch()) fill_nan(base_ + at, bytes);
  checker_allocated(base_ + at, bytes);
  return 0;
}

int DeviceMemory::free(Address address) {
  auto it = extents_.find(address - reinterpret_cast<Address>(base_));
  if (it == extents_.end()) return 1;
  if (is_sketch()) madvise(base_ + it->first, it->second, MADV_DONTNEED);
  else fill_nan(base_ + it->first, it->second);
  poison(base_ + it->first, it->second, true);
  used_ -= it->second;
  extents_.erase(it);
  return 0;
}

bool DeviceMemory::contains(Address address) const {
  return address - reinterpret_cast<Address>(base_) < capacity_;
}

bool DeviceMemory::holds(Address address, size_t bytes) const {
  if (!contains(address)) return false;
  size_t offset = address - reinterpret_cast<Address>(base_);
  auto [begin, size] = extent_of(offset);
  return size && offset + bytes <= begin + size;
}

std::pair<size_t, size_t> DeviceMemory::extent_of(size_t offset) const {
  auto it = extents_.upper_bound(offset);
  if (it == extents_.begin()) return {};
  --it;
  bool is_in = offset <= it->first + it->second;
  return {it->first, is_in ? it->second : 0};
}

void DeviceMemory::show(bool visible) {
  mprotect(base_, capacity_, visible ? PROT_READ | PROT_WRITE : PROT_NONE);
}

int device_count() { return int(devices().size()); }
DeviceMemory &memory_of(int device) { return *devices()[size_t(device)]; }

int device_of(Address address) {
  for (int i = 0; i < device_count(); i++)
    if (memory_of(i).contains(address)) return i;
  return -1;
}

bool device_range(Address address, size_t bytes) {
  int device = device_of(address);
  return device >= 0 && memory_of(device).holds(address, bytes);
}

void memory_visible(bool on) {
  static const bool protects = getenv("CUDA_EMU_PROTECT") != nullptr;
  if (!protects) return;
  for (auto &memory : devices()) memory->show(on);
}
