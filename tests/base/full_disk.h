#pragma once
// Full disks that need no privileges.

#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <exception>
#include <filesystem>
#include <fstream>
#include <functional>
#include <optional>
#include <string>

#include "base/to_size.h"

namespace macadam::testing {

/// Files of this process cannot grow beyond `bytes`.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) : handler_(std::signal(SIGXFSZ, SIG_IGN)) {
    ::getrlimit(RLIMIT_FSIZE, &old_);
    rlimit limit = old_;
    limit.rlim_cur = bytes;
    ::setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FileSizeLimit() {
    ::setrlimit(RLIMIT_FSIZE, &old_);
    std::signal(SIGXFSZ, handler_);
  }
  FileSizeLimit(const FileSizeLimit&) = delete;
  FileSizeLimit& operator=(const FileSizeLimit&) = delete;

 private:
  rlimit old_{};
  void (*handler_)(int);
};

/// Makes this process one that may mount, in a world of mounts of its own.
inline bool enter_mount_namespace() {
  const auto write = [](const char* file, const std::string& text) {
    return static_cast<bool>(std::ofstream(file) << text << std::flush);
  };
  const std::string user = "0 " + std::to_string(::getuid()) + " 1";
  const std::string group = "0 " + std::to_string(::getgid()) + " 1";
  return ::unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0 && write("/proc/self/setgroups", "deny") &&
         write("/proc/self/uid_map", user) && write("/proc/self/gid_map", group);
}

/// What `work` returns, or the message of what it throws, in a child process that sees a disk of
/// 64 KiB at `folder`; nothing where the system lets no user mount one.
inline std::optional<std::string> on_a_full_disk(const std::filesystem::path& folder,
                                                 const std::function<std::string()>& work) {
  int ends[2];
  if (::pipe(ends) != 0) return std::nullopt;
  const pid_t child = ::fork();
  if (child == 0) {
    std::string result;
    if (enter_mount_namespace() && ::mount("none", folder.c_str(), "tmpfs", 0, "size=64k") == 0) {
      try {
        result = "ran: " + work();
      } catch (const std::exception& error) {
        result = std::string("threw: ") + error.what();
      }
    }
    const ssize_t written = ::write(ends[1], result.data(), result.size());
    ::_exit(written == static_cast<ssize_t>(result.size()) ? 0 : 1);
  }
  ::close(ends[1]);
  std::string result;
  char buffer[4096];
  for (ssize_t count; (count = ::read(ends[0], buffer, sizeof buffer)) > 0;) {
    result.append(buffer, to_size(count));
  }
  ::close(ends[0]);
  if (child > 0) ::waitpid(child, nullptr, 0);
  if (result.empty()) return std::nullopt;
  return result;
}

}  // namespace macadam::testing
