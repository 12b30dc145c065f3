// What the driver's calls share: results, contexts, streams with their queues, events, captures.
#pragma once
#include <atomic>
#include <chrono>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "emu.h"
#include "memory.h"

using Result = int;  // CUresult
enum : int {
  OK = 0,
  INVALID_VALUE = 1,
  OUT_OF_MEMORY = 2,
  NOT_INITIALIZED = 3,
  NO_DEVICE = 100,
  INVALID_DEVICE = 101,
  INVALID_CONTEXT = 201,
  NO_BINARY_FOR_GPU = 209,
  INVALID_HANDLE = 400,
  NOT_FOUND = 500,
  NOT_READY = 600,
  ILLEGAL_ADDRESS = 700,
  PEER_ACCESS_NOT_ENABLED = 705,
  LAUNCH_FAILED = 719,
  NOT_SUPPORTED = 801,
  CAPTURE_UNSUPPORTED = 900,
  CAPTURE_INVALIDATED = 901,
  CAPTURE_UNJOINED = 904,
  CAPTURE_WRONG_THREAD = 908,
  UNKNOWN = 999
};

struct Event {
  std::atomic<bool> done{true};
  std::chrono::steady_clock::time_point when;
};

// A recorded sequence of work: what cuGraphLaunch repeats.
struct GraphNode {
  std::function<Result()> run;
  std::vector<size_t> after;  // indices of earlier nodes
};
struct Graph {
  std::vector<GraphNode> nodes;
};

struct Capture {
  std::shared_ptr<Graph> graph = std::make_shared<Graph>();
  void *origin;
  bool is_invalid = false;
};

// An event is a handle: recording it again replaces its state.
struct EventHandle {
  std::shared_ptr<Event> state = std::make_shared<Event>();
  std::shared_ptr<Capture> capture;  // where it was recorded, if in a capture
  std::vector<size_t> after;         // the work of the capture that it stands for
};

struct Operation {
  std::function<Result()> run;
  std::shared_ptr<Event> waits_for;
};
struct Stream {
  int device;
  std::deque<Operation> queue;
  std::shared_ptr<Capture> capture;
  std::vector<size_t> after;  // what the next captured operation follows
};

// Every call of the API holds the lock, counts itself (CUDA_EMU_TRACE=1 prints the counts at
// exit) and makes device memory visible. Errors of kernels are sticky.
class Call {
 public:
  explicit Call(const char *name);
  ~Call();
  Result blocked() const { return blocked_; }  // an error that stands before the call

 private:
  std::lock_guard<std::recursive_mutex> guard_;
  Result blocked_;
};
#define ENTER          \
  Call call(__func__); \
  if (call.blocked()) return call.blocked()

bool is_initialised();
void initialise();
int current_device();  // −1 without a context
Stream &stream_of(void *handle);
void *new_stream();
bool is_stream(void *handle);
void forget_stream(void *handle);

// Puts work behind a stream's; while the stream is captured, into the graph.
Result submit(void *stream, std::function<Result()> run, std::shared_ptr<Event> waits_for = {});
Result wait_for(void *stream);
Result wait_for(const std::shared_ptr<Event> &event);
Result wait_for_all();
Result make_sticky(Result result);
// An error inside a capture of any stream, where such a call is forbidden; it ends the capture.
Result refuse_in_capture();
void end_capture(const std::shared_ptr<Capture> &capture);  // in all of its streams
unsigned pick(size_t count);  // at random where CUDA_EMU_SEED says so, else 0

// Pinned host memory is copied from and to without a detour.
void remember_pinned(void *p, size_t bytes);
bool forget_pinned(void *p);
bool is_pinned(const void *p);

// CUDA_EMU_LOST_AT=n: the device is lost at the n-th launch.
bool is_lost_at_this_launch();
