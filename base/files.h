#pragma once
// Files that are whole or not there at all, and read-only mappings.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace macadam {

/// A file that is written under a temporary name in the folder of `path`, flushed to the disk and
/// renamed: whoever opens `path` sees the old content or the new, never a part. A symbolic link
/// stays one; the file it leads to is replaced. On failure, and without commit(), the temporary
/// file is gone with the object, the old file is untouched, and a RunError names the file, the
/// reason and the remedy. (A process that meets a file-size limit must ignore SIGXFSZ to get that
/// error.) What a killed process left behind of the same file goes when the file is written again.
class AtomicFile {
 public:
  explicit AtomicFile(const std::filesystem::path& path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  /// Writes `bytes` from `offset` on, over what is there or beyond; a gap reads as zeros.
  void write_at(uint64_t offset, std::span<const std::byte> bytes);
  /// Puts the file in its place. Nothing may be written thereafter.
  void commit();

 private:
  std::filesystem::path path_, target_, temporary_;  // the last is empty once renamed
  int fd_ = -1;
};

/// Writes `parts` one after the other, as AtomicFile does.
void write_file_atomically(const std::filesystem::path& path,
                           std::span<const std::span<const std::byte>> parts);
void write_file_atomically(const std::filesystem::path& path, std::string_view content);

/// Removes the temporary files in `folder` that killed processes left behind. Files of living ones
/// stay, and so does everything on file systems without locks.
void remove_stale_temporaries(const std::filesystem::path& folder);

/// Whether a file of this name can be written: its folder, or where that is yet to be made the
/// nearest above it, allows names of that length, and so does the system.
bool name_fits(const std::filesystem::path& path);

/// Throws InputError when a file called `path` could not be made for want of its folder, or because
/// a folder has the name: asked before hours of work, not after.
void check_place(const std::filesystem::path& path);

/// The whole file. Throws InputError when it is not a readable regular file (a pipe is not waited
/// for) or has more than `max_bytes`.
std::string read_file(const std::filesystem::path& path, size_t max_bytes);

/// Throws the InputError that says so when `bytes` are not the file `name` but the pointer that Git
/// LFS puts in its place. For readers that have not recognised what they were given.
void refuse_git_lfs_pointer(std::span<const std::byte> bytes, std::string_view name);

/// A regular file's bytes, read when constructed: what happens to the file later does not matter.
class FileBytes {
 public:
  /// Throws InputError when the path is not a readable regular file, has more than `max_bytes`, or
  /// shrinks while it is read.
  FileBytes(const std::filesystem::path& path, size_t max_bytes);

  std::span<const std::byte> bytes() const { return {data_.get(), size_}; }

 private:
  std::unique_ptr<std::byte[]> data_;
  size_t size_ = 0;
};

/// A file mapped for reading. The file must not shrink meanwhile: replace it by renaming.
class MappedFile {
 public:
  /// Throws InputError when the path is not a readable regular file.
  explicit MappedFile(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::span<const std::byte> bytes() const { return {data_, size_}; }
  /// Whether size and modification time are still those at the time of mapping.
  bool unchanged() const;

 private:
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
  int64_t modified_ = 0;  // nanoseconds
  int fd_ = -1;
};

}  // namespace macadam
