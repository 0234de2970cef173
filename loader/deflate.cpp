#include "loader/deflate.h"

#include <libdeflate.h>

#include <memory>
#include <new>

namespace macadam {

uint32_t crc32(std::span<const uint8_t> bytes) {
  return libdeflate_crc32(0, bytes.data(), bytes.size());
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

}  // namespace macadam
