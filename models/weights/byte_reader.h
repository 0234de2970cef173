#pragma once
// Little-endian numbers out of bytes that nobody vouches for.

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>

#include "base/error.h"

namespace macadam {

/// The remedy for files that are cut off or contradict themselves.
inline constexpr std::string_view kDownloadAgain = "copy or download the file again";

[[noreturn]] inline void damaged(std::string_view what, std::string_view file) {
  throw InputError(what, file, kDownloadAgain);
}

inline std::string_view text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// Walks forward through `bytes`; whoever asks for more than there is gets an InputError that names
/// `file` and the `part` of it that is cut off.
class ByteReader {
 public:
  ByteReader(std::span<const std::byte> bytes, std::string_view file, std::string_view part)
      : bytes_(bytes), file_(file), part_(part) {}

  size_t position() const { return position_; }
  size_t left() const { return bytes_.size() - position_; }

  std::span<const std::byte> take(uint64_t count) {
    if (count > left()) damaged("the file ends inside " + std::string(part_), file_);
    const auto taken = bytes_.subspan(position_, count);
    position_ += count;
    return taken;
  }

  template <typename T>
  T number() {
    T value;
    std::memcpy(&value, take(sizeof(T)).data(), sizeof(T));
    return value;
  }

 private:
  std::span<const std::byte> bytes_;
  std::string_view file_, part_;
  size_t position_ = 0;
};

}  // namespace macadam
