#pragma once
// The door to libdeflate; deflate.cpp alone includes it.

#include <cstdint>
#include <span>

namespace macadam {

/// CRC-32 of PNG and zlib (polynomial 0xEDB88320).
uint32_t crc32(std::span<const uint8_t> bytes);

enum class InflateResult : uint8_t {
  exact,      // `out` is full and the stream ended with it
  damaged,    // not a zlib stream, cut off, or another checksum
  too_short,  // fewer bytes than `out` has room for
  too_long,   // more
};

/// Inflates a zlib stream into `out`, and no further. Bytes behind the stream are passed over.
InflateResult inflate_zlib(std::span<const uint8_t> stream, std::span<uint8_t> out);

}  // namespace macadam
