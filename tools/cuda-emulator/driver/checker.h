// What compute-sanitizer checks, in kernels compiled with -fsanitize=thread: the compiler calls
// __tsan_read4(address) and the like at every access, and these are our own functions.
//
// memcheck: the address lies in a live allocation of the launch's device, or in shared memory;
// racecheck: two threads touch a byte, one writes, and no barrier, warp operation or atomic
// orders them; initcheck: a read of bytes that nobody has written; and what lies across a multiple
// of its size, which the hardware refuses (-fsanitize=alignment).
// CUDA_EMU_CHECK=1 turns them on. What is to be counted comes the same way (counter.h).
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

#include "scheduler.h"

void checker_begin(const Launch &launch, char *dynamic, const std::vector<EmuModule> &modules);
void checker_begin_block(size_t block);
void checker_block_synchronised();
uint32_t checker_tick();
void checker_end();
void checker_allocated(char *p, size_t bytes);
void checker_written(const void *p, size_t bytes);
