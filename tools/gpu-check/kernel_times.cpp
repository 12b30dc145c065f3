// When each kernel and copy of a process ran: a library that the driver starts where
// CUDA_INJECTION64_PATH names it, and that asks CUPTI.
//
// The folder KERNEL_TIMES is how one talks to it. A file `start` begins, and is answered by
// `started`; `stop` ends, and is answered by `times.tsv`: kind, begin and end in nanoseconds,
// bytes, name. `failed` says in one line why there are no times.
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <string>
#include <thread>

#include "activity.h"

namespace {
std::filesystem::path folder;
std::ofstream times;
std::mutex lock;
void *cupti;

template <class F>
F *function(const char *name) {
  return reinterpret_cast<F *>(dlsym(cupti, name));
}

void tell(const char *file, const std::string &text = "") {
  auto part = folder / (std::string(file) + ".part");
  std::ofstream(part) << text;
  std::filesystem::rename(part, folder / file);
}

template <class T>
T field(const uint8_t *record, size_t at) {
  T value;
  memcpy(&value, record + at, sizeof value);
  return value;
}

void write(const uint8_t *record) {
  int kind = field<int>(record, KIND_AT);
  const char *name = "fill";
  uint64_t bytes = 0;
  if (kind == CONCURRENT_KERNEL) name = field<const char *>(record, NAME_AT);
  else bytes = field<uint64_t>(record, BYTES_AT);
  if (kind == MEMCPY) {
    int direction = record[COPY_KIND_AT];
    name = direction == 1 ? "copy to the device" : direction == 2 ? "copy to the host" : "copy";
  }
  times << kind << '\t' << field<uint64_t>(record, BEGIN_AT) << '\t'
        << field<uint64_t>(record, END_AT) << '\t' << bytes << '\t' << (name ? name : "?") << '\n';
}

void give_buffer(uint8_t **buffer, size_t *bytes, size_t *most_records) {
  *bytes = 4 << 20;
  *buffer = static_cast<uint8_t *>(aligned_alloc(8, *bytes));
  *most_records = 0;
}

void take_buffer(void *, uint32_t, uint8_t *buffer, size_t, size_t valid_bytes) {
  using Next = int(uint8_t *, size_t, void **);
  static auto *next = function<Next>("cuptiActivityGetNextRecord");
  std::lock_guard guard(lock);
  for (void *record = nullptr; next(buffer, valid_bytes, &record) == 0;) {
    int kind = field<int>(static_cast<uint8_t *>(record), KIND_AT);
    if (kind == MEMCPY || kind == MEMSET || kind == CONCURRENT_KERNEL)
      write(static_cast<uint8_t *>(record));
  }
  free(buffer);
}

void must(int result, const char *what) {
  if (!result) return;
  const char *text = "?";
  if (auto *name = function<int(int, const char **)>("cuptiGetResultString")) name(result, &text);
  throw std::string(what) + " returned " + text;
}

void switch_kinds(const char *how) {
  for (int kind : {CONCURRENT_KERNEL, MEMCPY, MEMSET}) must(function<int(int)>(how)(kind), how);
}

bool takes_away(const char *file) { return std::filesystem::remove(folder / file); }

void collect() {
  times.open(folder / "times.tsv.part", std::ios::trunc);
  switch_kinds("cuptiActivityEnable");
  tell("started");
  while (!takes_away("stop")) std::this_thread::sleep_for(std::chrono::milliseconds(2));
  must(function<int(uint32_t)>("cuptiActivityFlushAll")(1), "cuptiActivityFlushAll");
  switch_kinds("cuptiActivityDisable");
  std::lock_guard guard(lock);
  times.close();
  std::filesystem::rename(folder / "times.tsv.part", folder / "times.tsv");
}

void serve() {
  try {
    for (const char *name : {"libcupti.so.13", "libcupti.so.12", "libcupti.so"})
      if (!cupti) cupti = dlopen(name, RTLD_NOW);
    if (!cupti) throw std::string("there is no libcupti: ") + dlerror();
    using Register = int(RequestBuffer, CompleteBuffer);
    auto *register_callbacks = function<Register>("cuptiActivityRegisterCallbacks");
    must(register_callbacks(give_buffer, take_buffer), "cuptiActivityRegisterCallbacks");
    for (;; std::this_thread::sleep_for(std::chrono::milliseconds(2)))
      if (takes_away("start")) collect();
  } catch (const std::string &why) {
    tell("failed", why);
  } catch (const std::exception &error) {
    tell("failed", error.what());
  }
}
}  // namespace

extern "C" int InitializeInjection() {
  const char *named = getenv("KERNEL_TIMES");
  static std::atomic<bool> is_started;
  if (named && !is_started.exchange(true)) {
    folder = named;
    std::thread(serve).detach();
  }
  return 1;
}
