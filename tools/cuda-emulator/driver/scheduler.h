// Runs a kernel: its blocks one after another, the threads of a block as fibers.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "emu.h"

struct Fault {
  int code = 0;  // a CUresult
  std::string message;
};

struct Launch {
  const EmuKernel *kernel;
  EmuIndex grid, block;
  size_t shared_bytes;
  int device;
  std::vector<std::string> arguments;  // the bytes of each
};

Fault run_kernel(const Launch &launch, const std::vector<EmuModule> &modules);
// The first fault of a launch stays.
void set_fault(int code, const char *message);

// For the checker: the time since which this warp is ordered, and what kernels may read of here.
uint32_t warp_clock();
bool is_scheduler_state(const void *p);
