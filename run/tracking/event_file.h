#pragma once
// TensorBoard's event files: records of TensorFlow's Event message (tensorflow/core/util/
// event.proto, framework/summary.proto), each framed by its length and two checksums (TFRecord).

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <functional>
#include <span>
#include <string>
#include <string_view>

namespace macadam {

/// CRC-32C (Castagnoli) of the bytes, as RFC 3720 has it.
uint32_t crc32c(std::string_view bytes);

/// A message of Protocol Buffers under construction, field by field.
class ProtoMessage {
 public:
  ProtoMessage& integer(int field, int64_t value);
  ProtoMessage& number(int field, double value);       // of type double
  ProtoMessage& small_number(int field, float value);  // of type float
  ProtoMessage& bytes(int field, std::string_view value);
  ProtoMessage& message(int field, const ProtoMessage& value) { return bytes(field, value.text_); }
  const std::string& text() const { return text_; }

 private:
  void key(int field, int wire_type);
  void varint(uint64_t value);

  std::string text_;
};

class EventFile {
 public:
  /// Whether an event with that tag, at that step, is of the run that goes on.
  using Keep = std::function<bool(std::string_view tag, int64_t step)>;

  /// Opens a file, or makes it; of what it holds stays what `keep` accepts, and no damaged record.
  /// Throws RunError when it cannot be read or written.
  EventFile(std::filesystem::path path, const Keep& keep);

  /// A Summary with one Value, which has its tag already.
  void add(int64_t step, const ProtoMessage& value);
  /// Hands everything to the operating system. Throws RunError when that fails.
  void flush();

 private:
  std::filesystem::path path_;
  std::ofstream stream_;
};

/// The records of a file, up to the first damaged one.
std::vector<std::string> read_records(std::string_view file);

/// What an Event says: its step, and the tag of its first value; a tag of "" is none.
struct EventHead {
  int64_t step = 0;
  std::string tag;
};
EventHead read_event_head(std::string_view event);

}  // namespace macadam
