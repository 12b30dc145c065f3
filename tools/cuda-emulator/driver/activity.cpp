#include "activity.h"

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <dlfcn.h>

EmuActivity emu_activity;

Activity::~Activity() {
  if (emu_activity) emu_activity(kind_, name_, begin_, now(), bytes_);
}

uint64_t Activity::now() {
  auto since = std::chrono::steady_clock::now().time_since_epoch();
  return uint64_t(std::chrono::duration_cast<std::chrono::nanoseconds>(since).count());
}

void inject_profiler() {
  static bool is_done;
  const char *path = getenv("CUDA_INJECTION64_PATH");
  if (is_done || !path) return;
  is_done = true;
  void *library = dlopen(path, RTLD_NOW | RTLD_GLOBAL);
  void *start = library ? dlsym(library, "InitializeInjection") : nullptr;
  if (start) reinterpret_cast<int (*)()>(start)();
  else fprintf(stderr, "cuda-emu: %s\n", dlerror());
}
