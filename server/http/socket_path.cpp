#include "server/http/socket_path.h"

#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <utility>

#include "base/descriptor.h"
#include "base/error.h"
#include "base/text.h"

namespace macadam {

namespace {

constexpr const char* kRemedy = "choose another --unix path";

/// The errno of connecting to a socket; 0: somebody listens.
int try_to_connect(const std::string& path) {
  const Descriptor trial(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!trial.valid()) return errno;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::ranges::copy(path, address.sun_path);
  if (::connect(trial.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) {
    return 0;
  }
  return errno == EAGAIN ? 0 : errno;  // as many wait there as the system lets
}

void remove_if_same(const std::filesystem::path& path, dev_t device, ino_t inode) noexcept {
  struct stat now {};
  if (::lstat(path.c_str(), &now) == 0 && now.st_dev == device && now.st_ino == inode) {
    ::unlink(path.c_str());
  }
}

}  // namespace

void clear_socket_path(const std::filesystem::path& path) {
  const std::string name = path.string();
  if (name.size() >= sizeof(sockaddr_un::sun_path)) {
    throw InputError("a socket's path has at most 107 bytes", quote(name),
                     "choose a shorter --unix path");
  }
  struct stat found {};
  if (::lstat(path.c_str(), &found) != 0) return;  // what else is wrong, bind says
  if (!S_ISSOCK(found.st_mode)) {
    throw InputError("something that is not a socket has this name", quote(name), kRemedy);
  }
  const int error = try_to_connect(name);
  if (error == 0) {
    throw InputError("somebody listens on this socket", quote(name),
                     "choose another --unix path, or end the other server");
  }
  if (error == ENOENT) return;
  if (error != ECONNREFUSED) {
    throw InputError(fmt::format("another program's socket has this name ({})",
                                 std::generic_category().message(error)),
                     quote(name), kRemedy);
  }
  remove_if_same(path, found.st_dev, found.st_ino);
}

SocketPath::SocketPath(std::filesystem::path path) : path_(std::move(path)) {
  struct stat bound {};
  if (::lstat(path_.c_str(), &bound) != 0) {
    path_.clear();
    return;
  }
  device_ = bound.st_dev;
  inode_ = bound.st_ino;
}

SocketPath::SocketPath(SocketPath&& other) noexcept
    : path_(std::exchange(other.path_, {})), device_(other.device_), inode_(other.inode_) {}

void SocketPath::remove() noexcept {
  if (!path_.empty()) remove_if_same(path_, device_, inode_);
  path_.clear();
}

}  // namespace macadam
