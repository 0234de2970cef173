#pragma once
// The names of Unix sockets: which may be taken, and whose they are.

#include <sys/types.h>

#include <filesystem>

namespace macadam {

/// Removes a socket that nobody listens on, as a killed server leaves it behind. Throws InputError
/// when somebody listens there, when that cannot be found out, when it is no socket, or when the
/// path is too long for one.
void clear_socket_path(const std::filesystem::path& path);

/// The name of a socket that was just bound. Remove it before the socket is closed: a successor
/// takes the name as soon as nobody listens.
class SocketPath {
 public:
  explicit SocketPath(std::filesystem::path path);
  ~SocketPath() { remove(); }
  SocketPath(SocketPath&& other) noexcept;
  SocketPath(const SocketPath&) = delete;
  SocketPath& operator=(const SocketPath&) = delete;

  /// Unless the name is another's by now.
  void remove() noexcept;

 private:
  std::filesystem::path path_;  // empty: removed
  dev_t device_ = 0;
  ino_t inode_ = 0;
};

}  // namespace macadam
