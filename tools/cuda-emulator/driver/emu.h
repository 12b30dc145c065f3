// The contract between the emulated driver, kernels compiled for the host and emulated libraries.
#pragma once
#include <cstddef>
#include <cstdint>

struct EmuIndex {
  unsigned x, y, z;
};

// What a CUDA thread sees of itself; `emu_thread` points to the one that runs now.
struct EmuThread {
  EmuIndex thread_idx;
  unsigned linear;  // x fastest
};

struct EmuLaunch {
  EmuIndex block_idx, block_dim, grid_dim;
  void *dynamic_shared;
  size_t dynamic_shared_bytes;
};

// One kernel of a host-compiled library. `call` unpacks the driver's array of arguments.
struct EmuKernel {
  const char *name;
  void (*call)(void **arguments);
  unsigned count;
  const unsigned *sizes;   // bytes of each argument
  const unsigned *alignments;
  const bool *is_pointer;  // device pointers are checked at launch
};

struct EmuModule {
  const EmuKernel *kernels;
  size_t kernel_count;
  char *shared_begin, *shared_end;  // static __shared__ variables of the library
};

enum EmuAccess { EMU_READ, EMU_WRITE, EMU_ATOMIC };

extern "C" {
extern EmuThread *emu_thread;
extern EmuLaunch emu_launch;
void emu_register(const EmuModule *module);
// `place`: the line in the low 16 bits, above it which barrier of the source.
void emu_sync_block(int place);
// Waits until all lanes of `mask` arrive; 32 rows of `bytes`, valid until this lane's next call.
const void *emu_warp_exchange(uint32_t mask, const void *mine, unsigned bytes, int line);
// Lanes of this warp that exist and have not returned.
uint32_t emu_warp_mask();
void emu_access(const void *address, unsigned bytes, EmuAccess kind, void *where);
[[noreturn]] void emu_fail(const char *message);

// For libraries such as cuBLAS: runs `work(data)` in stream order; `release(data)` follows, once.
int emu_submit(void *stream, int (*work)(void *), void *data, void (*release)(void *));
bool emu_is_device(const void *address, size_t bytes);
void emu_count_product(int m, int n, int k, int batch, int bytes_of_operand);
bool emu_is_sketch();  // values mean nothing: see counter.h
void emu_written(const void *address, size_t bytes);  // a library wrote there
int emu_current_device();                             // −1 without a context

// Told of all that a device did, in nanoseconds, while it is set: kind, name, begin, end, bytes.
using EmuActivity = void (*)(int, const char *, uint64_t, uint64_t, uint64_t);
extern EmuActivity emu_activity;
}
