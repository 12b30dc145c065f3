#include "fiber.h"

#include <sys/mman.h>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

#if !defined(__x86_64__)
#error "the emulator switches stacks by x86-64 instructions"
#endif

namespace {
// Saves the callee-saved registers on the running stack and continues on another one.
extern "C" void emu_switch(void **save, void *load);
asm(R"(
.text
.globl emu_switch
.hidden emu_switch
.type emu_switch,@function
emu_switch:
  pushq %rbp; pushq %rbx; pushq %r12; pushq %r13; pushq %r14; pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15; popq %r14; popq %r13; popq %r12; popq %rbx; popq %rbp
  ret
)");

void *scheduler_pointer;

#if defined(__SANITIZE_ADDRESS__)
const void *scheduler_stack;
size_t scheduler_size;
void change(void **save, void *load, const void *stack, size_t size) {
  void *fake;
  __sanitizer_start_switch_fiber(&fake, stack, size);
  emu_switch(save, load);
  __sanitizer_finish_switch_fiber(fake, nullptr, nullptr);
}
#else
const void *scheduler_stack = nullptr;
size_t scheduler_size = 0;
void change(void **save, void *load, const void *, size_t) { emu_switch(save, load); }
#endif
}  // namespace

Fiber *make_fiber(void (*body)()) {
  int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
  void *stack = mmap(nullptr, FIBER_STACK, PROT_READ | PROT_WRITE, flags, -1, 0);
  mprotect(stack, 4096, PROT_NONE);  // an overflow faults
  auto *fiber = new Fiber{nullptr, static_cast<char *>(stack)};
  // Below the top: what `ret` pops as the body, above it a null return address keeps alignment.
  void **top = reinterpret_cast<void **>(fiber->stack + FIBER_STACK) - 3;
  *top = nullptr;
  *--top = reinterpret_cast<void *>(body);
  fiber->stack_pointer = top - 6;
  return fiber;
}

void destroy_fiber(Fiber *fiber) {
  munmap(fiber->stack, FIBER_STACK);
  delete fiber;
}

void enter_fiber(Fiber *fiber) {
  change(&scheduler_pointer, fiber->stack_pointer, fiber->stack, FIBER_STACK);
}

void leave_fiber(Fiber *fiber) {
  change(&fiber->stack_pointer, scheduler_pointer, scheduler_stack, scheduler_size);
}

void fiber_started() {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(nullptr, &scheduler_stack, &scheduler_size);
#endif
}
