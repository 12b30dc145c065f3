// Driver, devices and contexts. CUDA_EMU_DRIVER (13000) is the driver's version, CUDA_EMU_ARCH
// (80) the devices' compute capability.
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>

#include "activity.h"
#include "checker.h"
#include "state.h"

namespace {
int number(const char *name, int otherwise) {
  const char *value = getenv(name);
  return value ? atoi(value) : otherwise;
}

struct Context {
  int device;
};
Context primary[8] = {{0}, {1}, {2}, {3}, {4}, {5}, {6}, {7}};
thread_local std::vector<Context *> current;

const std::map<int, int> ATTRIBUTES = {
    {1, 1024},        // threads of a block
    {2, 1024},        // … by x
    {3, 1024},        // … by y
    {4, 64},          // … by z
    {5, 0x7fffffff},  // blocks of a grid by x
    {6, 65535},       // … by y
    {7, 65535},       // … by z
    {8, 48 << 10},    // shared memory of a block
    {10, 32},         // warp size
    {12, 65536},      // registers of a block
    {13, 1500000},    // clock, kHz
    {16, 8},          // multiprocessors
    {39, 2048},       // threads of a multiprocessor
    {41, 1},          // unified addressing
    {81, 164 << 10},  // shared memory of a multiprocessor
    {97, 163 << 10},  // shared memory of a block, where it is asked for
    {115, 1},         // memory pools: cuMemAllocAsync
};

const std::map<Result, std::pair<const char *, const char *>> ERRORS = {
    {OK, {"CUDA_SUCCESS", "no error"}},
    {INVALID_VALUE, {"CUDA_ERROR_INVALID_VALUE", "invalid argument"}},
    {OUT_OF_MEMORY, {"CUDA_ERROR_OUT_OF_MEMORY", "out of memory"}},
    {NOT_INITIALIZED, {"CUDA_ERROR_NOT_INITIALIZED", "initialization error"}},
    {NO_DEVICE, {"CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected"}},
    {INVALID_DEVICE, {"CUDA_ERROR_INVALID_DEVICE", "invalid device ordinal"}},
    {INVALID_CONTEXT, {"CUDA_ERROR_INVALID_CONTEXT", "invalid device context"}},
    {NO_BINARY_FOR_GPU,
     {"CUDA_ERROR_NO_BINARY_FOR_GPU", "no kernel image is available for execution on the device"}},
    {INVALID_HANDLE, {"CUDA_ERROR_INVALID_HANDLE", "invalid resource handle"}},
    {NOT_FOUND, {"CUDA_ERROR_NOT_FOUND", "named symbol not found"}},
    {NOT_READY, {"CUDA_ERROR_NOT_READY", "device not ready"}},
    {ILLEGAL_ADDRESS, {"CUDA_ERROR_ILLEGAL_ADDRESS", "an illegal memory access was encountered"}},
    {LAUNCH_FAILED, {"CUDA_ERROR_LAUNCH_FAILED", "unspecified launch failure"}},
    {NOT_SUPPORTED, {"CUDA_ERROR_NOT_SUPPORTED", "operation not supported"}},
    {CAPTURE_UNSUPPORTED,
     {"CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED", "operation not permitted when stream is capturing"}},
    {CAPTURE_INVALIDATED,
     {"CUDA_ERROR_STREAM_CAPTURE_INVALIDATED", "operation failed due to a previous error"}},
    {CAPTURE_UNJOINED,
     {"CUDA_ERROR_STREAM_CAPTURE_UNJOINED", "capture has unjoined work in another stream"}},
    {UNKNOWN, {"CUDA_ERROR_UNKNOWN", "unknown error"}},
};
}  // namespace

int current_device() { return current.empty() ? -1 : current.back()->device; }

extern "C" {
Result cuInit(unsigned flags) {
  Call call(__func__);
  if (flags) return INVALID_VALUE;
  if (!device_count()) return NO_DEVICE;
  initialise();
  if (const char *broken = getenv("CUDA_EMU_BROKEN")) {
    if (strcmp(broken, "hang")) raise(SIGSEGV);
    for (;;) pause();
  }
  inject_profiler();
  return OK;
}
Result cuDriverGetVersion(int *version) {
  *version = number("CUDA_EMU_DRIVER", 13000);
  return OK;
}
Result cuDeviceGetCount(int *count) {
  ENTER;
  *count = device_count();
  return OK;
}
Result cuDeviceGet(int *device, int ordinal) {
  ENTER;
  if (ordinal < 0 || ordinal >= device_count()) return INVALID_DEVICE;
  *device = ordinal;
  return OK;
}
Result cuDeviceGetName(char *name, int length, int device) {
  ENTER;
  snprintf(name, size_t(length), "Emulated device %d", device);
  return OK;
}
Result cuDeviceGetUuid_v2(char *uuid, int device) {
  ENTER;
  memset(uuid, device + 1, 16);
  return OK;
}
Result cuDeviceTotalMem_v2(size_t *bytes, int device) {
  ENTER;
  *bytes = memory_of(device).capacity();
  return OK;
}
Result cuDeviceGetAttribute(int *value, int which, int) {
  ENTER;
  int arch = number("CUDA_EMU_ARCH", 80);
  auto it = ATTRIBUTES.find(which);
  if (which == 75) *value = arch / 10;
  else if (which == 76) *value = arch % 10;
  else *value = it == ATTRIBUTES.end() ? 0 : it->second;
  return OK;
}
Result cuDeviceCanAccessPeer(int *can, int, int) {
  ENTER;
  *can = 0;
  return OK;
}
Result cuDevicePrimaryCtxRetain(void **context, int device) {
  ENTER;
  if (device < 0 || device >= device_count()) return INVALID_DEVICE;
  *context = &primary[device];
  return OK;
}
Result cuDevicePrimaryCtxRelease_v2(int) { return OK; }
Result cuCtxGetCurrent(void **context) {
  *context = current.empty() ? nullptr : current.back();
  return OK;
}
Result cuCtxSetCurrent(void *context) {
  ENTER;
  current.clear();
  if (context) current.push_back(static_cast<Context *>(context));
  return OK;
}
Result cuCtxPushCurrent_v2(void *context) {
  ENTER;
  current.push_back(static_cast<Context *>(context));
  return OK;
}
Result cuCtxPopCurrent_v2(void **context) {
  ENTER;
  if (current.empty()) return INVALID_CONTEXT;
  if (context) *context = current.back();
  current.pop_back();
  return OK;
}
Result cuCtxGetDevice(int *device) {
  ENTER;
  *device = current_device();
  return current.empty() ? INVALID_CONTEXT : OK;
}
Result cuCtxDestroy_v2(void *) { return OK; }
Result cuCtxSynchronize() {
  ENTER;
  if (Result r = refuse_in_capture()) return r;
  return wait_for_all();
}
Result cuGetErrorName(Result error, const char **name) {
  auto it = ERRORS.find(error);
  *name = it == ERRORS.end() ? "CUDA_ERROR_UNKNOWN" : it->second.first;
  return OK;
}
Result cuGetErrorString(Result error, const char **text) {
  auto it = ERRORS.find(error);
  *text = it == ERRORS.end() ? "unknown error" : it->second.second;
  return OK;
}
}
