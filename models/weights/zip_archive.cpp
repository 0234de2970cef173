#include "models/weights/zip_archive.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "base/text.h"
#include "models/weights/byte_reader.h"

namespace macadam {

namespace {

constexpr uint32_t kLocalSignature = 0x04034b50, kCentralSignature = 0x02014b50,
                   kEndSignature = 0x06054b50, kEnd64Signature = 0x06064b50,
                   kLocator64Signature = 0x07064b50;
constexpr size_t kEndSize = 22, kLocator64Size = 20, kMaxComment = 0xffff;
constexpr uint16_t kZip64Field = 1;
constexpr uint32_t kInZip64 = 0xffffffff;

/// Where the central directory lies.
struct Directory {
  uint64_t entries = 0, size = 0, offset = 0;
};

uint32_t u32_at(std::span<const std::byte> bytes, size_t position) {
  uint32_t value;
  std::memcpy(&value, bytes.data() + position, sizeof value);
  return value;
}

/// The end record is the last one whose comment reaches the end of the file.
std::optional<size_t> find_end(std::span<const std::byte> bytes) {
  if (bytes.size() < kEndSize) return std::nullopt;
  const size_t last = bytes.size() - kEndSize;
  const size_t first = last > kMaxComment ? last - kMaxComment : 0;
  for (size_t position = last + 1; position-- > first;) {
    uint16_t comment;
    std::memcpy(&comment, bytes.data() + position + kEndSize - 2, sizeof comment);
    if (u32_at(bytes, position) == kEndSignature && position + kEndSize + comment == bytes.size()) {
      return position;
    }
  }
  return std::nullopt;
}

Directory read_directory64(std::span<const std::byte> bytes, size_t end, std::string_view file) {
  ByteReader locator(bytes.subspan(end - kLocator64Size), file, "the zip archive's directory");
  locator.take(8);
  const auto position = locator.number<uint64_t>();
  if (position > bytes.size()) damaged("the zip archive's directory lies outside the file", file);
  ByteReader record(bytes.subspan(position), file, "the zip archive's directory");
  if (record.number<uint32_t>() != kEnd64Signature) {
    damaged("the zip archive has no zip64 end record where it should be", file);
  }
  record.take(20);  // size, versions, disks
  Directory directory;
  record.take(8);  // entries on this disk
  directory.entries = record.number<uint64_t>();
  directory.size = record.number<uint64_t>();
  directory.offset = record.number<uint64_t>();
  return directory;
}

Directory read_directory(std::span<const std::byte> bytes, std::string_view file) {
  const auto end = find_end(bytes);
  if (!end) damaged("the zip archive has no end (the file is cut off, or goes on behind it)", file);
  if (*end >= kLocator64Size && u32_at(bytes, *end - kLocator64Size) == kLocator64Signature) {
    return read_directory64(bytes, *end, file);
  }
  ByteReader record(bytes.subspan(*end), file, "the zip archive's directory");
  record.take(10);  // signature, disks, entries on this disk
  Directory directory;
  directory.entries = record.number<uint16_t>();
  directory.size = record.number<uint32_t>();
  directory.offset = record.number<uint32_t>();
  return directory;
}

/// What the central directory says about one entry.
struct Header {
  uint16_t flags = 0, method = 0;
  uint64_t stored_size = 0, size = 0, local_offset = 0;
  std::string_view name;
};

/// Replaces the fields that did not fit 32 bits by those of the zip64 extra field.
void widen(Header& header, std::span<const std::byte> extra, std::string_view file) {
  ByteReader fields(extra, file, "an extra field of the zip archive");
  while (fields.left() >= 4) {
    const auto id = fields.number<uint16_t>();
    const auto content = fields.take(fields.number<uint16_t>());
    if (id != kZip64Field) continue;
    ByteReader numbers(content, file, "a zip64 field of the zip archive");
    for (uint64_t* number : {&header.size, &header.stored_size, &header.local_offset}) {
      if (*number == kInZip64) *number = numbers.number<uint64_t>();
    }
    return;
  }
}

Header read_header(ByteReader& reader, std::string_view file) {
  if (reader.number<uint32_t>() != kCentralSignature) {
    damaged("the zip archive's directory has a damaged entry", file);
  }
  reader.take(4);  // versions
  Header header;
  header.flags = reader.number<uint16_t>();
  header.method = reader.number<uint16_t>();
  reader.take(8);  // time, CRC
  header.stored_size = reader.number<uint32_t>();
  header.size = reader.number<uint32_t>();
  const auto name_size = reader.number<uint16_t>();
  const auto extra_size = reader.number<uint16_t>();
  const auto comment_size = reader.number<uint16_t>();
  reader.take(8);  // disk, attributes
  header.local_offset = reader.number<uint32_t>();
  header.name = text_of(reader.take(name_size));
  widen(header, reader.take(extra_size), file);
  reader.take(comment_size);
  return header;
}

ZipArchive::Entry read_entry(const Header& header, std::span<const std::byte> bytes,
                             std::string_view file) {
  const auto where = fmt::format("{}: {}", file, quote(header.name));
  if (header.local_offset > bytes.size()) damaged("a part of the zip archive is missing", where);
  ByteReader local(bytes.subspan(header.local_offset), where, "a part of the zip archive");
  if (local.number<uint32_t>() != kLocalSignature) {
    damaged("a part of the zip archive is not where its directory says", where);
  }
  local.take(22);  // version, flags, method, time, CRC, sizes: the directory's are the ones to use
  const auto name_size = local.number<uint16_t>();
  const auto extra_size = local.number<uint16_t>();
  if (text_of(local.take(name_size)) != header.name) {
    damaged("a part of the zip archive has two names", where);
  }
  local.take(extra_size);
  const bool encrypted = (header.flags & 1) != 0;
  const bool stored = header.method == 0 && !encrypted;
  if (stored && header.size != header.stored_size) {
    damaged("a part of the zip archive has two sizes", where);
  }
  return {header.name, local.take(header.stored_size), stored};
}

}  // namespace

ZipArchive::ZipArchive(std::span<const std::byte> bytes, std::string_view file) : file_(file) {
  const Directory directory = read_directory(bytes, file);
  if (directory.offset > bytes.size() || directory.size > bytes.size() - directory.offset) {
    damaged("the zip archive's directory lies outside the file", file);
  }
  ByteReader reader(bytes.subspan(directory.offset, directory.size), file,
                    "the zip archive's directory");
  for (uint64_t i = 0; i < directory.entries; ++i) {
    entries_.push_back(read_entry(read_header(reader, file), bytes, file));
  }

  std::ranges::sort(entries_, std::less<>{}, [](const Entry& e) { return e.bytes.data(); });
  for (size_t i = 1; i < entries_.size(); ++i) {
    const auto& before = entries_[i - 1].bytes;
    if (before.data() + before.size() > entries_[i].bytes.data()) {
      damaged("parts of the zip archive overlap",
              fmt::format("{}: {}", file, quote(entries_[i].name)));
    }
  }
  std::ranges::sort(entries_, std::less<>{}, &Entry::name);
  const auto twice = std::ranges::adjacent_find(entries_, std::equal_to<>{}, &Entry::name);
  if (twice != entries_.end()) {
    damaged("a name occurs twice in the zip archive",
            fmt::format("{}: {}", file, quote(twice->name)));
  }
}

const ZipArchive::Entry* ZipArchive::find(std::string_view name) const {
  const auto found = std::ranges::lower_bound(entries_, name, std::less<>{}, &Entry::name);
  return found != entries_.end() && found->name == name ? &*found : nullptr;
}

std::span<const std::byte> ZipArchive::content(const Entry& entry) const {
  if (!entry.stored) {
    throw InputError("a part of the zip archive is compressed or encrypted",
                     fmt::format("{}: {}", file_, quote(entry.name)),
                     "save it without compression (torch.save and numpy.savez do)");
  }
  return entry.bytes;
}

bool is_zip(std::span<const std::byte> bytes) {
  return bytes.size() >= 4 &&
         (u32_at(bytes, 0) == kLocalSignature || u32_at(bytes, 0) == kEndSignature);
}

}  // namespace macadam
