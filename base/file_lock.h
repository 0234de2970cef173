#pragma once
// A file that one process at a time holds.

#include <filesystem>
#include <string>

namespace macadam {

/// A lock on a file, from construction to destruction. The kernel drops it when the process ends in
/// whatever way, so that a file left by a killed process is no obstacle. The file says who holds it
/// and is removed with the object.
class FileLock {
 public:
  /// Never waits. Creates the file if it is missing; one that another process holds is not touched.
  /// Throws RunError when the file cannot be opened.
  explicit FileLock(const std::filesystem::path& path);
  ~FileLock();
  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;

  /// False when another process holds it, and where the file system has no locks.
  bool held() const { return fd_ >= 0; }
  /// "process 123 on HOST" when another process holds it; else empty.
  const std::string& holder() const { return holder_; }

 private:
  std::filesystem::path path_;
  std::string holder_;
  int fd_ = -1;
};

}  // namespace macadam
