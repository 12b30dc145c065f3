// How a kernel is called with the driver's array of pointers to arguments.
#pragma once
#include "execution.h"

template <auto F>
struct EmuEntry;
template <class... A, void (*F)(A...)>
struct EmuEntry<F> {
  static constexpr unsigned count = sizeof...(A);
  static constexpr unsigned sizes[count + 1] = {sizeof(A)..., 0};
  static constexpr unsigned alignments[count + 1] = {alignof(A)..., 1};
  static constexpr bool is_pointer[count + 1] = {std::is_pointer_v<A>..., false};
  template <size_t... I>
  __attribute__((no_sanitize("thread"))) static void apply(void **p, std::index_sequence<I...>) {
    F(*static_cast<std::remove_const_t<A> *>(p[I])...);
  }
  __attribute__((no_sanitize("thread"))) static void call(void **p) {
    apply(p, std::index_sequence_for<A...>());
  }
};
