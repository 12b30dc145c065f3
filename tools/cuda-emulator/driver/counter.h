// What a program asks of a device, one line of JSON for each launch, product and copy, in the file
// of CUDA_EMU_COUNTS: kernels compiled as `counted` tell their accesses and arithmetic.
//
// With CUDA_EMU_BLOCKS=n a launch runs n of its blocks, whose counts stand for all: evenly spread
// along x, and along the rest of the grid. Products and large copies are counted and left out. So
// shapes are counted that no emulator could compute, as long as what a block does depends on shapes
// alone: values mean nothing then.
#pragma once
#include "memory.h"
#include "scheduler.h"

bool counts();
bool is_sketch();
// Which blocks of a grid run, in order; x goes fastest.
std::vector<size_t> blocks_of_sketch(const EmuIndex &grid);

void counter_arithmetic(const uint64_t *counters);  // of a library of kernels
void counter_begin(const Launch &launch, char *dynamic, const std::vector<EmuModule> &modules);
void counter_begin_block();
void counter_access(const void *p, size_t bytes, EmuAccess kind);
void counter_end();
void counter_copy(const char *direction, size_t bytes);
// Most bytes of a device at once so far.
void counter_memory(size_t most);
