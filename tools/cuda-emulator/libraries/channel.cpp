#include "channel.h"

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

namespace {
// A name of the abstract kind: it needs no file and goes with the socket.
sockaddr_un address_of(const char *name) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  strncpy(address.sun_path + 1, name, sizeof address.sun_path - 2);
  return address;
}
}  // namespace

int Star::listen_at(char *name, size_t name_bytes) {
  static int made;
  snprintf(name, name_bytes, "cuda-emu-nccl-%d-%d", int(getpid()), made++);
  int socket_ = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un address = address_of(name);
  auto *generic = reinterpret_cast<sockaddr *>(&address);
  if (bind(socket_, generic, sizeof address) || listen(socket_, 64)) return -1;
  return socket_;
}

bool Star::join(const char *name, int listener, int own_rank, int count, int seconds) {
  rank = own_rank;
  ranks = count;
  sockets_.assign(size_t(count), -1);
  if (rank == 0) {
    for (int joined = 1; joined < ranks; joined++) {
      pollfd waiting = {listener, POLLIN, 0};
      if (poll(&waiting, 1, seconds * 1000) != 1) return false;
      int socket_ = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
      int32_t who = -1;
      bool is_told = socket_ >= 0 && read_all(socket_, reinterpret_cast<char *>(&who), sizeof who);
      if (!is_told || who < 1 || who >= ranks || sockets_[size_t(who)] >= 0) return false;
      sockets_[size_t(who)] = socket_;
    }
    return true;
  }
  sockaddr_un address = address_of(name);
  int socket_ = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  for (int tries = 0; tries < seconds * 20; tries++) {
    if (!connect(socket_, reinterpret_cast<sockaddr *>(&address), sizeof address)) {
      sockets_[0] = socket_;
      int32_t who = rank;
      return write_all(socket_, reinterpret_cast<char *>(&who), sizeof who);
    }
    usleep(50'000);
  }
  close(socket_);
  return false;
}

bool Star::send(int to, const std::string &bytes) {
  uint64_t length = bytes.size();
  int socket_ = sockets_[size_t(to)];
  return write_all(socket_, reinterpret_cast<char *>(&length), sizeof length) &&
         write_all(socket_, bytes.data(), bytes.size());
}

bool Star::receive(int from, std::string &bytes) {
  uint64_t length;
  int socket_ = sockets_[size_t(from)];
  if (!read_all(socket_, reinterpret_cast<char *>(&length), sizeof length)) return false;
  bytes.resize(length);
  return read_all(socket_, bytes.data(), length);
}

void Star::close_all() {
  for (int &socket_ : sockets_) {
    if (socket_ >= 0) close(socket_);
    socket_ = -1;
  }
}

bool Star::write_all(int socket_, const char *p, size_t bytes) {
  while (bytes) {
    ssize_t n = ::send(socket_, p, bytes, MSG_NOSIGNAL);
    if (n <= 0) return false;
    p += n;
    bytes -= size_t(n);
  }
  return true;
}

bool Star::read_all(int socket_, char *p, size_t bytes) {
  while (bytes) {
    ssize_t n = recv(socket_, p, bytes, 0);
    if (n <= 0) return false;
    p += n;
    bytes -= size_t(n);
  }
  return true;
}
