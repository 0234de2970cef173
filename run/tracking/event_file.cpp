#include "run/tracking/event_file.h"

#include <array>
#include <bit>
#include <chrono>
#include <cstring>
#include <optional>

#include "base/error.h"
#include "base/files.h"
#include "base/to_size.h"

namespace macadam {

namespace {

static_assert(std::endian::native == std::endian::little, "numbers are written as they lie");

constexpr size_t kMaxFileBytes = size_t{4} << 30;
constexpr int kVarint = 0, kEightBytes = 1, kBytes = 2, kFourBytes = 5;  // wire types

constexpr std::array<uint32_t, 256> crc_table() {
  std::array<uint32_t, 256> table{};
  for (uint32_t i = 0; i < table.size(); ++i) {
    uint32_t c = i;
    for (int bit = 0; bit < 8; ++bit) c = (c >> 1) ^ ((c & 1) != 0 ? 0x82F63B78u : 0u);
    table[i] = c;
  }
  return table;
}

/// TFRecord's checksum: one of a checksum would be weak.
uint32_t masked_crc(std::string_view bytes) {
  const uint32_t crc = crc32c(bytes);
  return std::rotr(crc, 15) + 0xA282EAD8u;
}

template <typename T>
std::string_view bytes_of(const T& value) {
  return {reinterpret_cast<const char*>(&value), sizeof(T)};
}

template <typename T>
T read_as(std::string_view bytes) {
  T value;
  std::memcpy(&value, bytes.data(), sizeof(T));
  return value;
}

std::string framed(std::string_view record) {
  const uint64_t length = record.size();
  const uint32_t length_crc = masked_crc(bytes_of(length)), crc = masked_crc(record);
  std::string text;
  text.reserve(record.size() + 16);
  text.append(bytes_of(length)).append(bytes_of(length_crc)).append(record).append(bytes_of(crc));
  return text;
}

/// The fields of a message, one after the other.
class ProtoReader {
 public:
  explicit ProtoReader(std::string_view text) : left_(text) {}

  /// The next field; false at the end, and where the message is damaged.
  bool next() {
    const std::optional<uint64_t> key = varint();
    if (!key) return false;
    field = static_cast<int>(*key >> 3);
    switch (static_cast<int>(*key & 7)) {
      case kVarint: {
        const std::optional<uint64_t> value = varint();
        integer = static_cast<int64_t>(value.value_or(0));
        return value.has_value();
      }
      case kEightBytes: return take(8);
      case kFourBytes: return take(4);
      case kBytes: {
        const std::optional<uint64_t> size = varint();
        return size && *size <= left_.size() && take(*size);
      }
      default: return false;
    }
  }

  int field = 0;
  int64_t integer = 0;
  std::string_view bytes;

 private:
  std::optional<uint64_t> varint() {
    uint64_t value = 0;
    for (int shift = 0; shift < 64 && !left_.empty(); shift += 7) {
      const auto byte = static_cast<unsigned char>(left_.front());
      left_.remove_prefix(1);
      value |= uint64_t{byte & 0x7Fu} << shift;
      if ((byte & 0x80u) == 0) return value;
    }
    return std::nullopt;
  }
  bool take(size_t size) {
    if (size > left_.size()) return false;
    bytes = left_.substr(0, size);
    left_.remove_prefix(size);
    return true;
  }

  std::string_view left_;
};

double seconds_of_the_epoch() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

std::string version_event() {
  return ProtoMessage().number(1, seconds_of_the_epoch()).bytes(3, "brain.Event:2").text();
}

}  // namespace

uint32_t crc32c(std::string_view bytes) {
  static constexpr std::array<uint32_t, 256> kTable = crc_table();
  uint32_t crc = ~0u;
  for (const char byte : bytes) {
    crc = kTable[(crc ^ static_cast<unsigned char>(byte)) & 0xFFu] ^ (crc >> 8);
  }
  return ~crc;
}

void ProtoMessage::varint(uint64_t value) {
  for (; value >= 0x80; value >>= 7) text_ += static_cast<char>((value & 0x7F) | 0x80);
  text_ += static_cast<char>(value);
}

void ProtoMessage::key(int field, int wire_type) {
  varint(static_cast<uint64_t>(field) << 3 | static_cast<uint64_t>(wire_type));
}

ProtoMessage& ProtoMessage::integer(int field, int64_t value) {
  key(field, kVarint);
  varint(static_cast<uint64_t>(value));
  return *this;
}

ProtoMessage& ProtoMessage::number(int field, double value) {
  key(field, kEightBytes);
  text_.append(bytes_of(value));
  return *this;
}

ProtoMessage& ProtoMessage::small_number(int field, float value) {
  key(field, kFourBytes);
  text_.append(bytes_of(value));
  return *this;
}

ProtoMessage& ProtoMessage::bytes(int field, std::string_view value) {
  key(field, kBytes);
  varint(value.size());
  text_.append(value);
  return *this;
}

std::vector<std::string> read_records(std::string_view file) {
  constexpr size_t kHead = 12, kTail = 4;  // length and its checksum; the record's
  std::vector<std::string> records;
  while (file.size() >= kHead + kTail) {
    const auto length = read_as<uint64_t>(file);
    const bool sound = read_as<uint32_t>(file.substr(8)) == masked_crc(file.substr(0, 8)) &&
                       length <= file.size() - kHead - kTail;
    if (!sound) break;
    const std::string_view record = file.substr(kHead, length);
    if (read_as<uint32_t>(file.substr(kHead + length)) != masked_crc(record)) break;
    records.emplace_back(record);
    file.remove_prefix(kHead + length + kTail);
  }
  return records;
}

EventHead read_event_head(std::string_view event) {
  EventHead head;
  for (ProtoReader fields(event); fields.next();) {
    if (fields.field == 2) head.step = fields.integer;
    if (fields.field != 5) continue;
    for (ProtoReader summary(fields.bytes); head.tag.empty() && summary.next();) {
      if (summary.field != 1) continue;
      for (ProtoReader value(summary.bytes); value.next();) {
        if (value.field == 1) head.tag = value.bytes;
      }
    }
  }
  return head;
}

EventFile::EventFile(std::filesystem::path path, const Keep& keep) : path_(std::move(path)) {
  std::string kept = framed(version_event());
  if (std::filesystem::exists(path_)) {
    for (const std::string& record : read_records(read_file(path_, kMaxFileBytes))) {
      const EventHead head = read_event_head(record);
      if (!head.tag.empty() && keep(head.tag, head.step)) kept += framed(record);
    }
  }
  write_file_atomically(path_, kept);
  stream_.open(path_, std::ios::app | std::ios::binary);
  flush();
}

void EventFile::add(int64_t step, const ProtoMessage& value) {
  ProtoMessage event;
  event.number(1, seconds_of_the_epoch()).integer(2, step);
  event.message(5, ProtoMessage().message(1, value));
  stream_ << framed(event.text());
}

void EventFile::flush() {
  stream_.flush();
  if (!stream_) {
    throw RunError("cannot write the events", path_.string(),
                   "free some space, or train with tracking.tensorboard=false");
  }
}

}  // namespace macadam
