#include "scheduler.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <span>
#include <sys/mman.h>

#include "checker.h"
#include "counter.h"
#include "fiber.h"
#include "memory.h"

EmuThread *emu_thread;
EmuLaunch emu_launch;

namespace {
constexpr unsigned MAX_THREADS = 1024, MAX_ROW = 128;

enum State { READY, AT_BARRIER, IN_WARP, FINISHED };

// One warp-wide operation: in progress, or finished and still being read.
struct Exchange {
  uint32_t mask, arrived;
  unsigned bytes, readers;
  int line;
  char rows[32 * MAX_ROW];
};
struct Thread : EmuThread {
  State state;
  int place;
  Fiber *fiber;
  Exchange *reading;
};
struct Warp {
  uint32_t alive, clock;
  std::vector<Exchange *> open;
};

// What kernels legitimately read of the scheduler lies in one piece, which the checker knows.
struct Arena {
  Thread threads[MAX_THREADS];
  Exchange exchanges[MAX_THREADS + 32];
};
Arena &arena = *static_cast<Arena *>(mmap(nullptr, sizeof(Arena), PROT_READ | PROT_WRITE,
                                          MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));

// The block that runs.
unsigned thread_count, waiting, finished;
std::vector<Warp> warps;
std::vector<unsigned> ready;
std::vector<Exchange *> spare;
std::vector<Fiber *> idle_fibers;
Thread *first_at_barrier;
const EmuKernel *kernel;
std::vector<void *> arguments;
Fault fault;
std::mt19937 random_order;
bool is_shuffled;

std::span<Thread> threads() { return {arena.threads, thread_count}; }
Thread &me() { return static_cast<Thread &>(*emu_thread); }
int line_of(int place) { return place & 0xffff; }

void wait_here() { leave_fiber(me().fiber); }

void wake(Thread &thread) {
  thread.state = READY;
  ready.push_back(thread.linear);
}

void release_barrier_if_complete() {
  if (!waiting || waiting + finished != thread_count) return;
  waiting = 0;
  checker_block_synchronised();
  for (auto &thread : threads())
    if (thread.state == AT_BARRIER) wake(thread);
}

void complete_if_all_arrived(unsigned warp, Exchange *exchange) {
  Warp &w = warps[warp];
  if ((exchange->mask & w.alive) != (exchange->arrived & w.alive)) return;
  std::erase(w.open, exchange);
  w.clock = checker_tick();
  for (unsigned lane = 0; lane < 32; lane++)
    if (exchange->arrived >> lane & 1) wake(arena.threads[warp * 32 + lane]);
}

void drop_reading(Thread &thread) {
  if (thread.reading && --thread.reading->readers == 0) spare.push_back(thread.reading);
  thread.reading = nullptr;
}

// The next thread in the order of the block.
Thread &take_ready() {
  if (is_shuffled) std::swap(ready[random_order() % ready.size()], ready.back());
  Thread &thread = arena.threads[ready.back()];
  ready.pop_back();
  emu_thread = &thread;
  return thread;
}

// A thread that has returned leaves its fiber to the next one, if that has not begun: most kernels
// wait for nothing, and so a block of theirs needs no switch.
bool goes_on_with_next(Fiber *fiber) {
  if (fault.code || is_shuffled || ready.empty() || arena.threads[ready.back()].fiber) return false;
  take_ready().fiber = fiber;
  return true;
}

void fiber_body() {
  fiber_started();
  for (;;) {
    kernel->call(arguments.data());
    Thread &thread = me();
    unsigned warp = thread.linear / 32;
    thread.state = FINISHED;
    finished++;
    drop_reading(thread);
    warps[warp].alive &= ~(1u << thread.linear % 32);
    for (auto *exchange : std::vector<Exchange *>(warps[warp].open))
      complete_if_all_arrived(warp, exchange);
    release_barrier_if_complete();
    if (goes_on_with_next(thread.fiber)) continue;
    idle_fibers.push_back(thread.fiber);
    wait_here();
  }
}

Fiber *take_fiber() {
  if (idle_fibers.empty()) return make_fiber(fiber_body);
  Fiber *fiber = idle_fibers.back();
  idle_fibers.pop_back();
  return fiber;
}

// Fibers that a fault left in the middle of a kernel cannot be entered again.
void forget_unfinished() {
  for (auto &thread : threads())
    if (thread.state != FINISHED && thread.fiber) destroy_fiber(thread.fiber);
}

void describe_deadlock() {
  unsigned at_barrier = 0, in_warp = 0;
  int barrier_line = 0, warp_line = 0;
  for (auto &thread : threads()) {
    if (thread.state == AT_BARRIER) at_barrier++, barrier_line = line_of(thread.place);
    if (thread.state == IN_WARP) in_warp++, warp_line = thread.place;
  }
  char text[300];
  snprintf(text, sizeof text,
           "deadlock: %u threads wait in __syncthreads() (line %d), %u in a warp function "
           "(line %d), %u have returned",
           at_barrier, barrier_line, in_warp, warp_line, finished);
  set_fault(719, text);
}

void start_block(EmuIndex block) {
  const EmuIndex &dim = emu_launch.block_dim;
  emu_launch.block_idx = block;
  finished = waiting = 0;
  ready.clear();
  for (auto &warp : warps) warp.alive = warp.clock = 0, warp.open.clear();
  for (unsigned i = 0; i < thread_count; i++) {
    Thread &thread = arena.threads[i];
    thread.thread_idx = {i % dim.x, i / dim.x % dim.y, i / dim.x / dim.y};
    thread.linear = i;
    thread.state = READY;
    thread.fiber = nullptr;
    thread.reading = nullptr;
    warps[i / 32].alive |= 1u << i % 32;
    ready.push_back(i);
  }
  std::reverse(ready.begin(), ready.end());  // taken from the back: thread 0 first
}

void run_block(EmuIndex block) {
  start_block(block);
  while (!ready.empty() && !fault.code) {
    Thread &thread = take_ready();
    if (!thread.fiber) thread.fiber = take_fiber();
    enter_fiber(thread.fiber);
  }
  if (!fault.code && finished < thread_count) describe_deadlock();
  if (fault.code) forget_unfinished();
}

// The order of blocks and threads; by CUDA_EMU_SEED it is another one in every launch.
std::vector<size_t> order_of(const EmuIndex &grid) {
  static const char *seed = getenv("CUDA_EMU_SEED");
  static unsigned launches;
  std::vector<size_t> order = blocks_of_sketch(grid);
  is_shuffled = seed != nullptr;
  if (seed) {
    random_order.seed(unsigned(atoi(seed)) * 7919u + launches++);
    std::shuffle(order.begin(), order.end(), random_order);
  }
  return order;
}
}  // namespace

void set_fault(int code, const char *message) {
  if (!fault.code) fault = {code, message};
}

void emu_fail(const char *message) {
  set_fault(719, message);
  wait_here();
  __builtin_unreachable();
}

void emu_sync_block(int place) {
  Thread &thread = me();
  if (!waiting) first_at_barrier = &thread;
  if (waiting && first_at_barrier->place != place) {
    char text[200];
    snprintf(text, sizeof text, "divergent __syncthreads(): thread %u at line %d, %u at line %d",
             thread.linear, line_of(place), first_at_barrier->linear,
             line_of(first_at_barrier->place));
    emu_fail(text);
  }
  thread.state = AT_BARRIER;
  thread.place = place;
  waiting++;
  release_barrier_if_complete();
  wait_here();
}

const void *emu_warp_exchange(uint32_t mask, const void *mine, unsigned bytes, int line) {
  Thread &thread = me();
  unsigned warp = thread.linear / 32, lane = thread.linear % 32;
  drop_reading(thread);
  if (!(mask >> lane & 1)) emu_fail("a lane calls a warp function whose mask does not name it");
  if (bytes > MAX_ROW) emu_fail("a warp function passes more bytes per lane than can be emulated");
  auto &open = warps[warp].open;
  auto it = std::find_if(open.begin(), open.end(), [&](auto *e) { return e->mask == mask; });
  Exchange *exchange = it == open.end() ? spare.back() : *it;
  if (it == open.end()) {
    spare.pop_back();
    exchange->mask = mask;
    exchange->arrived = exchange->readers = 0;
    exchange->bytes = bytes;
    exchange->line = line;
    memset(exchange->rows, 0xff, size_t(bytes) * 32);
    open.push_back(exchange);
  }
  if (exchange->bytes != bytes || exchange->line != line) {
    char text[200];
    snprintf(text, sizeof text, "diverged warp function: lane %u at line %d, others at line %d",
             lane, line, exchange->line);
    emu_fail(text);
  }
  if (bytes) memcpy(exchange->rows + size_t(lane) * bytes, mine, bytes);
  exchange->arrived |= 1u << lane;
  exchange->readers++;
  thread.reading = exchange;
  thread.state = IN_WARP;
  thread.place = line;
  complete_if_all_arrived(warp, exchange);
  wait_here();
  return exchange->rows;
}

uint32_t emu_warp_mask() { return warps[me().linear / 32].alive; }
uint32_t warp_clock() { return warps[me().linear / 32].clock; }

bool is_scheduler_state(const void *p) {
  auto within = [&](const void *start, size_t bytes) {
    return p >= start && p < static_cast<const char *>(start) + bytes;
  };
  return within(&arena, sizeof arena) || within(&emu_launch, sizeof emu_launch) ||
         within(&emu_thread, sizeof emu_thread);
}

Fault run_kernel(const Launch &launch, const std::vector<EmuModule> &modules) {
  fault = Fault{};
  kernel = launch.kernel;
  arguments.clear();
  for (auto &bytes : launch.arguments) arguments.push_back(const_cast<char *>(bytes.data()));
  thread_count = launch.block.x * launch.block.y * launch.block.z;
  spare.clear();
  for (auto &exchange : arena.exchanges) spare.push_back(&exchange);
  warps.resize((thread_count + 31) / 32);
  // Exactly as many bytes as were asked for, on the heap: ASan sees an access beyond them.
  size_t shared_bytes = launch.shared_bytes, reserved = (shared_bytes + 127) / 128 * 128 + 128;
  char *dynamic = static_cast<char *>(aligned_alloc(128, reserved));
  poison(dynamic, reserved, true);
  poison(dynamic, shared_bytes, false);
  emu_launch = {{}, launch.block, launch.grid, dynamic, shared_bytes};
  checker_begin(launch, dynamic, modules);
  const EmuIndex &grid = launch.grid;
  for (size_t i : order_of(grid)) {
    for (auto &m : modules) fill_nan(m.shared_begin, size_t(m.shared_end - m.shared_begin));
    fill_nan(dynamic, shared_bytes);
    checker_begin_block(i);
    run_block({unsigned(i % grid.x), unsigned(i / grid.x % grid.y),
               unsigned(i / grid.x / grid.y)});
    if (fault.code) break;
  }
  checker_end();
  poison(dynamic, reserved, false);
  free(dynamic);
  return fault;
}
