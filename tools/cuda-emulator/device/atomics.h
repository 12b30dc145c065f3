// Atomics: fibers do not pre-empt each other, so plain code is atomic; the checker is told.
#pragma once
#include "execution.h"

#define EMU_ATOMIC_OPERATION(name, value)                              \
  template <class T>                                                   \
  EMU_OPAQUE T name(T *p, std::type_identity_t<T> v) {                 \
    emu_access(p, sizeof(T), EMU_ATOMIC, __builtin_return_address(0)); \
    T old = *p;                                                        \
    *p = value;                                                        \
    return old;                                                        \
  }
EMU_ATOMIC_OPERATION(atomicAdd, T(old + v))
EMU_ATOMIC_OPERATION(atomicSub, T(old - v))
EMU_ATOMIC_OPERATION(atomicExch, v)
EMU_ATOMIC_OPERATION(atomicMax, old > v ? old : v)
EMU_ATOMIC_OPERATION(atomicMin, old < v ? old : v)
EMU_ATOMIC_OPERATION(atomicOr, T(old | v))
EMU_ATOMIC_OPERATION(atomicAnd, T(old & v))

template <class T>
EMU_OPAQUE T atomicCAS(T *p, std::type_identity_t<T> expected, std::type_identity_t<T> v) {
  emu_access(p, sizeof(T), EMU_ATOMIC, __builtin_return_address(0));
  T old = *p;
  if (old == expected) *p = v;
  return old;
}
