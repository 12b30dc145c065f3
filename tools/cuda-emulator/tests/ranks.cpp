// Collectives between processes: this program starts the other ranks as children of its own.
#include <sys/wait.h>
#include <unistd.h>

#include "cuda.h"

struct UniqueId {
  char bytes[128];
};
extern "C" {
int ncclGetUniqueId(UniqueId *);
int ncclCommInitRank(void **, int, UniqueId, int);
int ncclCommDestroy(void *);
int ncclCommGetAsyncError(void *, int *);
int ncclAllReduce(const void *, void *, size_t, int, int, void *, void *);
int ncclBroadcast(const void *, void *, size_t, int, int, void *, void *);
int ncclReduceScatter(const void *, void *, size_t, int, int, void *, void *);
}

namespace {
constexpr int F32 = 7, SUM = 0, AVERAGE = 4, RANKS = 3;
constexpr size_t COUNT = 6;

// Runs `body(communicator, rank)` in RANKS processes; true when all return true.
bool in_processes(const std::function<bool(void *, int)> &body) {
  UniqueId id;
  REQUIRE(ncclGetUniqueId(&id));
  auto run = [&](int rank) {
    void *communicator;
    if (ncclCommInitRank(&communicator, RANKS, id, rank)) return false;
    return body(communicator, rank) && !ncclCommDestroy(communicator);
  };
  std::vector<pid_t> children;
  for (int rank = 1; rank < RANKS; rank++) {
    pid_t child = fork();
    if (child == 0) _exit(run(rank) ? 0 : 1);
    children.push_back(child);
  }
  bool all = run(0);
  for (pid_t child : children) {
    int status;
    waitpid(child, &status, 0);
    all = all && WIFEXITED(status) && WEXITSTATUS(status) == 0;
  }
  return all;
}

std::vector<float> of_rank(int rank) {
  std::vector<float> values(COUNT);
  for (size_t i = 0; i < COUNT; i++) values[i] = float(i) + 10.0f * float(rank);
  return values;
}
void *pointer(const Buffer<float> &x) { return reinterpret_cast<void *>(x.address()); }
}  // namespace

TEST("all ranks see the sum and the average of all") {
  CHECK(in_processes([](void *communicator, int rank) {
    Buffer<float> x(of_rank(rank)), sum(COUNT), average(COUNT);
    if (ncclAllReduce(pointer(x), pointer(sum), COUNT, F32, SUM, communicator, nullptr) ||
        ncclAllReduce(pointer(x), pointer(average), COUNT, F32, AVERAGE, communicator, nullptr))
      return false;
    auto s = sum.read(), a = average.read();
    for (size_t i = 0; i < COUNT; i++)
      if (s[i] != 3 * float(i) + 30 || a[i] != float(i) + 10) return false;
    return true;
  }));
}

TEST("the root's values reach everybody, and each rank its part of a sum") {
  CHECK(in_processes([](void *communicator, int rank) {
    Buffer<float> x(of_rank(rank)), root(COUNT), part(COUNT / RANKS);
    if (ncclBroadcast(pointer(x), pointer(root), COUNT, F32, 2, communicator, nullptr) ||
        ncclReduceScatter(pointer(x), pointer(part), COUNT / RANKS, F32, SUM, communicator,
                          nullptr))
      return false;
    return root.read() == of_rank(2) &&
           part.read()[1] == 3 * float(rank * int(COUNT / RANKS) + 1) + 30;
  }));
}

TEST("a rank that dies is an error of the others, not a hang") {
  CHECK(in_processes([](void *communicator, int rank) {
    if (rank == 2) _exit(0);
    Buffer<float> x(of_rank(rank)), sum(COUNT);
    ncclAllReduce(pointer(x), pointer(sum), COUNT, F32, SUM, communicator, nullptr);
    REQUIRE(cuCtxSynchronize());
    int error = 0;
    ncclCommGetAsyncError(communicator, &error);
    return error == 6 && std::isnan(sum.read()[0]);
  }));
}

TEST("ranks that call different collectives are told so") {
  CHECK(in_processes([](void *communicator, int rank) {
    Buffer<float> x(of_rank(rank)), y(COUNT);
    size_t count = rank == 1 ? COUNT - 1 : COUNT;
    ncclAllReduce(pointer(x), pointer(y), count, F32, SUM, communicator, nullptr);
    REQUIRE(cuCtxSynchronize());
    int error = 0;
    ncclCommGetAsyncError(communicator, &error);
    return error == 6;
  }));
}

int main() { return run_tests(); }
