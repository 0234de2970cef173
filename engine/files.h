#pragma once
// Files that are whole or not there at all, and read-only mappings.

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

namespace macadam {

/// Writes `parts` one after the other under a temporary name in the folder of `path`, flushes them
/// to the disk and renames: whoever opens `path` sees the old content or the new, never a part.
/// A symbolic link stays one; the file it leads to is replaced. On failure the temporary file is
/// gone, the old file is untouched, and a RunError names the file, the reason and the remedy.
/// (A process that meets a file-size limit must ignore SIGXFSZ to get that error.)
void write_file_atomically(const std::filesystem::path& path,
                           std::span<const std::span<const std::byte>> parts);
void write_file_atomically(const std::filesystem::path& path, std::string_view content);

/// The whole file. Throws InputError when it cannot be read or has more than `max_bytes`.
std::string read_file(const std::filesystem::path& path, size_t max_bytes);

/// Adds `line` and a newline at the end of the file, which is created if missing. On failure
/// (RunError) nothing of the line stays behind. Requires a line without newlines.
void append_line(const std::filesystem::path& path, std::string_view line);

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

 private:
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace macadam
