#pragma once
// The bytes of a pack: a data set in one file (docs/datasets.md). A header of fixed size, the
// records, the index. All numbers are little-endian.

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "loader/dataset.h"
#include "loader/label_set.h"

namespace macadam {

enum class PhotoCoding : uint8_t {
  raw,   // height x width x 3, RGB
  jpeg,  // a JPEG of that size
};

enum class LabelCoding : uint8_t {
  raw,   // height x width
  runs,  // loader/run_length.h
};

/// Where one sample lies: its photo, then its labels.
struct PackRecord {
  std::string id, sequence;
  std::string image, mask;  // the files it was made from, relative to the data set's folder
  uint32_t height = 0, width = 0;
  uint64_t offset = 0, photo_size = 0, labels_size = 0;  // bytes
  uint32_t photo_checksum = 0, labels_checksum = 0;      // CRC-32
};

struct PackSplit {
  std::string name;
  std::vector<PackRecord> records;
  std::vector<uint64_t> class_pixels;  // one a class, counted over the records
  uint64_t ignored_pixels = 0;
};

struct PackIndex {
  std::string name;  // of the data set
  Layout layout = Layout::plain;
  PhotoCoding photos = PhotoCoding::raw;
  LabelCoding labels = LabelCoding::raw;
  /// As the records hold labels rather than ids, every label maps to itself and 255 to kIgnore.
  LabelSet label_set;
  std::vector<PackSplit> splits;
};

inline constexpr uint64_t kPackHeaderSize = 64, kPackAlignment = 64;

/// The bytes of the index; of `index.label_set` its name, void policy, classes, colours and ids.
std::vector<uint8_t> encode_pack_index(const PackIndex& index);

/// The header of a pack whose index of these bytes lies at `index_offset` and ends the file.
std::vector<uint8_t> encode_pack_header(std::span<const uint8_t> index, uint64_t index_offset);

/// The index of a whole pack. Every offset and size of it lies in the file, raw photos and labels
/// have the size that height and width say; contents of the records are not looked at. Throws
/// InputError naming `name` when `pack` is not a pack, of another version, cut off or damaged.
PackIndex parse_pack(std::span<const uint8_t> pack, std::string_view name);

}  // namespace macadam
