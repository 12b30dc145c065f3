// A stack of its own for each CUDA thread of a block. Threads change hands only where they wait.
#pragma once
#include <cstddef>

struct Fiber {
  void *stack_pointer;
  char *stack;
};

constexpr size_t FIBER_STACK = 256 << 10;

// Runs `body` on the fiber's stack whenever it is entered from its beginning.
Fiber *make_fiber(void (*body)());
void destroy_fiber(Fiber *fiber);
void enter_fiber(Fiber *fiber);   // from the scheduler
void leave_fiber(Fiber *fiber);   // back to the scheduler
void fiber_started();             // first thing in a body
