// Modules, functions and launches. Kernels come from host-compiled libraries in the folder of
// CUDA_EMU_KERNELS, by name; an image that is PTX text must have the entry. PTX and fat binaries
// must fit the device.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <filesystem>
#include <map>

#include "activity.h"
#include "checker.h"
#include "counter.h"
#include "scheduler.h"
#include "state.h"

namespace {
struct Module {
  std::string text;  // of PTX; empty for binaries
};
struct Function {
  const EmuKernel *kernel;
  int max_dynamic_shared = 48 << 10;
};
std::map<std::string, std::unique_ptr<Function>> functions;

std::vector<EmuModule> &libraries() {
  static auto *all = new std::vector<EmuModule>;
  return *all;
}

void load_libraries() {
  static bool is_loaded;
  if (is_loaded) return;
  is_loaded = true;
  const char *folder = getenv("CUDA_EMU_KERNELS");
  if (!folder) return;
  std::error_code none;
  for (auto &file : std::filesystem::directory_iterator(folder, none)) {
    void *library = dlopen(file.path().c_str(), RTLD_NOW | RTLD_LOCAL);
    if (library) counter_arithmetic(static_cast<uint64_t *>(dlsym(library, "emu_arithmetic")));
    else fprintf(stderr, "cuda-emu: %s\n", dlerror());
  }
}

const EmuKernel *find_kernel(const std::string &name) {
  for (auto &m : libraries())
    for (size_t i = 0; i < m.kernel_count; i++)
      if (name == m.kernels[i].name) return &m.kernels[i];
  return nullptr;
}

int capability() {
  const char *value = getenv("CUDA_EMU_ARCH");
  return value ? atoi(value) : 80;
}

// Whether PTX names a newer architecture than the device's.
bool is_for_another(const std::string &text) {
  size_t at = text.find(".target sm_");
  return at != std::string::npos && atoi(text.c_str() + at + 11) > capability();
}

template <typename T>
T word(const unsigned char *at) {
  T value;
  memcpy(&value, at, sizeof value);
  return value;
}

// Whether a fat binary has something for the device: PTX of no newer architecture, or a cubin of
// its own major one. Head: magic (4), version (2), bytes of the head (2) and of all entries (8). An
// entry: kind (2; 1 = PTX, 2 = cubin), at 4 the bytes of its head, at 8 those behind it, at 28 sm_.
bool fits(const unsigned char *image) {
  const unsigned char *at = image + word<uint16_t>(image + 6);
  const unsigned char *end = at + word<uint64_t>(image + 8);
  while (at + 64 <= end) {
    int of = word<int>(at + 28), ours = capability();
    bool is_ptx = word<uint16_t>(at) == 1;
    if (of <= ours && (is_ptx || of / 10 == ours / 10)) return true;
    at += word<uint32_t>(at + 4) + word<uint64_t>(at + 8);
  }
  return false;
}

Result check_arguments(const EmuKernel &kernel, void **parameters) {
  for (unsigned i = 0; i < kernel.count; i++) {
    Address p = 0;
    if (!kernel.is_pointer[i]) continue;
    memcpy(&p, parameters[i], sizeof p);
    if (!p || (device_of(p) == current_device() && device_range(p, 0))) continue;
    fprintf(stderr, "cuda-emu: %s: argument %u (%#llx) does not point to memory of device %d\n",
            kernel.name, i, p, current_device());
    return make_sticky(ILLEGAL_ADDRESS);
  }
  return OK;
}

bool is_possible(const EmuIndex &grid, const EmuIndex &block) {
  bool none_zero = grid.x && grid.y && grid.z && block.x && block.y && block.z;
  return none_zero && grid.y <= 65535 && grid.z <= 65535 && block.z <= 64 &&
         size_t(block.x) * block.y * block.z <= 1024;
}
}  // namespace

extern "C" {
void emu_register(const EmuModule *module) {
  EmuModule m = *module;  // files of one library share one section of shared variables
  for (auto &other : libraries())
    if (other.shared_begin == m.shared_begin) m.shared_begin = m.shared_end = nullptr;
  libraries().push_back(m);
}

Result cuModuleLoadData(void **module, const void *image) {
  ENTER;
  load_libraries();
  auto *text = static_cast<const unsigned char *>(image);
  bool is_fat = word<uint32_t>(text) == 0xba55ed50;
  if (is_fat && !fits(text)) return NO_BINARY_FOR_GPU;
  bool is_elf = text[0] == 0x7f;
  std::string ptx = is_fat || is_elf ? "" : static_cast<const char *>(image);
  if (is_for_another(ptx)) return NO_BINARY_FOR_GPU;
  *module = new Module{std::move(ptx)};
  return OK;
}
Result cuModuleLoad(void **module, const char *) {
  ENTER;
  load_libraries();
  *module = new Module{};
  return OK;
}
Result cuModuleUnload(void *module) {
  ENTER;
  delete static_cast<Module *>(module);
  return OK;
}
Result cuModuleGetFunction(void **function, void *module, const char *name) {
  ENTER;
  const std::string &text = static_cast<Module *>(module)->text;
  bool has_entries = text.find(".entry") != std::string::npos;
  if (has_entries && text.find(std::string(".entry ") + name + "(") == std::string::npos) {
    fprintf(stderr, "cuda-emu: the PTX has no entry %s\n", name);
    return NOT_FOUND;
  }
  auto &f = functions[name];
  const EmuKernel *kernel = find_kernel(name);
  if (!kernel) {
    fprintf(stderr, "cuda-emu: no host-compiled kernel %s\n", name);
    functions.erase(name);
    return NOT_FOUND;
  }
  if (!f) f = std::make_unique<Function>(Function{kernel});
  *function = f.get();
  return OK;
}
Result cuFuncSetAttribute(void *function, int which, int value) {
  ENTER;
  if (which != 8) return OK;
  if (value > 163 << 10) return INVALID_VALUE;
  static_cast<Function *>(function)->max_dynamic_shared = value;
  return OK;
}
Result cuFuncGetAttribute(int *value, int which, void *function) {
  ENTER;
  int shared = static_cast<Function *>(function)->max_dynamic_shared;
  *value = which == 0 ? 1024 : which == 8 ? shared : 0;
  return OK;
}
Result cuFuncGetParamInfo(void *function, size_t index, size_t *offset, size_t *size) {
  ENTER;
  if (const char *code = getenv("CUDA_EMU_PARAMETERS")) return Result(atoi(code));
  const EmuKernel &kernel = *static_cast<Function *>(function)->kernel;
  if (index >= kernel.count || !offset) return INVALID_VALUE;
  size_t end = 0;
  for (size_t i = 0; i <= index; i++) {
    size_t alignment = kernel.alignments[i];
    *offset = (end + alignment - 1) / alignment * alignment;
    end = *offset + kernel.sizes[i];
  }
  if (size) *size = kernel.sizes[index];
  return OK;
}
Result cuOccupancyMaxActiveBlocksPerMultiprocessor(int *blocks, void *, int threads, size_t) {
  *blocks = std::max(1, 2048 / std::max(threads, 1));
  return OK;
}

Result cuLaunchKernel(void *handle, unsigned gx, unsigned gy, unsigned gz, unsigned bx,
                      unsigned by, unsigned bz, unsigned shared, void *stream, void **parameters,
                      void **) {
  ENTER;
  auto &function = *static_cast<Function *>(handle);
  const EmuKernel &kernel = *function.kernel;
  Launch launch{&kernel, {gx, gy, gz}, {bx, by, bz}, shared, current_device(), {}};
  if (!is_possible(launch.grid, launch.block) || int(shared) > function.max_dynamic_shared)
    return INVALID_VALUE;
  if (stream_of(stream).device != current_device()) return INVALID_HANDLE;
  if (Result r = check_arguments(kernel, parameters)) return r;
  for (unsigned i = 0; i < kernel.count; i++)
    launch.arguments.emplace_back(static_cast<char *>(parameters[i]), kernel.sizes[i]);
  return submit(stream, [launch = std::move(launch)] {
    if (is_lost_at_this_launch()) {
      fprintf(stderr, "cuda-emu: the device is lost, as CUDA_EMU_LOST_AT asks\n");
      return int(UNKNOWN);
    }
    Activity activity(KERNEL, launch.kernel->name);
    Fault fault = run_kernel(launch, libraries());
    if (fault.code)
      fprintf(stderr, "cuda-emu: kernel %s: %s\n", launch.kernel->name, fault.message.c_str());
    return fault.code;
  });
}
}
