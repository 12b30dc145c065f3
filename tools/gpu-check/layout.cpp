#include <cupti.h>

#include "activity.h"

using Kernel = CUpti_ActivityKernel10;
using Copy = CUpti_ActivityMemcpy6;
using Fill = CUpti_ActivityMemset4;

static_assert(int(CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL) == CONCURRENT_KERNEL);
static_assert(int(CUPTI_ACTIVITY_KIND_MEMCPY) == MEMCPY);
static_assert(int(CUPTI_ACTIVITY_KIND_MEMSET) == MEMSET);
static_assert(offsetof(Kernel, kind) == KIND_AT && offsetof(Kernel, name) == NAME_AT);
static_assert(offsetof(Kernel, start) == BEGIN_AT && offsetof(Kernel, end) == END_AT);
static_assert(offsetof(Copy, kind) == KIND_AT && offsetof(Copy, copyKind) == COPY_KIND_AT);
static_assert(offsetof(Copy, start) == BEGIN_AT && offsetof(Copy, end) == END_AT);
static_assert(offsetof(Copy, bytes) == BYTES_AT && offsetof(Fill, bytes) == BYTES_AT);
static_assert(offsetof(Fill, start) == BEGIN_AT && offsetof(Fill, end) == END_AT);
