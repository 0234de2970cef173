#include "image/deflate.h"

#include <libdeflate.h>

#include <algorithm>
#include <memory>
#include <new>

#include "base/error.h"

namespace macadam {

uint32_t crc32(std::span<const uint8_t> bytes) {
  return libdeflate_crc32(0, bytes.data(), bytes.size());
}

size_t deflate_bound(size_t size) { return libdeflate_zlib_compress_bound(nullptr, size); }

size_t deflate_zlib(std::span<const uint8_t> bytes, int level, std::span<uint8_t> out) {
  require(1 <= level && level <= 12, "a level from 1 to 12");
  require(out.size() >= deflate_bound(bytes.size()), "out has room for what does not compress");
  const std::unique_ptr<libdeflate_compressor, decltype(&libdeflate_free_compressor)> deflater(
      libdeflate_alloc_compressor(level), &libdeflate_free_compressor);
  if (!deflater) throw std::bad_alloc();
  return libdeflate_zlib_compress(deflater.get(), bytes.data(), bytes.size(), out.data(),
                                  out.size());
}

InflateResult inflate_zlib(std::span<const uint8_t> stream, std::span<uint8_t> out) {
  const std::unique_ptr<libdeflate_decompressor, decltype(&libdeflate_free_decompressor)> inflater(
      libdeflate_alloc_decompressor(), &libdeflate_free_decompressor);
  if (!inflater) throw std::bad_alloc();
  // Without a place for the size that came out, libdeflate wants `out` to be filled.
  switch (libdeflate_zlib_decompress_ex(inflater.get(), stream.data(), stream.size(), out.data(),
                                        out.size(), nullptr, nullptr)) {
    case LIBDEFLATE_SUCCESS: return InflateResult::exact;
    case LIBDEFLATE_SHORT_OUTPUT: return InflateResult::too_short;
    case LIBDEFLATE_INSUFFICIENT_SPACE: return InflateResult::too_long;
    case LIBDEFLATE_BAD_DATA: break;
  }
  return InflateResult::damaged;
}

InflateResult unpack(std::span<const uint8_t> stream, PackedFormat format, size_t limit,
                     std::string& out) {
  const std::unique_ptr<libdeflate_decompressor, decltype(&libdeflate_free_decompressor)> inflater(
      libdeflate_alloc_decompressor(), &libdeflate_free_decompressor);
  if (!inflater) throw std::bad_alloc();
  const auto inflate = format == PackedFormat::gzip ? &libdeflate_gzip_decompress_ex
                                                    : &libdeflate_zlib_decompress_ex;
  constexpr size_t kGuess = 4;  // times as large as packed
  for (size_t room = std::min(limit, kGuess * stream.size() + 1);;
       room = std::min(limit, 2 * room)) {
    out.clear();  // nothing to copy when it grows
    out.resize(room);
    size_t read = 0, written = 0;
    switch (
        inflate(inflater.get(), stream.data(), stream.size(), out.data(), room, &read, &written)) {
      case LIBDEFLATE_SUCCESS:
        out.resize(written);
        return read == stream.size() ? InflateResult::exact : InflateResult::damaged;
      case LIBDEFLATE_INSUFFICIENT_SPACE:
        if (room == limit) return InflateResult::too_long;
        break;
      default: return InflateResult::damaged;
    }
  }
}

}  // namespace macadam
