#pragma once
// The door to libdeflate; deflate.cpp alone includes it.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace macadam {

/// CRC-32 of PNG and zlib (polynomial 0xEDB88320).
uint32_t crc32(std::span<const uint8_t> bytes);

enum class InflateResult : uint8_t {
  exact,      // `out` is full and the stream ended with it
  damaged,    // not a zlib stream, cut off, or another checksum
  too_short,  // fewer bytes than `out` has room for
  too_long,   // more
};

/// The most bytes that deflate_zlib makes of `size`.
size_t deflate_bound(size_t size);

/// Compresses `bytes` into a zlib stream at the beginning of `out`; returns its size. `level`: 1
/// (fast) to 12 (small). Equal bytes give equal streams. Requires room for deflate_bound(size).
size_t deflate_zlib(std::span<const uint8_t> bytes, int level, std::span<uint8_t> out);

/// Inflates a zlib stream into `out`, and no further. Bytes behind the stream are passed over.
InflateResult inflate_zlib(std::span<const uint8_t> stream, std::span<uint8_t> out);

enum class PackedFormat : uint8_t { zlib, gzip };

/// Inflates a whole stream of unknown length to `out`; at most `limit` bytes, else too_long, and
/// then no more than twice that is ever held. Bytes behind the stream are `damaged`.
InflateResult unpack(std::span<const uint8_t> stream, PackedFormat format, size_t limit,
                     std::string& out);

}  // namespace macadam
