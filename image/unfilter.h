#pragma once
// Undoing the filters that PNG applies to rows before compression.
// Source: PNG specification (W3C, third edition), section 9.

#include <cstddef>
#include <cstdint>
#include <span>

namespace macadam {

/// How many rows' bytes `out` must at least begin before `filtered` to share a buffer with it: as
/// many rows are undone together.
inline constexpr size_t kUnfilterLead = 4;

/// filtered: `rows` rows of a filter type (0 to 4) and `row_bytes` bytes. out: the same rows
/// without their filter types; elsewhere, or kUnfilterLead * row_bytes before `filtered`.
/// `pixel_bytes` is the distance of the bytes that a filter relates: 1 to 4; it divides row_bytes.
/// Returns false when a filter type is unknown (`out` is then unfinished).
bool unfilter_rows(std::span<const uint8_t> filtered, size_t rows, size_t row_bytes,
                   int pixel_bytes, std::span<uint8_t> out);

}  // namespace macadam
