// Files of fixtures/cuda, which the Rust engine's tests write and hold.
#pragma once
#include <sstream>

#include "cuda.h"

// CUDA_GOLDENS is the folder.
inline std::ifstream golden(const char *name) {
  const char *folder = getenv("CUDA_GOLDENS");
  std::ifstream file(std::string(folder ? folder : ".") + "/" + name);
  if (!file) throw std::runtime_error(std::string("no golden ") + name);
  return file;
}

inline std::vector<uint32_t> words_of(const std::string &line) {
  std::istringstream stream(line);
  std::vector<uint32_t> words;
  std::string word;
  while (stream >> word) words.push_back(uint32_t(std::stoul(word, nullptr, 16)));
  return words;
}
