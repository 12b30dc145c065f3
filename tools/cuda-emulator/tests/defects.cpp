// `defects NAME`: commits one fault and prints what the program itself noticed. tests.mjs knows
// which mode has to notice which.
#include "cuda.h"

namespace {
std::vector<float> counted() {
  std::vector<float> values(64);
  for (size_t i = 0; i < 64; i++) values[i] = float(i);
  return values;
}

std::string say(int error) {
  return error ? "error " + std::to_string(error) : "no error";
}

std::string kernel(const std::string &name) {
  Buffer<float> x(counted()), y(std::vector<float>(64, 0.0f));
  int error = Kernel("faulty", name).try_launch({1}, {64}, 256, nullptr, x, y);
  if (!error) error = cuCtxSynchronize();
  if (error) return say(error);
  auto expected = counted(), got = y.read();
  for (size_t i = 0; i < 64; i++)
    expected[i] = name == "misses_warp_barrier" ? float(i ^ 1)
                  : name == "depends_on_order"  ? (i == 0 ? 63.0f : 0.0f)
                                                : float(63 - i);
  return got == expected ? "right result" : "wrong result";
}

// A copy back on one stream of what a kernel on another one writes.
std::string streams(bool with_event) {
  void *first, *second, *event;
  REQUIRE(cuStreamCreate(&first, 1));
  REQUIRE(cuStreamCreate(&second, 1));
  REQUIRE(cuEventCreate(&event, 2));
  Buffer<float> x(counted()), y(std::vector<float>(64, 0.0f));
  REQUIRE(Kernel("faulty", "doubles").try_launch({1}, {64}, 0, first, x, y));
  if (with_event) {
    REQUIRE(cuEventRecord(event, first));
    REQUIRE(cuStreamWaitEvent(second, event, 0));
  }
  std::vector<float> got(64);
  REQUIRE(cuMemcpyDtoHAsync_v2(got.data(), y.address(), 256, second));
  REQUIRE(cuStreamSynchronize(second));
  return got[63] == 126 ? "right result" : "wrong result";
}

// Two kernels in a graph, the second of which needs the first, without an edge between them.
std::string missing_edge() {
  void *first, *second, *event, *graph, *executable;
  REQUIRE(cuStreamCreate(&first, 1));
  REQUIRE(cuStreamCreate(&second, 1));
  REQUIRE(cuEventCreate(&event, 2));
  Buffer<float> x(counted()), y(std::vector<float>(64, 0.0f)), z(std::vector<float>(64, 0.0f));
  Kernel doubles("faulty", "doubles");
  REQUIRE(cuStreamBeginCapture_v2(first, 0));
  REQUIRE(cuEventRecord(event, first));
  REQUIRE(cuStreamWaitEvent(second, event, 0));  // forks before the first kernel
  REQUIRE(doubles.try_launch({1}, {64}, 0, first, x, y));
  REQUIRE(doubles.try_launch({1}, {64}, 0, second, y, z));
  REQUIRE(cuEventRecord(event, second));
  REQUIRE(cuStreamWaitEvent(first, event, 0));
  REQUIRE(cuStreamEndCapture(first, &graph));
  REQUIRE(cuGraphInstantiateWithFlags(&executable, graph, 0));
  bool is_right = true;
  for (int i = 0; i < 8; i++) {
    REQUIRE(cuMemcpyHtoD_v2(y.address(), std::vector<float>(64, 0.0f).data(), 256));
    REQUIRE(cuGraphLaunch(executable, first));
    REQUIRE(cuStreamSynchronize(first));
    is_right = is_right && z.read()[63] == 252;
  }
  return is_right ? "right result" : "wrong result";
}

std::string unjoined_capture() {
  void *first, *second, *event, *graph;
  REQUIRE(cuStreamCreate(&first, 1));
  REQUIRE(cuStreamCreate(&second, 1));
  REQUIRE(cuEventCreate(&event, 2));
  Buffer<float> x(counted()), y(64);
  REQUIRE(cuStreamBeginCapture_v2(first, 0));
  REQUIRE(cuEventRecord(event, first));
  REQUIRE(cuStreamWaitEvent(second, event, 0));
  REQUIRE(Kernel("faulty", "doubles").try_launch({1}, {64}, 0, second, x, y));
  return say(cuStreamEndCapture(first, &graph));
}

std::string synchronises_in_capture() {
  void *stream, *graph;
  REQUIRE(cuStreamCreate(&stream, 1));
  REQUIRE(cuStreamBeginCapture_v2(stream, 0));
  int inside = cuStreamSynchronize(stream);
  return say(inside) + ", then " + say(cuStreamEndCapture(stream, &graph));
}

std::string argument(bool is_freed) {
  Address freed, y;
  REQUIRE(cuMemAlloc_v2(&freed, 256));
  REQUIRE(cuMemAlloc_v2(&y, 256));
  REQUIRE(cuMemFree_v2(freed));
  auto host = counted();
  Address x = is_freed ? freed : reinterpret_cast<Address>(host.data());
  return say(Kernel("faulty", "doubles").try_launch({1}, {64}, 0, nullptr, x, y));
}

std::string foreign_device() {
  Buffer<float> x(counted());
  use_device(1);
  Buffer<float> y(64);
  return say(Kernel("faulty", "doubles").try_launch({1}, {64}, 0, nullptr, x, y));
}

std::string dereference() {
  Buffer<float> x(counted());
  float value = *reinterpret_cast<volatile float *>(x.address());
  return "read " + std::to_string(value);
}

std::string short_copy() {
  Buffer<float> x(64);
  return say(cuMemcpyHtoD_v2(x.address(), std::vector<float>(65).data(), 260));
}

std::string out_of_memory() {
  Address p;
  int refused = cuMemAlloc_v2(&p, size_t(3) << 20);
  return say(refused) + ", then " + say(cuMemAlloc_v2(&p, 1024));
}

std::string lost_device() {
  Buffer<float> x(counted()), y(64);
  Kernel doubles("faulty", "doubles");
  int first = doubles.try_launch({1}, {64}, 0, nullptr, x, y);
  int second = doubles.try_launch({1}, {64}, 0, nullptr, x, y);
  return say(first) + ", " + say(second) + ", then " + say(cuCtxSynchronize());
}

std::string foreign_image() {
  void *module;
  return say(cuModuleLoadData(&module, ".version 9.0\n.target sm_90\n"));
}
}  // namespace

int main(int, char **arguments) {
  std::string name = arguments[1];
  const std::map<std::string, std::function<std::string()>> of_the_host = {
      {"no_event", [] { return streams(false); }},
      {"with_event", [] { return streams(true); }},
      {"missing_edge", missing_edge},
      {"unjoined_capture", unjoined_capture},
      {"synchronises_in_capture", synchronises_in_capture},
      {"host_argument", [] { return argument(false); }},
      {"freed_argument", [] { return argument(true); }},
      {"foreign_device", foreign_device},
      {"dereference", dereference},
      {"short_copy", short_copy},
      {"out_of_memory", out_of_memory},
      {"lost_device", lost_device},
      {"foreign_image", foreign_image},
  };
  if (name == "no_device") {
    printf("%s\n", say(cuInit(0)).c_str());
    return 0;
  }
  if (name == "old_driver") {
    int version;
    REQUIRE(cuDriverGetVersion(&version));
    printf("driver %d\n", version);
    return 0;
  }
  use_device(0);
  auto it = of_the_host.find(name);
  printf("%s\n", (it == of_the_host.end() ? kernel(name) : it->second()).c_str());
  fflush(stdout);
  _Exit(0);  // a faulted context has nothing to give back
}
