// The part of CUPTI that tells when kernels and copies ran, as its headers have had it since CUDA
// 11: offsets into records, in bytes, and the functions' types. Where NVIDIA's headers are there,
// pack.mjs compiles layout.cpp, which holds them against these.
#pragma once
#include <cstddef>
#include <cstdint>

enum : int { MEMCPY = 1, MEMSET = 2, CONCURRENT_KERNEL = 10 };

constexpr size_t KIND_AT = 0, COPY_KIND_AT = 4, BYTES_AT = 8, BEGIN_AT = 16, END_AT = 24,
                 NAME_AT = 104;

using RequestBuffer = void (*)(uint8_t **buffer, size_t *bytes, size_t *most_records);
using CompleteBuffer = void (*)(void *context, uint32_t stream, uint8_t *buffer, size_t bytes,
                                size_t valid_bytes);
