// What right programs rely on: launches, streams, events, copies, graphs, devices.
#include "cuda.h"

namespace {
std::vector<float> counted() {
  std::vector<float> values(64);
  for (size_t i = 0; i < 64; i++) values[i] = float(i);
  return values;
}
void *stream() {
  void *made;
  REQUIRE(cuStreamCreate(&made, 1));
  return made;
}
void *event() {
  void *made;
  REQUIRE(cuEventCreate(&made, 2));
  return made;
}
}  // namespace

TEST("threads of a block exchange through shared memory") {
  Buffer<float> x(counted()), y(64);
  Kernel("faulty", "reverse").launch({1}, {64}, 0, x, y);
  auto got = y.read();
  for (size_t i = 0; i < 64; i++) CHECK(got[i] == float(63 - i));
}

TEST("atomic additions of all threads arrive") {
  Buffer<float> x(counted()), y(std::vector<float>(2, 0.0f));
  Kernel("faulty", "add_atomically").launch({1}, {64}, 0, x, y);
  auto got = y.read();
  CHECK(got[0] == 992 && got[1] == 1024);
}

TEST("a stream that waits for an event sees what was done before it") {
  void *first = stream(), *second = stream(), *done = event();
  Buffer<float> x(counted()), y(64), z(64);
  Kernel doubles("faulty", "doubles");
  REQUIRE(doubles.try_launch({1}, {64}, 0, first, x, y));
  REQUIRE(cuEventRecord(done, first));
  REQUIRE(cuStreamWaitEvent(second, done, 0));
  REQUIRE(doubles.try_launch({1}, {64}, 0, second, y, z));
  REQUIRE(cuStreamSynchronize(second));
  CHECK(cuEventQuery(done) == 0);
  CHECK(z.read()[63] == 252);
  REQUIRE(cuStreamDestroy_v2(first));
  REQUIRE(cuStreamDestroy_v2(second));
}

TEST("copies from and to pinned memory are asynchronous, in stream order") {
  void *on = stream();
  float *pinned;
  REQUIRE(cuMemHostAlloc(reinterpret_cast<void **>(&pinned), 256, 0));
  for (int i = 0; i < 64; i++) pinned[i] = float(i);
  Buffer<float> x(64), y(64);
  REQUIRE(cuMemcpyHtoDAsync_v2(x.address(), pinned, 256, on));
  REQUIRE(Kernel("faulty", "doubles").try_launch({1}, {64}, 0, on, x, y));
  REQUIRE(cuMemcpyDtoHAsync_v2(pinned, y.address(), 256, on));
  REQUIRE(cuStreamSynchronize(on));
  CHECK(pinned[63] == 126);
  REQUIRE(cuMemFreeHost(pinned));
}

TEST("a captured graph does nothing until it is launched, and repeats what it holds") {
  void *on = stream(), *side = stream(), *fork = event(), *join = event(), *graph, *executable;
  Buffer<float> x(counted()), y(64), z(std::vector<float>(64, -1.0f));
  Kernel doubles("faulty", "doubles"), increments("faulty", "increments");
  REQUIRE(cuStreamBeginCapture_v2(on, 0));
  REQUIRE(doubles.try_launch({1}, {64}, 0, on, x, y));
  REQUIRE(cuEventRecord(fork, on));
  REQUIRE(cuStreamWaitEvent(side, fork, 0));
  REQUIRE(increments.try_launch({1}, {64}, 0, side, y, z));
  REQUIRE(cuEventRecord(join, side));
  REQUIRE(cuStreamWaitEvent(on, join, 0));
  REQUIRE(increments.try_launch({1}, {64}, 0, on, z, x));
  REQUIRE(cuStreamEndCapture(on, &graph));
  size_t nodes = 0;
  REQUIRE(cuGraphGetNodes(graph, nullptr, &nodes));
  CHECK(nodes == 3);
  CHECK(z.read()[5] == -1);
  REQUIRE(cuGraphInstantiateWithFlags(&executable, graph, 0));
  REQUIRE(cuGraphDestroy(graph));
  float value = 5;
  for (int i = 0; i < 3; i++) {
    REQUIRE(cuGraphLaunch(executable, on));
    REQUIRE(cuStreamSynchronize(on));
    value = 2 * value + 2;
    CHECK(x.read()[5] == value);
  }
  REQUIRE(cuGraphExecDestroy(executable));
}

TEST("memory returns to where it was") {
  size_t before, with, after, total;
  REQUIRE(cuMemGetInfo_v2(&before, &total));
  {
    Buffer<float> x(1 << 16);
    REQUIRE(cuMemGetInfo_v2(&with, &total));
  }
  REQUIRE(cuMemGetInfo_v2(&after, &total));
  CHECK(before == after && with == before - (4 << 16));
}

TEST("two devices hold their own memory, and copies go between them") {
  int count;
  REQUIRE(cuDeviceGetCount(&count));
  CHECK(count == 2);
  Buffer<float> x(counted());
  use_device(1);
  {
    Buffer<float> there(64), y(64);
    REQUIRE(cuMemcpyPeerAsync(there.address(), nullptr, x.address(), nullptr, 256, nullptr));
    Kernel("faulty", "doubles").launch({1}, {64}, 0, there, y);
    CHECK(y.read()[63] == 126);
  }
  use_device(0);
}

int main() { return run_tests(); }
