#include "base/file_lock.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <string_view>
#include <system_error>

#include "base/error.h"
#include "base/to_size.h"

namespace macadam {

namespace {

/// Who this process is, for people on this machine and others.
std::string own_name() {
  std::array<char, HOST_NAME_MAX + 1> host{};
  if (::gethostname(host.data(), host.size() - 1) != 0) host[0] = '?';
  return fmt::format("process {} on {}", ::getpid(), host.data());
}

/// What the holder wrote, as one line of plain characters.
std::string read_holder(int fd) {
  std::array<char, HOST_NAME_MAX + 64> text{};
  const ssize_t count = ::pread(fd, text.data(), text.size(), 0);
  const std::string_view content(text.data(), count > 0 ? to_size(count) : 0);
  const auto plain = [](char c) { return c >= ' ' && c <= '~'; };
  const auto end = std::ranges::find_if_not(content, plain);
  return content.begin() == end ? "another process" : std::string(content.begin(), end);
}

/// Whether `path` still names the open file.
bool names(const std::filesystem::path& path, int fd) {
  struct stat opened {
  }, named{};
  return ::fstat(fd, &opened) == 0 && ::stat(path.c_str(), &named) == 0 &&
         opened.st_dev == named.st_dev && opened.st_ino == named.st_ino;
}

}  // namespace

FileLock::FileLock(const std::filesystem::path& path) : path_(path) {
  while (true) {
    const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (fd < 0) {
      throw RunError(
          fmt::format("cannot write the file ({})", std::generic_category().message(errno)),
          path.string(), "allow this user to write there, or choose another folder");
    }
    if (::flock(fd, LOCK_EX | LOCK_NB) != 0) {
      if (errno == EWOULDBLOCK) holder_ = read_holder(fd);
      ::close(fd);
      return;
    }
    if (names(path, fd)) {
      fd_ = fd;
      break;
    }
    ::close(fd);  // its holder has removed it since it was opened
  }
  const std::string text = own_name() + '\n';
  // For people: without the name, on a full disk, the lock is as good.
  [[maybe_unused]] const bool named =
      ::ftruncate(fd_, 0) == 0 && ::pwrite(fd_, text.data(), text.size(), 0) > 0;
}

FileLock::~FileLock() {
  if (fd_ < 0) return;
  ::unlink(path_.c_str());
  ::close(fd_);
}

}  // namespace macadam
