// The driver API as the tests call it, on the emulated driver or a real one, and a test's frame.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <functional>
#include <iterator>
#include <map>
#include <stdexcept>
#include <string>
#include <tuple>
#include <vector>

using Address = unsigned long long;
extern "C" {
int cuInit(unsigned);
int cuDriverGetVersion(int *);
int cuDeviceGetCount(int *);
int cuDevicePrimaryCtxRetain(void **, int);
int cuCtxSetCurrent(void *);
int cuCtxSynchronize();
int cuMemAlloc_v2(Address *, size_t);
int cuMemFree_v2(Address);
int cuMemGetInfo_v2(size_t *, size_t *);
int cuMemHostAlloc(void **, size_t, unsigned);
int cuMemFreeHost(void *);
int cuMemcpyHtoD_v2(Address, const void *, size_t);
int cuMemcpyDtoH_v2(void *, Address, size_t);
int cuMemcpyHtoDAsync_v2(Address, const void *, size_t, void *);
int cuMemcpyDtoHAsync_v2(void *, Address, size_t, void *);
int cuMemcpyPeerAsync(Address, void *, Address, void *, size_t, void *);
int cuStreamCreate(void **, unsigned);
int cuStreamSynchronize(void *);
int cuStreamDestroy_v2(void *);
int cuEventCreate(void **, unsigned);
int cuEventRecord(void *, void *);
int cuEventQuery(void *);
int cuStreamWaitEvent(void *, void *, unsigned);
int cuStreamBeginCapture_v2(void *, int);
int cuStreamEndCapture(void *, void **);
int cuGraphGetNodes(void *, void **, size_t *);
int cuGraphInstantiateWithFlags(void **, void *, unsigned long long);
int cuGraphLaunch(void *, void *);
int cuGraphExecDestroy(void *);
int cuGraphDestroy(void *);
int cuModuleLoadData(void **, const void *);
int cuModuleGetFunction(void **, void *, const char *);
int cuFuncSetAttribute(void *, int, int);
int cuLaunchKernel(void *, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned,
                   void *, void **, void **);
}

inline void require(int result, const char *what) {
  if (result) throw std::runtime_error(std::string(what) + " returned " + std::to_string(result));
}
#define REQUIRE(call) require(call, #call)
#define CHECK(condition) \
  if (!(condition))      \
  throw std::runtime_error(std::string(__FILE__ ":") + std::to_string(__LINE__) + ": " #condition)

// Makes a device's context current; a context is made once.
inline void use_device(int device) {
  static std::map<int, void *> contexts;
  REQUIRE(cuInit(0));
  if (!contexts[device]) REQUIRE(cuDevicePrimaryCtxRetain(&contexts[device], device));
  REQUIRE(cuCtxSetCurrent(contexts[device]));
}

// Values on the current device.
template <class T>
class Buffer {
 public:
  explicit Buffer(size_t count) : count_(count) {
    REQUIRE(cuMemAlloc_v2(&address_, std::max<size_t>(count, 1) * sizeof(T)));
  }
  Buffer(const std::vector<T> &values) : Buffer(values.size()) {
    if (count_) REQUIRE(cuMemcpyHtoD_v2(address_, values.data(), count_ * sizeof(T)));
  }
  Buffer(const Buffer &) = delete;
  ~Buffer() { cuMemFree_v2(address_); }
  Address address() const { return address_; }
  size_t size() const { return count_; }
  std::vector<T> read() const {
    std::vector<T> values(count_);
    if (count_) REQUIRE(cuMemcpyDtoH_v2(values.data(), address_, count_ * sizeof(T)));
    return values;
  }

 private:
  Address address_ = 0;
  size_t count_;
};

struct Grid {
  unsigned x = 1, y = 1, z = 1;
};

// A kernel by name; its image is FILE.fatbin of CUDA_KERNELS where a real device runs it.
class Kernel {
 public:
  Kernel(const std::string &file, const std::string &name) {
    static std::map<std::string, void *> modules;
    void *&module = modules[file];
    if (!module) {
      std::string image = "// emulated";
      if (const char *folder = getenv("CUDA_KERNELS")) {
        std::ifstream stream(std::string(folder) + "/" + file + ".fatbin", std::ios::binary);
        image.assign(std::istreambuf_iterator<char>(stream), {});
      }
      REQUIRE(cuModuleLoadData(&module, image.c_str()));
    }
    require(cuModuleGetFunction(&function_, module, name.c_str()), name.c_str());
  }
  template <class... A>
  int try_launch(Grid grid, Grid block, unsigned shared, void *stream,
                 const A &...arguments) const {
    auto held = std::make_tuple(pass(arguments)...);
    return std::apply(
        [&](auto &...values) {
          void *pointers[] = {const_cast<void *>(static_cast<const void *>(&values))..., nullptr};
          if (shared > 48 << 10) REQUIRE(cuFuncSetAttribute(function_, 8, int(shared)));
          return cuLaunchKernel(function_, grid.x, grid.y, grid.z, block.x, block.y, block.z,
                                shared, stream, pointers, nullptr);
        },
        held);
  }
  template <class... A>
  void launch(Grid grid, Grid block, unsigned shared, const A &...arguments) const {
    REQUIRE(try_launch(grid, block, shared, nullptr, arguments...));
  }

 private:
  template <class T>
  static Address pass(const Buffer<T> &buffer) {
    return buffer.address();
  }
  template <class T>
  static T pass(const T &value) {
    return value;
  }
  void *function_;
};

struct Test {
  const char *name;
  std::function<void()> body;
};
inline std::vector<Test> &tests() {
  static std::vector<Test> all;
  return all;
}
#define TEST_AT(line, name)                                            \
  static void body_##line();                                           \
  static const bool added_##line = (tests().push_back({name, body_##line}), true); \
  static void body_##line()
#define TEST_LINE(line, name) TEST_AT(line, name)
#define TEST(name) TEST_LINE(__LINE__, name)

// Runs all tests on device 0; the last line is `N passed, N failed`.
inline int run_tests() {
  int failed = 0;
  use_device(0);
  for (auto &test : tests()) {
    try {
      test.body();
      REQUIRE(cuCtxSynchronize());
    } catch (const std::exception &error) {
      failed++;
      printf("FAILED %s: %s\n", test.name, error.what());
    }
  }
  printf("%zu passed, %d failed\n", tests().size() - size_t(failed), failed);
  return failed ? 1 : 0;
}
