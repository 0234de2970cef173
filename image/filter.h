#pragma once
// The filters that PNG applies to rows before compression; image/unfilter.h undoes them.
// Source: PNG specification (W3C, third edition), sections 9 and 12.7.

#include <cstddef>
#include <cstdint>
#include <span>

namespace macadam {

/// pixels: `rows` rows of `row_bytes` bytes. out: the same rows, each behind the type of the filter
/// whose differences, taken as signed bytes, have the smallest sum of magnitudes; of equal sums the
/// first in the order up, paeth, average, sub, none. `pixel_bytes` is the distance of the bytes
/// that a filter relates: 1, 3 or 4; it divides row_bytes. Returns the sum of the rows' sums.
uint64_t filter_rows(std::span<const uint8_t> pixels, size_t rows, size_t row_bytes,
                     int pixel_bytes, std::span<uint8_t> out);

}  // namespace macadam
