// Streams, events, and graphs that are captured from streams.
#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "state.h"

namespace {
EventHandle &event_of(void *handle) { return *static_cast<EventHandle *>(handle); }

// Whether everything that was captured leads to the origin's last operations.
bool is_joined(const Graph &graph, const std::vector<size_t> &ends) {
  std::vector<bool> reached(graph.nodes.size());
  std::vector<size_t> open = ends;
  while (!open.empty()) {
    size_t i = open.back();
    open.pop_back();
    if (reached[i]) continue;
    reached[i] = true;
    for (size_t before : graph.nodes[i].after) open.push_back(before);
  }
  return std::find(reached.begin(), reached.end(), false) == reached.end();
}

// Runs the nodes in some order that their edges allow.
Result run_graph(const Graph &graph) {
  size_t count = graph.nodes.size();
  std::vector<bool> done(count);
  for (size_t finished = 0; finished < count; finished++) {
    std::vector<size_t> free;
    for (size_t i = 0; i < count; i++) {
      auto &after = graph.nodes[i].after;
      bool is_free = std::all_of(after.begin(), after.end(), [&](size_t j) { return done[j]; });
      if (!done[i] && is_free) free.push_back(i);
    }
    size_t next = free[pick(free.size())];
    if (Result r = graph.nodes[next].run ? graph.nodes[next].run() : OK) return r;
    done[next] = true;
  }
  return OK;
}

using GraphHandle = std::shared_ptr<Graph>;
const Graph &graph_of(void *handle) { return **static_cast<GraphHandle *>(handle); }
}  // namespace

extern "C" {
Result cuStreamCreate(void **stream, unsigned) {
  ENTER;
  if (current_device() < 0) return INVALID_CONTEXT;
  *stream = new_stream();
  return OK;
}
Result cuStreamCreateWithPriority(void **stream, unsigned flags, int) {
  return cuStreamCreate(stream, flags);
}
Result cuStreamDestroy_v2(void *stream) {
  ENTER;
  if (!stream || !is_stream(stream)) return INVALID_HANDLE;
  Result r = wait_for(stream);
  forget_stream(stream);
  return r;
}
Result cuStreamSynchronize(void *stream) {
  ENTER;
  if (stream_of(stream).capture) return refuse_in_capture();
  return wait_for(stream);
}
Result cuStreamQuery(void *stream) {
  ENTER;
  if (stream_of(stream).capture) return refuse_in_capture();
  return stream_of(stream).queue.empty() ? OK : NOT_READY;
}

Result cuEventCreate(void **event, unsigned) {
  ENTER;
  *event = new EventHandle;
  return OK;
}
Result cuEventDestroy_v2(void *event) {
  ENTER;
  delete &event_of(event);
  return OK;
}
Result cuEventRecord(void *handle, void *stream) {
  ENTER;
  EventHandle &event = event_of(handle);
  Stream &s = stream_of(stream);
  event.capture = s.capture;
  event.after = s.after;
  if (s.capture) return OK;
  auto state = event.state = std::make_shared<Event>();
  state->done = false;
  return submit(stream, [=] {
    state->when = std::chrono::steady_clock::now();
    state->done = true;
    return OK;
  });
}
Result cuStreamWaitEvent(void *stream, void *handle, unsigned) {
  ENTER;
  EventHandle &event = event_of(handle);
  Stream &s = stream_of(stream);
  if (!event.capture) {
    if (s.capture) return OK;  // work before the capture is not part of the graph
    return submit(stream, nullptr, event.state);
  }
  if (s.capture && s.capture != event.capture) return refuse_in_capture();
  s.capture = event.capture;
  for (size_t i : event.after)
    if (std::find(s.after.begin(), s.after.end(), i) == s.after.end()) s.after.push_back(i);
  return OK;
}
Result cuEventQuery(void *event) {
  ENTER;
  if (event_of(event).capture) return refuse_in_capture();
  return event_of(event).state->done ? OK : NOT_READY;
}
Result cuEventSynchronize(void *event) {
  ENTER;
  if (event_of(event).capture) return refuse_in_capture();
  return wait_for(event_of(event).state);
}
Result cuEventElapsedTime_v2(float *ms, void *from, void *to) {
  ENTER;
  auto &begin = *event_of(from).state, &end = *event_of(to).state;
  if (!begin.done || !end.done) return NOT_READY;
  *ms = std::chrono::duration<float, std::milli>(end.when - begin.when).count();
  return OK;
}
Result cuEventElapsedTime(float *ms, void *from, void *to) {
  return cuEventElapsedTime_v2(ms, from, to);
}

Result cuStreamBeginCapture_v2(void *stream, int) {
  ENTER;
  static const char *graphs = getenv("CUDA_EMU_GRAPHS");
  Stream &s = stream_of(stream);
  if (!stream || s.capture || (graphs && !atoi(graphs))) return CAPTURE_UNSUPPORTED;
  s.capture = std::make_shared<Capture>();
  s.capture->origin = stream;
  s.after.clear();
  return OK;
}
Result cuStreamIsCapturing(void *stream, int *status) {
  ENTER;
  auto &capture = stream_of(stream).capture;
  *status = !capture ? 0 : capture->is_invalid ? 2 : 1;
  return OK;
}
Result cuStreamEndCapture(void *stream, void **graph) {
  ENTER;
  *graph = nullptr;
  auto capture = stream_of(stream).capture;
  if (!capture || capture->origin != stream) return INVALID_VALUE;
  auto ends = stream_of(stream).after;
  end_capture(capture);
  if (capture->is_invalid) return CAPTURE_INVALIDATED;
  if (!is_joined(*capture->graph, ends)) return CAPTURE_UNJOINED;
  *graph = new GraphHandle(capture->graph);
  return OK;
}
Result cuGraphGetNodes(void *graph, void **, size_t *count) {
  ENTER;
  *count = graph_of(graph).nodes.size();
  return OK;
}
Result cuGraphInstantiateWithFlags(void **executable, void *graph, unsigned long long) {
  ENTER;
  *executable = new GraphHandle(*static_cast<GraphHandle *>(graph));
  return OK;
}
Result cuGraphUpload(void *, void *) { return OK; }
Result cuGraphLaunch(void *executable, void *stream) {
  ENTER;
  if (stream_of(stream).capture) return refuse_in_capture();
  auto graph = *static_cast<GraphHandle *>(executable);
  return submit(stream, [=] { return run_graph(*graph); });
}
Result cuGraphExecDestroy(void *executable) {
  ENTER;
  delete static_cast<GraphHandle *>(executable);
  return OK;
}
Result cuGraphDestroy(void *graph) {
  ENTER;
  delete static_cast<GraphHandle *>(graph);
  return OK;
}
}
