// What profilers are told: each piece of a device's work with its time, to whom CUPTI's stand-in
// gives it; and the library of CUDA_INJECTION64_PATH, which the driver starts at cuInit.
#pragma once
#include <cstdint>

#include "emu.h"

enum : int { COPY = 1, FILL = 2, KERNEL = 10 };  // CUpti_ActivityKind

// The time from here to the end of the scope.
class Activity {
 public:
  Activity(int kind, const char *name, uint64_t bytes = 0)
      : kind_(kind), name_(name), bytes_(bytes), begin_(emu_activity ? now() : 0) {}
  ~Activity();
  Activity(const Activity &) = delete;

 private:
  static uint64_t now();
  int kind_;
  const char *name_;
  uint64_t bytes_, begin_;
};

void inject_profiler();
