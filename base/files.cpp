#include "base/files.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstdio>
#include <system_error>
#include <utility>

#include "base/descriptor.h"
#include "base/error.h"
#include "base/fnv.h"
#include "base/to_size.h"

namespace macadam {

namespace fs = std::filesystem;

namespace {

std::string_view remedy_for(int code) {
  switch (code) {
    case ENOSPC:
    case EDQUOT: return "free space on that disk, or choose another folder";
    case EFBIG: return "raise the file-size limit (ulimit -f), or choose another file system";
    case EACCES:
    case EPERM: return "allow this user to use it, or choose another folder";
    case EROFS: return "choose a folder on a writable file system";
    case ENOENT:
    case ENOTDIR: return "check the path; the folder of a new file must exist";
    case EISDIR: return "name a file rather than a folder";
    case ENAMETOOLONG: return "choose a shorter name";
    case EMFILE:
    case ENFILE: return "raise the limit of open files (ulimit -n)";
    default: return "check the disk";
  }
}

std::string because(std::string_view what, int code) {
  return fmt::format("{} ({})", what, std::generic_category().message(code));
}

RunError write_error(const fs::path& path, int code) {
  return RunError(because("cannot write the file", code), path.string(), remedy_for(code));
}

InputError read_error(const fs::path& path, int code) {
  return InputError(because("cannot read the file", code), path.string(), remedy_for(code));
}

constexpr size_t kMostAtOnce = size_t{1} << 30;  // Linux writes at most 2 GiB a call

/// As write_all, at a position of the file.
int write_all_at(int fd, uint64_t offset, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t written =
        ::pwrite(fd, bytes.data(), std::min(bytes.size(), kMostAtOnce), static_cast<off_t>(offset));
    if (written < 0) {
      if (errno == EINTR) continue;
      return errno;
    }
    bytes = bytes.subspan(to_size(written));
    offset += static_cast<uint64_t>(written);
  }
  return 0;
}

/// Throws InputError unless it is a readable regular file.
Descriptor open_regular(const fs::path& path, struct stat& status) {
  // O_NONBLOCK: opening a pipe must not wait for its writer.
  Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!file.valid()) throw read_error(path, errno);
  if (::fstat(file.get(), &status) != 0) throw read_error(path, errno);
  if (!S_ISREG(status.st_mode)) {
    throw InputError("cannot read the file (not a regular file)", path.string(),
                     "name a file rather than a folder or a device");
  }
  return file;
}

InputError too_large(const fs::path& path, size_t max_bytes) {
  return InputError(fmt::format("the file has more than {} bytes", max_bytes), path.string(),
                    "check that it is the file you meant");
}

int64_t nanoseconds(const timespec& time) {
  return int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

fs::path folder_of(const fs::path& path) {
  return path.has_parent_path() ? path.parent_path() : fs::path(".");
}

/// Renaming over a link would replace the link: follow it, if it leads anywhere.
fs::path resolved(const fs::path& path) {
  std::error_code ignored;
  if (!fs::is_symlink(path, ignored)) return path;
  const fs::path target = fs::canonical(path, ignored);
  return ignored ? path : target;
}

// Names of temporary files: nothing else is called so, and they are short whatever the file is
// called.
constexpr std::string_view kTemporaryPrefix = ".macadam-", kTemporarySuffix = ".tmp";
constexpr size_t kTemporaryBytes = 64;  // more than such a name has

fs::path temporary_for(const fs::path& target, int attempt) {
  return folder_of(target) / fmt::format("{}{:016x}-{}{}", kTemporaryPrefix,
                                         fnv1a(target.filename().string()), attempt,
                                         kTemporarySuffix);
}

/// Who writes a temporary file holds a lock on it, which the kernel drops when the process ends in
/// whatever way. False when the file was taken for a dead process's before the lock was there. On
/// file systems without locks nobody takes a file away.
bool lock_temporary(int fd) {
  if (::flock(fd, LOCK_EX | LOCK_NB) != 0) return errno != EWOULDBLOCK;
  struct stat status {};
  return ::fstat(fd, &status) == 0 && status.st_nlink > 0;
}

/// Removes a temporary file that no process is writing. False when there is none of that name, or
/// it is in use.
bool remove_if_stale(const fs::path& temporary) {
  const Descriptor file(
      ::open(temporary.c_str(), O_WRONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY));
  if (!file.valid() || ::flock(file.get(), LOCK_EX | LOCK_NB) != 0) return false;
  // Its writer may have renamed it, and another begun one of this name, since it was opened.
  struct stat opened {
  }, named{};
  return ::fstat(file.get(), &opened) == 0 && ::lstat(temporary.c_str(), &named) == 0 &&
         S_ISREG(opened.st_mode) && opened.st_dev == named.st_dev &&
         opened.st_ino == named.st_ino && ::unlink(temporary.c_str()) == 0;
}

}  // namespace

AtomicFile::AtomicFile(const fs::path& path) : path_(path), target_(resolved(path)) {
  struct stat status {};
  if (::stat(target_.c_str(), &status) == 0 && !S_ISREG(status.st_mode)) {
    throw RunError("cannot write the file (a folder or a device has this name)", path.string(),
                   "choose another name");
  }
  int attempt = 0;
  for (; fd_ < 0; ++attempt) {
    temporary_ = temporary_for(target_, attempt);
    remove_if_stale(temporary_);
    Descriptor file(::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666));
    if (!file.valid() && errno != EEXIST && errno != EINTR) throw write_error(path, errno);
    if (file.valid() && lock_temporary(file.get())) fd_ = file.release();
  }
  while (remove_if_stale(temporary_for(target_, attempt))) ++attempt;
}

AtomicFile::~AtomicFile() {
  // Unlinked while the lock is held: later the name may be another writer's.
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
  if (fd_ >= 0) ::close(fd_);
}

void AtomicFile::write_at(uint64_t offset, std::span<const std::byte> bytes) {
  require(fd_ >= 0, "the file is not committed yet");
  if (const int code = write_all_at(fd_, offset, bytes)) throw write_error(path_, code);
}

void AtomicFile::commit() {
  require(fd_ >= 0, "a file is committed once");
  if (::fsync(fd_) != 0) throw write_error(path_, errno);
  if (::rename(temporary_.c_str(), target_.c_str()) != 0) throw write_error(path_, errno);
  temporary_.clear();
  ::close(std::exchange(fd_, -1));  // its lock goes with it; the content is on the disk

  // The new name itself reaches the disk with its folder. File systems that cannot flush a folder
  // say EINVAL, folders that may be written but not listed EACCES: the file is in place by then.
  const Descriptor folder(::open(folder_of(target_).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (folder.valid() && ::fsync(folder.get()) != 0 && errno != EINVAL) {
    throw write_error(path_, errno);
  }
}

void write_file_atomically(const fs::path& path,
                           std::span<const std::span<const std::byte>> parts) {
  AtomicFile file(path);
  uint64_t offset = 0;
  for (const auto& part : parts) {
    file.write_at(offset, part);
    offset += part.size();
  }
  file.commit();
}

void write_file_atomically(const fs::path& path, std::string_view content) {
  const std::array parts{std::as_bytes(std::span(content))};
  write_file_atomically(path, parts);
}

void remove_stale_temporaries(const fs::path& folder) {
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end;
       entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    if (name.starts_with(kTemporaryPrefix) && name.ends_with(kTemporarySuffix)) {
      remove_if_stale(entry->path());
    }
  }
}

bool name_fits(const fs::path& path) {
  const fs::path folder = folder_of(path);
  std::error_code ignored;
  fs::path there = folder;
  while (!fs::exists(there, ignored) && there != folder_of(there)) there = folder_of(there);
  const long limit = ::pathconf(there.c_str(), _PC_NAME_MAX);
  const size_t most = limit > 0 ? to_size(limit) : NAME_MAX;
  const size_t name = path.filename().string().size();
  return name <= most && folder.string().size() + 1 + std::max(name, kTemporaryBytes) < PATH_MAX;
}

void check_place(const fs::path& path) {
  std::error_code ignored;
  const fs::path folder = folder_of(path);
  if (!fs::is_directory(folder, ignored)) {
    throw InputError("no such folder to write into", folder.string(), "create it, or correct it");
  }
  if (fs::is_directory(path, ignored)) {
    throw InputError("a folder, where a file is to be written", path.string(), "name a file");
  }
}

std::string read_file(const fs::path& path, size_t max_bytes) {
  struct stat status {};
  const Descriptor file = open_regular(path, status);
  std::string content;
  std::array<char, 1 << 16> buffer;
  while (true) {
    const ssize_t count = ::read(file.get(), buffer.data(), buffer.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) throw read_error(path, errno);
    if (count == 0) return content;
    if (content.size() + to_size(count) > max_bytes) throw too_large(path, max_bytes);
    content.append(buffer.data(), to_size(count));
  }
}

void refuse_git_lfs_pointer(std::span<const std::byte> bytes, std::string_view name) {
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (text.starts_with("version https://git-lfs")) {
    throw InputError("a Git LFS pointer in place of the file", name,
                     "fetch the file itself with `git lfs pull`");
  }
}

FileBytes::FileBytes(const fs::path& path, size_t max_bytes) {
  struct stat status {};
  const Descriptor file = open_regular(path, status);
  size_ = to_size(status.st_size);
  if (size_ > max_bytes) throw too_large(path, max_bytes);
  data_ = std::make_unique_for_overwrite<std::byte[]>(size_);
  for (size_t done = 0; done < size_;) {
    const ssize_t count =
        ::read(file.get(), data_.get() + done, std::min(size_ - done, kMostAtOnce));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) throw read_error(path, errno);
    if (count == 0) {
      throw InputError("the file shrank while it was read", path.string(),
                       "leave it alone until the program is done");
    }
    done += to_size(count);
  }
}

MappedFile::MappedFile(const fs::path& path) {
  struct stat status {};
  Descriptor file = open_regular(path, status);
  modified_ = nanoseconds(status.st_mtim);
  if (status.st_size > 0) {
    size_ = to_size(status.st_size);
    void* address = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, file.get(), 0);
    if (address == MAP_FAILED) throw read_error(path, errno);
    data_ = static_cast<const std::byte*>(address);
  }
  fd_ = file.release();
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
  if (fd_ >= 0) ::close(fd_);
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)),
      modified_(other.modified_),
      fd_(std::exchange(other.fd_, -1)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  std::swap(modified_, other.modified_);
  std::swap(fd_, other.fd_);
  return *this;
}

bool MappedFile::unchanged() const {
  struct stat status {};
  return ::fstat(fd_, &status) == 0 && to_size(status.st_size) == size_ &&
         nanoseconds(status.st_mtim) == modified_;
}

}  // namespace macadam
