#include "image/filter.h"

#include <algorithm>
#include <array>
#include <vector>

#include "base/error.h"
#include "base/to_size.h"
#include "image/png.h"

namespace macadam {

namespace {

[[gnu::always_inline]] inline uint8_t distance(uint8_t x, uint8_t y) {
  return static_cast<uint8_t>(std::max(x, y) - std::min(x, y));
}

/// What the filter expects from the left, the one above and the one above the left. In bytes
/// throughout and without branches, so that a vector holds as many as it has bytes.
template <PngFilter kFilter>
[[gnu::always_inline]] inline uint8_t predicted(uint8_t left, uint8_t above, uint8_t corner) {
  if constexpr (kFilter == PngFilter::sub) return left;
  if constexpr (kFilter == PngFilter::up) return above;
  if constexpr (kFilter == PngFilter::average) {
    const auto differing = static_cast<uint8_t>(left ^ above);
    return static_cast<uint8_t>((left & above) + (differing >> 1));
  }
  if constexpr (kFilter == PngFilter::paeth) {
    const uint8_t to_left = distance(above, corner), to_above = distance(left, corner);
    // As in unfilter.cpp: with the corner on one side of both it is never the nearest.
    const bool one_side = (left >= corner) == (above >= corner);
    const uint8_t to_corner = one_side ? 255 : distance(to_left, to_above);
    const uint8_t nearer = to_left <= to_above ? left : above;
    return to_corner < std::min(to_left, to_above) ? corner : nearer;
  }
  return 0;
}

[[gnu::always_inline]] inline uint8_t magnitude(uint8_t difference) {
  return std::min(difference, static_cast<uint8_t>(-difference));
}

/// Differences of one row to what the filter expects, into `out`; returns the sum of their
/// magnitudes. `above` is the row above.
template <PngFilter kFilter, size_t kPixel>
uint64_t filter_row(const uint8_t* row, const uint8_t* above, size_t row_bytes, uint8_t* out) {
  uint64_t sum = 0;
  for (size_t i = 0; i < kPixel; ++i) {
    out[i] = static_cast<uint8_t>(row[i] - predicted<kFilter>(0, above[i], 0));
    sum += magnitude(out[i]);
  }
  // 32 bits hold the sum of a piece, and a vector holds twice as many of them.
  constexpr size_t kPiece = size_t{1} << 24;
  for (size_t begin = kPixel; begin < row_bytes; begin += kPiece) {
    const size_t end = std::min(row_bytes, begin + kPiece);
    uint32_t piece = 0;
#pragma omp simd reduction(+ : piece)
    for (size_t i = begin; i < end; ++i) {
      const uint8_t expected = predicted<kFilter>(row[i - kPixel], above[i], above[i - kPixel]);
      const auto difference = static_cast<uint8_t>(row[i] - expected);
      out[i] = difference;
      piece += magnitude(difference);
    }
    sum += piece;
  }
  return sum;
}

template <size_t kPixel>
uint64_t filter_all(const uint8_t* row, size_t rows, size_t row_bytes, uint8_t* out) {
  const std::vector<uint8_t> zeros(row_bytes);
  std::vector<uint8_t> candidate(row_bytes);
  const uint8_t* above = zeros.data();
  uint64_t total = 0;
  for (size_t y = 0; y < rows; ++y) {
    uint64_t least = filter_row<PngFilter::up, kPixel>(row, above, row_bytes, out + 1);
    *out = static_cast<uint8_t>(PngFilter::up);
    const auto attempt = [&]<PngFilter kFilter>() {
      const uint64_t sum = filter_row<kFilter, kPixel>(row, above, row_bytes, candidate.data());
      if (sum >= least) return;
      least = sum;
      *out = static_cast<uint8_t>(kFilter);
      std::copy(candidate.begin(), candidate.end(), out + 1);
    };
    attempt.template operator()<PngFilter::paeth>();
    attempt.template operator()<PngFilter::average>();
    attempt.template operator()<PngFilter::sub>();
    attempt.template operator()<PngFilter::none>();
    total += least;
    above = row;
    row += row_bytes;
    out += row_bytes + 1;
  }
  return total;
}

}  // namespace

uint64_t filter_rows(std::span<const uint8_t> pixels, size_t rows, size_t row_bytes,
                     int pixel_bytes, std::span<uint8_t> out) {
  require(row_bytes > 0 && pixels.size() == rows * row_bytes, "the rows are there");
  require(out.size() == rows * (row_bytes + 1), "out has room for rows and filter types");
  require(row_bytes % to_size(pixel_bytes) == 0, "rows are whole pixels");
  switch (pixel_bytes) {
    case 1: return filter_all<1>(pixels.data(), rows, row_bytes, out.data());
    case 3: return filter_all<3>(pixels.data(), rows, row_bytes, out.data());
    case 4: return filter_all<4>(pixels.data(), rows, row_bytes, out.data());
    default: require(false, "a pixel has 1, 3 or 4 bytes");
  }
  return 0;
}

}  // namespace macadam
