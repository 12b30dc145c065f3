// Queues and who runs next. By default work runs at once; with CUDA_EMU_ASYNC=1 it waits until
// somebody synchronises and streams take turns at random; with CUDA_EMU_ASYNC=lazy only the
// stream that is waited for runs, so that work which nothing orders before it comes too late.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <random>

#include "state.h"

namespace {
std::recursive_mutex lock;
int depth;
Result sticky;
bool initialised;

struct Counters {
  std::map<std::string, long> calls;
  ~Counters() {
    if (!getenv("CUDA_EMU_TRACE")) return;
    for (auto &[name, n] : calls) fprintf(stderr, "cuda-emu: %8ld %s\n", n, name.c_str());
  }
} counters;

std::map<void *, std::unique_ptr<Stream>> &streams() {
  static auto *all = new std::map<void *, std::unique_ptr<Stream>>;
  return *all;
}
std::map<const char *, size_t> pinned;

std::mt19937 &random_order() {
  static std::mt19937 engine(getenv("CUDA_EMU_SEED") ? unsigned(atoi(getenv("CUDA_EMU_SEED"))) : 0);
  return engine;
}

const char *mode() {
  static const char *value = getenv("CUDA_EMU_ASYNC");
  return value;
}
bool is_deferred() { return mode() != nullptr; }
bool is_lazy() { return mode() && !strcmp(mode(), "lazy"); }

bool is_runnable(const Stream &s) {
  return !s.queue.empty() && (!s.queue.front().waits_for || s.queue.front().waits_for->done);
}

void step(Stream &s) {
  Operation operation = std::move(s.queue.front());
  s.queue.pop_front();
  Result r = operation.run && !sticky ? operation.run() : OK;
  if (r) make_sticky(r);
}

// Runs queued work until `until` holds; `wanted` is the stream that is waited for, if one is.
Result drain(const std::function<bool()> &until, Stream *wanted) {
  while (!until()) {
    if (is_lazy() && wanted && is_runnable(*wanted)) {
      step(*wanted);
      continue;
    }
    std::vector<Stream *> candidates;
    for (auto &[handle, s] : streams())
      if (is_runnable(*s)) candidates.push_back(s.get());
    if (candidates.empty()) {
      fprintf(stderr, "cuda-emu: streams wait for each other\n");
      return make_sticky(LAUNCH_FAILED);
    }
    step(*candidates[random_order()() % candidates.size()]);
  }
  return sticky;
}

// The default stream is one of each device.
void *key_of(void *handle) {
  static char of_device[8];
  return handle ? handle : &of_device[std::max(current_device(), 0)];
}
}  // namespace

Call::Call(const char *name) : guard_(lock) {
  if (name) counters.calls[name]++;
  if (depth++ == 0) memory_visible(true);
  blocked_ = initialised ? sticky : NOT_INITIALIZED;
}
Call::~Call() {
  if (--depth == 0) memory_visible(false);
}

bool is_initialised() { return initialised; }
void initialise() { initialised = true; }
Result make_sticky(Result result) { return sticky ? sticky : sticky = result; }

Stream &stream_of(void *handle) {
  auto &s = streams()[key_of(handle)];
  if (!s) s = std::make_unique<Stream>(Stream{current_device(), {}, {}, {}});
  return *s;
}
void *new_stream() {
  void *handle = new char;
  stream_of(handle);
  return handle;
}
bool is_stream(void *handle) { return !handle || streams().contains(handle); }
void forget_stream(void *handle) {
  streams().erase(handle);
  delete static_cast<char *>(handle);
}

Result submit(void *handle, std::function<Result()> run, std::shared_ptr<Event> waits_for) {
  Stream &s = stream_of(handle);
  if (s.capture) {
    if (s.capture->is_invalid) return CAPTURE_INVALIDATED;
    auto &nodes = s.capture->graph->nodes;
    nodes.push_back({std::move(run), s.after});
    s.after = {nodes.size() - 1};
    return OK;
  }
  s.queue.push_back({std::move(run), std::move(waits_for)});
  if (is_deferred()) return sticky;
  return drain([&] { return s.queue.empty(); }, nullptr);
}

Result wait_for(void *handle) {
  Stream &s = stream_of(handle);
  return drain([&] { return s.queue.empty(); }, &s);
}
Result wait_for(const std::shared_ptr<Event> &event) {
  return drain([&] { return bool(event->done); }, nullptr);
}
Result wait_for_all() {
  auto all_empty = [] {
    for (auto &[handle, s] : streams())
      if (!s->queue.empty()) return false;
    return true;
  };
  return drain(all_empty, nullptr);
}

Result refuse_in_capture() {
  Result r = OK;
  for (auto &[handle, s] : streams())
    if (s->capture) {
      s->capture->is_invalid = true;
      r = CAPTURE_UNSUPPORTED;
    }
  return r;
}

void end_capture(const std::shared_ptr<Capture> &capture) {
  for (auto &[handle, s] : streams())
    if (s->capture == capture) {
      s->capture.reset();
      s->after.clear();
    }
}

unsigned pick(size_t count) {
  static const bool is_shuffled = getenv("CUDA_EMU_SEED") != nullptr;
  return is_shuffled ? random_order()() % unsigned(count) : 0;
}

void remember_pinned(void *p, size_t bytes) { pinned[static_cast<char *>(p)] = bytes; }
bool forget_pinned(void *p) { return pinned.erase(static_cast<char *>(p)) == 1; }
bool is_pinned(const void *p) {
  auto *at = static_cast<const char *>(p);
  auto it = pinned.upper_bound(at);
  return it != pinned.begin() && (--it, at < it->first + it->second);
}

bool is_lost_at_this_launch() {
  static const char *at = getenv("CUDA_EMU_LOST_AT");
  static long launches;
  return at && ++launches == atol(at);
}

extern "C" {
int emu_submit(void *stream, int (*work)(void *), void *data, void (*release)(void *)) {
  Call call(nullptr);
  // Shared, since a graph may run the work again and again.
  std::shared_ptr<void> owned(data, release);
  return submit(stream, [=] { return work(owned.get()); });
}
bool emu_is_device(const void *p, size_t bytes) {
  Call call(nullptr);
  return device_range(reinterpret_cast<Address>(p), bytes);
}
int emu_current_device() { return current_device(); }
}
