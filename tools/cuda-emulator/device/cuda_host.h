// Takes the place of the CUDA compiler's built-ins when a .cu file is compiled as host C++; the
// build puts it in front of every file.
#pragma once
#include "execution.h"
#include "warp.h"
#include "atomics.h"
#include "arithmetic.h"
#include "small_floats.h"
#include "tensor_cores.h"
#include "entries.h"
