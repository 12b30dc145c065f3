// libcupti: what a profiler of kernels calls. Records have the layout of CUPTI's as far as
// tools/gpu-check/activity.h reads them.
#include <cstring>
#include <vector>

#include "../../gpu-check/activity.h"
#include "../driver/emu.h"

namespace {
constexpr size_t BYTES = 160;  // of a record
enum { OK = 0, MAX_LIMIT_REACHED = 12 };

RequestBuffer request;
CompleteBuffer complete;
uint8_t *buffer;
size_t room, used;
std::vector<int> kinds;

void hand_over() {
  if (buffer) complete(nullptr, 0, buffer, room, used);
  buffer = nullptr;
}

void record(int kind, const char *name, uint64_t begin, uint64_t end, uint64_t bytes) {
  bool is_wanted = false;
  for (int one : kinds) is_wanted = is_wanted || one == kind;
  if (!is_wanted) return;
  if (buffer && used + BYTES > room) hand_over();
  if (!buffer) {
    size_t most = 0;
    request(&buffer, &room, &most);
    used = 0;
  }
  uint8_t *at = buffer + used;
  memset(at, 0, BYTES);
  uint32_t word = uint32_t(kind);
  memcpy(at + KIND_AT, &word, sizeof word);
  memcpy(at + BEGIN_AT, &begin, sizeof begin);
  memcpy(at + END_AT, &end, sizeof end);
  if (kind == CONCURRENT_KERNEL) memcpy(at + NAME_AT, &name, sizeof name);
  else memcpy(at + BYTES_AT, &bytes, sizeof bytes);
  if (kind == MEMCPY) at[COPY_KIND_AT] = strstr(name, "host") ? 2 : strstr(name, "it") ? 1 : 8;
  used += BYTES;
}
}  // namespace

extern "C" {
int cuptiActivityRegisterCallbacks(RequestBuffer asks, CompleteBuffer takes) {
  request = asks;
  complete = takes;
  return OK;
}
int cuptiActivityEnable(int kind) {
  kinds.push_back(kind);
  emu_activity = record;
  return OK;
}
int cuptiActivityDisable(int kind) {
  std::erase(kinds, kind);
  if (kinds.empty()) emu_activity = nullptr;
  return OK;
}
int cuptiActivityFlushAll(uint32_t) {
  hand_over();
  return OK;
}
int cuptiActivityGetNextRecord(uint8_t *records, size_t bytes, void **next) {
  auto *before = static_cast<uint8_t *>(*next);
  uint8_t *at = before ? before + BYTES : records;
  if (at + BYTES > records + bytes) return MAX_LIMIT_REACHED;
  *next = at;
  return OK;
}
int cuptiGetResultString(int, const char **text) {
  *text = "an error of the stand-in";
  return OK;
}
}
