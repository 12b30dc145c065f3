// Device memory: exact extents, gaps between allocations, NaNs in what nobody has written.
#pragma once
#include <cstddef>
#include <cstdint>
#include <map>
#include <utility>

using Address = unsigned long long;  // CUdeviceptr

class DeviceMemory {
 public:
  // Of its capacity another process has taken some.
  DeviceMemory(size_t capacity, size_t taken);
  // A CUresult: 1 for no bytes, 2 when they do not fit.
  int allocate(size_t bytes, Address *address);
  int free(Address address);
  // Whether the range lies in one live allocation.
  bool holds(Address address, size_t bytes) const;
  // Offset and bytes of the live allocation that an offset lies in; 0 bytes: in none.
  std::pair<size_t, size_t> extent_of(size_t offset) const;
  // Whether the address lies in this device's range, allocated or not.
  bool contains(Address address) const;
  void show(bool visible);  // to the host's loads and stores
  size_t used() const { return used_; }
  size_t most() const { return most_; }  // that was allocated at once
  size_t capacity() const { return capacity_; }
  char *base() const { return base_; }

 private:
  char *base_;
  size_t capacity_, taken_, used_, most_ = 0;
  std::map<size_t, size_t> extents_;  // offset → bytes
};

// The devices of this process: CUDA_EMU_DEVICES (1) of CUDA_EMU_MEMORY MiB (2048), of which
// CUDA_EMU_TAKEN (0) belong to somebody else.
int device_count();
DeviceMemory &memory_of(int device);
int device_of(Address address);  // −1 when no device has it
bool device_range(Address address, size_t bytes);
// With CUDA_EMU_PROTECT=1 the host faults on device memory outside of driver calls.
void memory_visible(bool on);

void poison(void *p, size_t bytes, bool on);  // for AddressSanitizer
void fill_nan(char *p, size_t bytes);
