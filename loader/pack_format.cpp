#include "loader/pack_format.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <filesystem>

#include "base/error.h"
#include "base/files.h"
#include "base/rgb.h"
#include "image/deflate.h"
#include "image/image.h"

namespace macadam {

namespace {

// Header: magic, version, checksum of the index, size of the file, offset of the index, checksum of
// the bytes before it, zeros.
constexpr std::array<uint8_t, 8> kMagic{'M', 'A', 'C', 'A', 'D', 'P', 'C', 'K'};
constexpr uint32_t kVersion = 1;
constexpr size_t kHeaderChecksumAt = 32;
constexpr size_t kMaxText = 4096;
constexpr size_t kLeastRecord = 56;  // bytes in the index: four empty texts, then numbers

class ByteWriter {
 public:
  void u8(uint8_t value) { bytes.push_back(value); }
  void u32(uint32_t value) { number(value, 4); }
  void u64(uint64_t value) { number(value, 8); }
  void text(const std::string& value) {
    if (value.size() > kMaxText) {
      throw InputError(fmt::format("a name has more than {} bytes", kMaxText), value.substr(0, 80),
                       "shorten it");
    }
    u32(static_cast<uint32_t>(value.size()));
    bytes.insert(bytes.end(), value.begin(), value.end());
  }

  std::vector<uint8_t> bytes;

 private:
  void number(uint64_t value, int count) {
    for (int i = 0; i < count; ++i) bytes.push_back(static_cast<uint8_t>(value >> (8 * i)));
  }
};

[[noreturn]] void fail(std::string_view what, std::string_view name) {
  throw InputError(what, name, "pack the data set again, or copy the file again");
}

/// Reads numbers and texts one after the other; running out of bytes is an InputError.
class ByteReader {
 public:
  ByteReader(std::span<const uint8_t> bytes, std::string_view name) : bytes_(bytes), name_(name) {}

  uint8_t u8() { return static_cast<uint8_t>(number(1)); }
  uint32_t u32() { return static_cast<uint32_t>(number(4)); }
  uint64_t u64() { return number(8); }
  std::string text() {
    const size_t size = u32();
    if (size > kMaxText) damaged("a text is too long");
    const auto part = take(size);
    return {part.begin(), part.end()};
  }
  /// A count of things of which each has at least `least` bytes.
  size_t count(size_t least) {
    const size_t value = u32();
    if (value > bytes_.size() / least) damaged("a count is too large");
    return value;
  }
  template <typename Enum>
  Enum choice(Enum last) {
    const uint8_t value = u8();
    if (value > static_cast<uint8_t>(last)) damaged("an unknown kind");
    return static_cast<Enum>(value);
  }
  bool at_end() const { return bytes_.empty(); }
  std::string_view name() const { return name_; }
  [[noreturn]] void damaged(std::string_view why) const {
    fail(fmt::format("the index of the pack is damaged ({})", why), name_);
  }

 private:
  std::span<const uint8_t> take(size_t count) {
    if (count > bytes_.size()) damaged("it ends too early");
    const auto part = bytes_.first(count);
    bytes_ = bytes_.subspan(count);
    return part;
  }
  uint64_t number(size_t count) {
    const auto part = take(count);
    uint64_t value = 0;
    for (size_t i = 0; i < count; ++i) value |= static_cast<uint64_t>(part[i]) << (8 * i);
    return value;
  }

  std::span<const uint8_t> bytes_;
  std::string_view name_;
};

void write_label_set(const LabelSet& set, ByteWriter& out) {
  out.text(set.name);
  out.u8(set.void_is_class ? 1 : 0);
  out.u32(static_cast<uint32_t>(set.class_names.size()));
  for (size_t c = 0; c < set.class_names.size(); ++c) {
    out.text(set.class_names[c]);
    for (const uint8_t channel : set.palette[c]) out.u8(channel);
    out.u8(set.file_ids[c]);
  }
}

LabelSet read_label_set(ByteReader& in) {
  LabelSet set;
  set.name = in.text();
  set.void_is_class = in.u8() != 0;
  const size_t classes = in.count(1);
  if (classes == 0 || classes > kIgnore) in.damaged("no class, or too many");
  set.label_of_id.fill(kIgnore);
  set.known_id[kIgnore] = true;
  for (size_t c = 0; c < classes; ++c) {
    set.class_names.push_back(in.text());
    Rgb color{};
    for (uint8_t& channel : color) channel = in.u8();
    set.palette.push_back(color);
    set.file_ids.push_back(in.u8());
    set.label_of_id[c] = static_cast<uint8_t>(c);
    set.known_id[c] = true;
  }
  return set;
}

void write_record(const PackRecord& record, ByteWriter& out) {
  for (const std::string* text : {&record.id, &record.sequence, &record.image, &record.mask}) {
    out.text(*text);
  }
  out.u32(record.height);
  out.u32(record.width);
  out.u64(record.offset);
  out.u64(record.photo_size);
  out.u64(record.labels_size);
  out.u32(record.photo_checksum);
  out.u32(record.labels_checksum);
}

PackRecord read_record(ByteReader& in) {
  PackRecord record;
  for (std::string* text : {&record.id, &record.sequence, &record.image, &record.mask}) {
    *text = in.text();
  }
  record.height = in.u32();
  record.width = in.u32();
  record.offset = in.u64();
  record.photo_size = in.u64();
  record.labels_size = in.u64();
  record.photo_checksum = in.u32();
  record.labels_checksum = in.u32();
  return record;
}

/// `end`: the first byte behind the records.
void check_record(const PackRecord& record, const PackIndex& index, uint64_t end,
                  const ByteReader& in) {
  // Ids name output files.
  const std::filesystem::path id(record.id);
  if (id.empty() || id.is_absolute() || std::ranges::find(id, "..") != id.end()) {
    in.damaged("the id of a record");
  }
  check_limits(record.height, record.width, fmt::format("{}, {}", in.name(), record.image));
  const uint64_t pixels = uint64_t{record.height} * record.width;
  if (pixels == 0) in.damaged("the size of an image");
  if (record.offset < kPackHeaderSize || record.offset > end ||
      record.photo_size > end - record.offset ||
      record.labels_size > end - record.offset - record.photo_size) {
    in.damaged("a record lies outside the file");
  }
  if ((index.photos == PhotoCoding::raw && record.photo_size != 3 * pixels) ||
      (index.labels == LabelCoding::raw && record.labels_size != pixels)) {
    in.damaged("a record has another size than its image");
  }
}

PackIndex read_index(ByteReader& in, uint64_t end) {
  PackIndex index;
  index.name = in.text();
  index.layout = in.choice(Layout::plain);
  index.photos = in.choice(PhotoCoding::jpeg);
  index.labels = in.choice(LabelCoding::runs);
  index.label_set = read_label_set(in);
  const size_t splits = in.count(1);
  for (size_t s = 0; s < splits; ++s) {
    PackSplit split;
    split.name = in.text();
    for (size_t c = 0; c < index.label_set.class_names.size(); ++c) {
      split.class_pixels.push_back(in.u64());
    }
    split.ignored_pixels = in.u64();
    const size_t records = in.count(kLeastRecord);
    for (size_t r = 0; r < records; ++r) {
      split.records.push_back(read_record(in));
      check_record(split.records.back(), index, end, in);
    }
    index.splits.push_back(std::move(split));
  }
  if (!in.at_end()) in.damaged("it ends too late");
  return index;
}

}  // namespace

std::vector<uint8_t> encode_pack_index(const PackIndex& index) {
  ByteWriter out;
  out.text(index.name);
  out.u8(static_cast<uint8_t>(index.layout));
  out.u8(static_cast<uint8_t>(index.photos));
  out.u8(static_cast<uint8_t>(index.labels));
  write_label_set(index.label_set, out);
  out.u32(static_cast<uint32_t>(index.splits.size()));
  for (const PackSplit& split : index.splits) {
    out.text(split.name);
    for (const uint64_t pixels : split.class_pixels) out.u64(pixels);
    out.u64(split.ignored_pixels);
    out.u32(static_cast<uint32_t>(split.records.size()));
    for (const PackRecord& record : split.records) write_record(record, out);
  }
  return std::move(out.bytes);
}

std::vector<uint8_t> encode_pack_header(std::span<const uint8_t> index, uint64_t index_offset) {
  ByteWriter out;
  out.bytes.assign(kMagic.begin(), kMagic.end());
  out.u32(kVersion);
  out.u32(crc32(index));
  out.u64(index_offset + index.size());
  out.u64(index_offset);
  out.u32(crc32(out.bytes));
  out.bytes.resize(kPackHeaderSize);
  return std::move(out.bytes);
}

PackIndex parse_pack(std::span<const uint8_t> pack, std::string_view name) {
  if (pack.size() < kMagic.size() || !std::equal(kMagic.begin(), kMagic.end(), pack.begin())) {
    refuse_git_lfs_pointer(std::as_bytes(pack), name);
    throw InputError("not a pack", name, "make one with `macadam pack`");
  }
  if (pack.size() < kPackHeaderSize) fail("the pack is cut off in its header", name);
  ByteReader header(pack.subspan(kMagic.size(), kPackHeaderSize - kMagic.size()), name);
  const uint32_t version = header.u32();
  if (version != kVersion) {
    throw InputError(
        fmt::format("a pack of version {}, this program reads version {}", version, kVersion), name,
        "pack the data set again with this program");
  }
  const uint32_t index_checksum = header.u32();
  const uint64_t file_size = header.u64(), index_offset = header.u64();
  if (header.u32() != crc32(pack.first(kHeaderChecksumAt))) {
    fail("the header of the pack is damaged", name);
  }
  if (pack.size() != file_size) {
    fail(fmt::format("the pack has {} of {} bytes", pack.size(), file_size), name);
  }
  if (index_offset < kPackHeaderSize || index_offset > file_size) {
    fail("the header of the pack is damaged", name);
  }
  const auto bytes = pack.subspan(index_offset);
  if (crc32(bytes) != index_checksum) {
    fail("the index of the pack is damaged (its checksum does not hold)", name);
  }
  ByteReader in(bytes, name);
  return read_index(in, index_offset);
}

}  // namespace macadam
