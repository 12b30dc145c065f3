// Processes that meet at a socket: a star around rank 0.
#pragma once
#include <cstddef>
#include <string>
#include <vector>

class Star {
 public:
  // Listens under a fresh name, which fits into `name_bytes`.
  static int listen_at(char *name, size_t name_bytes);
  // Rank 0 accepts the others, they connect; false after `seconds` without one of them.
  bool join(const char *name, int listener, int rank, int ranks, int seconds);
  bool send(int rank, const std::string &bytes);
  bool receive(int rank, std::string &bytes);
  void close_all();
  int rank = 0, ranks = 1;

 private:
  std::vector<int> sockets_;  // by rank; on others only that of rank 0
  bool write_all(int socket, const char *p, size_t bytes);
  bool read_all(int socket, char *p, size_t bytes);
};
