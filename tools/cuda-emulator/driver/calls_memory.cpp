// Allocation and copies. A copy from pageable host memory is taken before the call returns, one
// to pageable memory is done before it returns; from and to pinned memory both are asynchronous.
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "activity.h"
#include "checker.h"
#include "counter.h"
#include "state.h"

namespace {
constexpr size_t SMALL = 1 << 20;  // what a sketch copies; more is values alone

struct Side {
  char *p;
  bool on_device;
};
Side host(const void *p) { return {static_cast<char *>(const_cast<void *>(p)), false}; }
Side device(Address p) { return {reinterpret_cast<char *>(p), true}; }

bool fits(const Side &side, size_t bytes) {
  return !side.on_device || device_range(reinterpret_cast<Address>(side.p), bytes);
}

Result copy(void *stream, Side to, Side from, size_t bytes) {
  if (!bytes) return OK;
  if (!fits(to, bytes) || !fits(from, bytes)) {
    fprintf(stderr, "cuda-emu: copy of %zu bytes leaves its allocation\n", bytes);
    return INVALID_VALUE;
  }
  counter_copy(!to.on_device ? "to the host" : from.on_device ? "within" : "to it", bytes);
  if (is_sketch() && bytes > SMALL) return OK;
  const char *name = !to.on_device ? "copy to the host" : from.on_device ? "copy" : "copy to it";
  auto write = [=](const char *source) {
    Activity activity(COPY, name, bytes);
    memmove(to.p, source, bytes);
    if (to.on_device) checker_written(to.p, bytes);
    return OK;
  };
  bool is_captured = bool(stream_of(stream).capture);
  bool is_pageable = !from.on_device && !is_pinned(from.p);
  if (is_pageable && !is_captured) {
    auto taken = std::make_shared<std::string>(from.p, bytes);
    return submit(stream, [=] { return write(taken->data()); });
  }
  Result r = submit(stream, [=] { return write(from.p); });
  if (r || to.on_device || is_pinned(to.p) || is_captured) return r;
  return wait_for(stream);
}

Result copy_now(Side to, Side from, size_t bytes) {
  if (Result r = refuse_in_capture()) return r;
  Result r = copy(nullptr, to, from, bytes);
  return r ? r : wait_for(nullptr);
}

template <class T>
Result fill(void *stream, Address p, T value, size_t count) {
  if (!count) return OK;
  if (!device_range(p, count * sizeof(T))) return INVALID_VALUE;
  counter_copy("fill", count * sizeof(T));
  if (is_sketch() && count * sizeof(T) > SMALL) return OK;
  return submit(stream, [=] {
    Activity activity(FILL, "fill", count * sizeof(T));
    auto *values = reinterpret_cast<T *>(p);
    for (size_t i = 0; i < count; i++) memcpy(values + i, &value, sizeof(T));
    checker_written(values, count * sizeof(T));
    return OK;
  });
}

Result allocate(Address *p, size_t bytes) {
  int device = current_device();
  return device < 0 ? INVALID_CONTEXT : memory_of(device).allocate(bytes, p);
}
Result release(Address p) {
  int device = device_of(p);
  return device < 0 ? INVALID_VALUE : memory_of(device).free(p);
}
}  // namespace

void emu_written(const void *p, size_t bytes) { checker_written(p, bytes); }

extern "C" {
Result cuMemAlloc_v2(Address *p, size_t bytes) {
  ENTER;
  if (Result r = refuse_in_capture()) return r;
  return allocate(p, bytes);
}
Result cuMemAllocAsync(Address *p, size_t bytes, void *stream) {
  ENTER;
  if (stream_of(stream).capture) return refuse_in_capture();
  *p = 0;
  return bytes ? allocate(p, bytes) : OK;
}
Result cuMemFree_v2(Address p) {
  ENTER;
  if (!p) return OK;
  if (Result r = refuse_in_capture()) return r;
  Result r = wait_for_all();
  return r ? r : release(p);
}
Result cuMemFreeAsync(Address p, void *stream) {
  ENTER;
  if (!p) return OK;
  if (stream_of(stream).capture) return refuse_in_capture();
  return submit(stream, [=] { return release(p); });
}
Result cuMemGetInfo_v2(size_t *free_bytes, size_t *total) {
  ENTER;
  int device = current_device();
  if (device < 0) return INVALID_CONTEXT;
  *total = memory_of(device).capacity();
  *free_bytes = *total - memory_of(device).used();
  return OK;
}
Result cuDeviceGetDefaultMemPool(void **pool, int device) {
  ENTER;
  *pool = &memory_of(device);
  return OK;
}
Result cuMemPoolGetAttribute(void *pool, int which, void *value) {
  ENTER;
  if (which != 8) return INVALID_VALUE;  // the most bytes in use so far
  uint64_t bytes = static_cast<DeviceMemory *>(pool)->most();
  memcpy(value, &bytes, sizeof bytes);
  return OK;
}
Result cuMemHostAlloc(void **p, size_t bytes, unsigned) {
  ENTER;
  *p = malloc(bytes);
  remember_pinned(*p, bytes);
  return OK;
}
Result cuMemFreeHost(void *p) {
  ENTER;
  Result r = wait_for_all();
  if (!forget_pinned(p)) return INVALID_VALUE;
  free(p);
  return r;
}
Result cuMemcpyHtoDAsync_v2(Address to, const void *from, size_t bytes, void *stream) {
  ENTER;
  return copy(stream, device(to), host(from), bytes);
}
Result cuMemcpyDtoHAsync_v2(void *to, Address from, size_t bytes, void *stream) {
  ENTER;
  return copy(stream, host(to), device(from), bytes);
}
Result cuMemcpyDtoDAsync_v2(Address to, Address from, size_t bytes, void *stream) {
  ENTER;
  return copy(stream, device(to), device(from), bytes);
}
Result cuMemcpyPeerAsync(Address to, void *, Address from, void *, size_t bytes, void *stream) {
  ENTER;
  return copy(stream, device(to), device(from), bytes);
}
Result cuMemcpyHtoD_v2(Address to, const void *from, size_t bytes) {
  ENTER;
  return copy_now(device(to), host(from), bytes);
}
Result cuMemcpyDtoH_v2(void *to, Address from, size_t bytes) {
  ENTER;
  return copy_now(host(to), device(from), bytes);
}
Result cuMemcpyDtoD_v2(Address to, Address from, size_t bytes) {
  ENTER;
  return copy_now(device(to), device(from), bytes);
}
Result cuMemsetD8Async(Address p, unsigned char value, size_t count, void *stream) {
  ENTER;
  return fill(stream, p, value, count);
}
Result cuMemsetD32Async(Address p, unsigned value, size_t count, void *stream) {
  ENTER;
  return fill(stream, p, value, count);
}
Result cuMemsetD8_v2(Address p, unsigned char value, size_t count) {
  ENTER;
  if (Result r = refuse_in_capture()) return r;
  Result r = fill(nullptr, p, value, count);
  return r ? r : wait_for(nullptr);
}
}
