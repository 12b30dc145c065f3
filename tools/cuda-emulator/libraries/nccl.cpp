// libnccl across processes, one communicator in each: rank 0 gathers what the others send,
// combines in the order of ranks and sends each its result. A rank that dies is a remote error of
// the communicator, as ncclCommGetAsyncError reports it, and the output is NaNs.
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <memory>

#include "../device/cuda_host.h"
#include "channel.h"

namespace {
enum Result {
  SUCCESS = 0,
  UNHANDLED_CUDA_ERROR = 1,
  SYSTEM_ERROR = 2,
  INVALID_ARGUMENT = 4,
  INVALID_USAGE = 5,
  REMOTE_ERROR = 6
};
enum Operator { SUM = 0, PRODUCT = 1, MAX = 2, MIN = 3, AVERAGE = 4 };
enum Collective { ALL_REDUCE, BROADCAST, ALL_GATHER, REDUCE_SCATTER };
enum Type { F16 = 6, F32 = 7, F64 = 8, BF16 = 9 };

struct UniqueId {
  char name[120];
  int64_t listener;
};
static_assert(sizeof(UniqueId) == 128);

struct Communicator {
  Star star;
  int error = SUCCESS;
};

// What all ranks must agree on; sent in front of each rank's data.
struct Header {
  int32_t collective, type, operation, root;
  uint64_t count;
  bool operator==(const Header &) const = default;
};
struct Work {
  std::shared_ptr<Communicator> communicator;
  Header header;
  const void *from;
  void *to;
  size_t sent_bytes, received_bytes;
};

size_t bytes_of(int type) { return type == F64 ? 8 : type == F32 ? 4 : 2; }
bool is_type(int type) { return type >= F16 && type <= BF16; }

double load(const char *p, int type, size_t i) {
  switch (type) {
    case F64: return reinterpret_cast<const double *>(p)[i];
    case F32: return reinterpret_cast<const float *>(p)[i];
    case F16: return emu_half_value(reinterpret_cast<const uint16_t *>(p)[i]);
    default: return emu_bf16_value(reinterpret_cast<const uint16_t *>(p)[i]);
  }
}
void store(char *p, int type, size_t i, double value) {
  switch (type) {
    case F64: reinterpret_cast<double *>(p)[i] = value; break;
    case F32: reinterpret_cast<float *>(p)[i] = float(value); break;
    case F16: reinterpret_cast<uint16_t *>(p)[i] = emu_half_bits(float(value)); break;
    default: reinterpret_cast<uint16_t *>(p)[i] = emu_bf16_bits(float(value));
  }
}
double combine(int operation, double a, double b) {
  switch (operation) {
    case PRODUCT: return a * b;
    case MAX: return std::max(a, b);
    case MIN: return std::min(a, b);
    default: return a + b;
  }
}

// Every step is rounded to the type, as when ranks add one after another.
std::string reduce(const Header &header, const std::vector<std::string> &parts) {
  std::string result = parts[0];
  for (size_t i = 0; i < result.size() / bytes_of(header.type); i++) {
    for (size_t rank = 1; rank < parts.size(); rank++)
      store(result.data(), header.type, i,
            combine(header.operation, load(result.data(), header.type, i),
                    load(parts[rank].data(), header.type, i)));
    if (header.operation == AVERAGE)
      store(result.data(), header.type, i,
            load(result.data(), header.type, i) / double(parts.size()));
  }
  return result;
}

std::string result_of(const Header &header, const std::vector<std::string> &parts, size_t rank) {
  std::string all;
  switch (header.collective) {
    case BROADCAST: return parts[size_t(header.root)];
    case ALL_GATHER:
      for (auto &part : parts) all += part;
      return all;
    case REDUCE_SCATTER: {
      size_t bytes = header.count * bytes_of(header.type);
      return reduce(header, parts).substr(rank * bytes, bytes);
    }
    default: return reduce(header, parts);
  }
}

// On rank 0: everybody's data, in the order of ranks.
bool gather(Communicator &c, const Header &own, const std::string &data,
            std::vector<std::string> &parts) {
  parts.assign(size_t(c.star.ranks), data);
  for (int rank = 1; rank < c.star.ranks; rank++) {
    Header header;
    std::string bytes;
    if (!c.star.receive(rank, bytes) || bytes.size() < sizeof header) return false;
    memcpy(&header, bytes.data(), sizeof header);
    if (header != own) {
      fprintf(stderr, "cuda-emu: rank %d calls another collective than rank 0\n", rank);
      return false;
    }
    parts[size_t(rank)] = bytes.substr(sizeof header);
  }
  return true;
}

bool exchange(Work &work, std::string &result) {
  Communicator &c = *work.communicator;
  std::string data(static_cast<const char *>(work.from), work.sent_bytes);
  if (c.star.rank != 0) {
    std::string header(reinterpret_cast<const char *>(&work.header), sizeof work.header);
    return c.star.send(0, header + data) && c.star.receive(0, result);
  }
  std::vector<std::string> parts;
  if (!gather(c, work.header, data, parts)) return false;
  result = result_of(work.header, parts, 0);
  for (int rank = 1; rank < c.star.ranks; rank++)
    if (!c.star.send(rank, result_of(work.header, parts, size_t(rank)))) return false;
  return true;
}

int run(void *data) {
  auto &work = *static_cast<Work *>(data);
  Communicator &c = *work.communicator;
  std::string result;
  bool is_done = !c.error && exchange(work, result) && result.size() == work.received_bytes;
  if (is_done) {
    memcpy(work.to, result.data(), result.size());
  } else {
    if (!c.error) c.error = REMOTE_ERROR;
    c.star.close_all();  // so that the others hear of it
    memset(work.to, 0xff, work.received_bytes);
  }
  emu_written(work.to, work.received_bytes);
  return 0;
}

using Handle = std::shared_ptr<Communicator>;

int submit(void *handle, void *stream, Header header, const void *from, void *to,
           size_t sent_values, size_t received_values) {
  auto &communicator = *static_cast<Handle *>(handle);
  if (!is_type(header.type)) return INVALID_ARGUMENT;
  if (header.root < 0 || header.root >= communicator->star.ranks) return INVALID_ARGUMENT;
  if (communicator->error) return communicator->error;
  size_t sent = sent_values * bytes_of(header.type);
  size_t received = received_values * bytes_of(header.type);
  if (!emu_is_device(from, sent) || !emu_is_device(to, received)) return INVALID_ARGUMENT;
  auto *work = new Work{communicator, header, from, to, sent, received};
  auto release = [](void *data) { delete static_cast<Work *>(data); };
  return emu_submit(stream, run, work, release) ? UNHANDLED_CUDA_ERROR : SUCCESS;
}
}  // namespace

extern "C" {
int ncclGetVersion(int *version) {
  *version = 22703;
  return SUCCESS;
}
int ncclGetUniqueId(UniqueId *id) {
  memset(id, 0, sizeof *id);
  id->listener = Star::listen_at(id->name, sizeof id->name);
  return id->listener < 0 ? SYSTEM_ERROR : SUCCESS;
}
int ncclCommInitRank(void **handle, int ranks, UniqueId id, int rank) {
  *handle = nullptr;
  if (ranks < 1 || rank < 0 || rank >= ranks) return INVALID_ARGUMENT;
  if (emu_current_device() < 0) return UNHANDLED_CUDA_ERROR;
  auto communicator = std::make_shared<Communicator>();
  if (!communicator->star.join(id.name, int(id.listener), rank, ranks, 30)) return SYSTEM_ERROR;
  *handle = new Handle(communicator);
  return SUCCESS;
}
int ncclCommDestroy(void *handle) {
  (*static_cast<Handle *>(handle))->star.close_all();
  delete static_cast<Handle *>(handle);
  return SUCCESS;
}
int ncclCommAbort(void *handle) { return ncclCommDestroy(handle); }
int ncclCommGetAsyncError(void *handle, int *error) {
  *error = (*static_cast<Handle *>(handle))->error;
  return SUCCESS;
}
int ncclCommCount(void *handle, int *ranks) {
  *ranks = (*static_cast<Handle *>(handle))->star.ranks;
  return SUCCESS;
}
int ncclCommUserRank(void *handle, int *rank) {
  *rank = (*static_cast<Handle *>(handle))->star.rank;
  return SUCCESS;
}
int ncclGroupStart() { return SUCCESS; }
int ncclGroupEnd() { return SUCCESS; }
const char *ncclGetErrorString(int error) {
  switch (error) {
    case SUCCESS: return "no error";
    case UNHANDLED_CUDA_ERROR: return "unhandled cuda error";
    case SYSTEM_ERROR: return "unhandled system error";
    case INVALID_ARGUMENT: return "invalid argument";
    case INVALID_USAGE: return "invalid usage";
    case REMOTE_ERROR: return "remote process exited or there was a network error";
    default: return "unknown result code";
  }
}

int ncclAllReduce(const void *from, void *to, size_t count, int type, int operation, void *handle,
                  void *stream) {
  return submit(handle, stream, {ALL_REDUCE, type, operation, 0, count}, from, to, count, count);
}
int ncclBroadcast(const void *from, void *to, size_t count, int type, int root, void *handle,
                  void *stream) {
  return submit(handle, stream, {BROADCAST, type, 0, root, count}, from, to, count, count);
}
int ncclAllGather(const void *from, void *to, size_t count, int type, void *handle, void *stream) {
  size_t ranks = size_t((*static_cast<Handle *>(handle))->star.ranks);
  return submit(handle, stream, {ALL_GATHER, type, 0, 0, count}, from, to, count, count * ranks);
}
int ncclReduceScatter(const void *from, void *to, size_t count, int type, int operation,
                      void *handle, void *stream) {
  size_t ranks = size_t((*static_cast<Handle *>(handle))->star.ranks);
  return submit(handle, stream, {REDUCE_SCATTER, type, operation, 0, count}, from, to,
                count * ranks, count);
}
}
