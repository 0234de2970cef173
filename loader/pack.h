#pragma once
// A data set in one memory-mapped file, ready to be copied into batches. Written by
// loader/pack_writer.h; the bytes: loader/pack_format.h.

#include <cstdint>
#include <filesystem>
#include <span>
#include <string_view>

#include "base/files.h"
#include "image/image.h"
#include "loader/pack_format.h"

namespace macadam {

/// Whether `path` is a file named *.pack.
bool is_pack(const std::filesystem::path& path);

class Pack {
 public:
  /// Throws InputError when the file cannot be read, and as parse_pack does.
  explicit Pack(const std::filesystem::path& path);

  const PackIndex& index() const { return index_; }
  const std::filesystem::path& path() const { return path_; }

  /// Throws the InputError that names both label sets unless the pack's has this name, treats void
  /// so, and, unless `classes` is empty, has these classes.
  void check_label_set(std::string_view name, bool void_is_class,
                       std::span<const std::string> classes = {}) const;

  // All that follows: `record` is of this pack. Throws InputError naming pack and record when its
  // checksum does not hold or it is not what the index says.

  /// The photo at its stored size, or, as JPEG, reduced as `options` allow.
  Image photo(const PackRecord& record, const DecodeOptions& options = {}) const;
  /// What the photo's header claims; of raw bytes, a PNG's.
  ImageInfo photo_info(const PackRecord& record) const;
  /// The train labels at their stored size, 1 channel.
  Image labels(const PackRecord& record) const;
  /// Both at height x width, as load_sample makes them of files. At the stored size raw bytes are
  /// copied once.
  void load(const PackRecord& record, int height, int width, bool reduced_decoding,
            std::span<uint8_t> image, std::span<uint8_t> labels) const;

 private:
  [[noreturn]] void fail(const PackRecord& record, std::string_view what) const;
  std::string name_of(const PackRecord& record) const;
  void require_unchanged() const;
  std::span<const uint8_t> bytes(const PackRecord& record) const;
  std::span<const uint8_t> photo_bytes(const PackRecord& record) const;
  void read_labels(const PackRecord& record, std::span<uint8_t> out) const;

  std::filesystem::path path_;
  MappedFile file_;
  std::span<const uint8_t> bytes_;
  PackIndex index_;
};

}  // namespace macadam
