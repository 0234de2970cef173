#pragma once
// The table of contents of a zip archive (APPNOTE 6.3: with zip64), for archives that store their
// files without compression, as torch.save and numpy.savez do.

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace macadam {

class ZipArchive {
 public:
  struct Entry {
    std::string_view name;             // in the bytes of the archive
    std::span<const std::byte> bytes;  // as they lie in the archive
    bool stored = true;                // neither compressed nor encrypted
  };

  /// Requires `bytes` to outlive the object. Throws InputError naming `file` unless the directory
  /// and every entry lie inside the bytes, no two overlap and no name occurs twice. The CRC-32 is
  /// not looked at: PyTorch can be told not to write it, and never reads it.
  ZipArchive(std::span<const std::byte> bytes, std::string_view file);

  std::span<const Entry> entries() const { return entries_; }
  /// Null when there is none.
  const Entry* find(std::string_view name) const;
  /// The content. Throws InputError for a compressed or encrypted entry.
  std::span<const std::byte> content(const Entry& entry) const;

 private:
  std::string file_;
  std::vector<Entry> entries_;  // by name
};

/// True when the bytes begin as a zip archive does.
bool is_zip(std::span<const std::byte> bytes);

}  // namespace macadam
