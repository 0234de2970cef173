#include "image/unfilter.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

#include "base/error.h"
#include "base/to_size.h"
#include "image/png.h"

namespace macadam {

namespace {

void undo_up(const uint8_t* in, const uint8_t* above, size_t row_bytes, uint8_t* out) {
  for (size_t i = 0; i < row_bytes; ++i) out[i] = static_cast<uint8_t>(in[i] + above[i]);
}

template <size_t kPixel>
void undo_sub(const uint8_t* in, size_t row_bytes, uint8_t* out) {
  std::array<uint8_t, kPixel> left{};
  for (size_t i = 0; i < row_bytes; i += kPixel) {
    for (size_t c = 0; c < kPixel; ++c) {
      left[c] = static_cast<uint8_t>(in[i + c] + left[c]);
      out[i + c] = left[c];
    }
  }
}

template <size_t kPixel>
void undo_average(const uint8_t* in, const uint8_t* above, size_t row_bytes, uint8_t* out) {
  std::array<uint8_t, kPixel> left{};
  for (size_t i = 0; i < row_bytes; i += kPixel) {
    for (size_t c = 0; c < kPixel; ++c) {
      left[c] = static_cast<uint8_t>(in[i + c] + (left[c] + above[i + c]) / 2);
      out[i + c] = left[c];
    }
  }
}

// Paeth's filter makes every pixel wait for its left neighbour, and photos use hardly any other.
// So up to four rows are undone at once, each a pixel behind the row above it: a 16-byte vector
// holds a pixel (at most 4 bytes) of each of the four rows.
constexpr size_t kLanes = kUnfilterLead, kLaneBytes = 4;

using Bytes = uint8_t __attribute__((vector_size(kLanes * kLaneBytes)));
using Lanes = uint32_t __attribute__((vector_size(kLanes * kLaneBytes)));

Bytes minimum(Bytes x, Bytes y) { return x < y ? x : y; }
Bytes maximum(Bytes x, Bytes y) { return x > y ? x : y; }
Bytes distance(Bytes x, Bytes y) { return maximum(x, y) - minimum(x, y); }

/// Of left, above and corner (above the left) the one nearest to left + above - corner; the
/// earlier one where two are as near.
Bytes paeth(Bytes left, Bytes above, Bytes corner) {
  const Bytes to_left = distance(above, corner), to_above = distance(left, corner);
  // The distance to the corner is that of left + above to twice the corner. On one side of it both
  // add up, and the corner is never the nearest; else they subtract.
  const auto one_side = (left >= corner) == (above >= corner);
  const Bytes to_corner = distance(to_left, to_above) | reinterpret_cast<Bytes>(one_side);
  const Bytes nearer = to_left <= to_above ? left : above;
  return to_corner < minimum(to_left, to_above) ? corner : nearer;
}

uint32_t load(const uint8_t* from, size_t count) {
  uint32_t value = 0;
  std::memcpy(&value, from, count);
  return value;
}

/// Undoes `rows` (at most kLanes) successive rows, the first of which lies below `above`.
template <size_t kPixel>
void undo_paeth(const uint8_t* in, const uint8_t* above, size_t rows, size_t row_bytes,
                uint8_t* out) {
  const size_t in_stride = row_bytes + 1, pixels = row_bytes / kPixel;
  Lanes left{}, corner{};

  // One step: row k is at pixel step - k. Where that lies outside of the row, a lane works with
  // zeros before the first pixel, and its result is not used behind the last.
  const auto advance = [&](const Lanes& coded, uint32_t first_above) {
    const Lanes up = __builtin_shufflevector(Lanes{first_above}, left, 0, 4, 5, 6);
    const Bytes predicted = paeth(reinterpret_cast<Bytes>(left), reinterpret_cast<Bytes>(up),
                                  reinterpret_cast<Bytes>(corner));
    left = reinterpret_cast<Lanes>(reinterpret_cast<Bytes>(coded) + predicted);
    corner = up;
  };
  const auto careful_step = [&](size_t step) {
    Lanes coded{};
    for (size_t k = 0; k < rows; ++k) {
      if (step >= k && step - k < pixels) {
        coded[k] = load(in + k * in_stride + (step - k) * kPixel, kPixel);
      }
    }
    advance(coded, step < pixels ? load(above + step * kPixel, kPixel) : 0);
    for (size_t k = 0; k < rows; ++k) {
      const uint32_t pixel = left[k];
      if (step >= k && step - k < pixels) {
        std::memcpy(out + k * row_bytes + (step - k) * kPixel, &pixel, kPixel);
      }
    }
  };

  size_t step = 0;
  const size_t steps = pixels + rows - 1;
  if (rows == kLanes) {
    while (step < std::min(kLanes - 1, steps)) careful_step(step++);
    // Whole lanes are read and written, as long as the next bytes belong to the same row: what is
    // written too far, the row's next step replaces.
    for (; step * kPixel + kLaneBytes <= row_bytes; ++step) {
      const uint8_t* from = in + step * kPixel;
      const size_t back = in_stride - kPixel;
      const Lanes coded{load(from, kLaneBytes), load(from + back, kLaneBytes),
                        load(from + 2 * back, kLaneBytes), load(from + 3 * back, kLaneBytes)};
      advance(coded, load(above + step * kPixel, kLaneBytes));
      uint8_t* to = out + step * kPixel;
      for (size_t k = 0; k < kLanes; ++k) {
        const uint32_t pixel = left[k];
        std::memcpy(to + k * (row_bytes - kPixel), &pixel, kLaneBytes);
      }
    }
  }
  while (step < steps) careful_step(step++);
}

constexpr auto kPaeth = static_cast<uint8_t>(PngFilter::paeth);

template <size_t kPixel>
bool undo_all(const uint8_t* in, size_t rows, size_t row_bytes, uint8_t* out) {
  const size_t in_stride = row_bytes + 1;
  const std::vector<uint8_t> zeros(row_bytes);
  const uint8_t* above = zeros.data();
  for (size_t row = 0; row < rows;) {
    size_t done = 1;
    switch (static_cast<PngFilter>(*in)) {
      case PngFilter::none: std::memcpy(out, in + 1, row_bytes); break;
      case PngFilter::sub: undo_sub<kPixel>(in + 1, row_bytes, out); break;
      case PngFilter::up: undo_up(in + 1, above, row_bytes, out); break;
      case PngFilter::average: undo_average<kPixel>(in + 1, above, row_bytes, out); break;
      case PngFilter::paeth:
        while (done < kLanes && row + done < rows && in[done * in_stride] == kPaeth) ++done;
        undo_paeth<kPixel>(in + 1, above, done, row_bytes, out);
        break;
      default: return false;
    }
    row += done;
    in += done * in_stride;
    out += done * row_bytes;
    above = out - row_bytes;
  }
  return true;
}

}  // namespace

bool unfilter_rows(std::span<const uint8_t> filtered, size_t rows, size_t row_bytes,
                   int pixel_bytes, std::span<uint8_t> out) {
  require(row_bytes > 0 && filtered.size() == rows * (row_bytes + 1),
          "the filtered rows are there");
  require(out.size() == rows * row_bytes, "out has the rows' size");
  require(row_bytes % to_size(pixel_bytes) == 0, "rows are whole pixels");
  switch (pixel_bytes) {
    case 1: return undo_all<1>(filtered.data(), rows, row_bytes, out.data());
    case 2: return undo_all<2>(filtered.data(), rows, row_bytes, out.data());
    case 3: return undo_all<3>(filtered.data(), rows, row_bytes, out.data());
    case 4: return undo_all<4>(filtered.data(), rows, row_bytes, out.data());
    default: require(false, "a pixel has 1 to 4 bytes");
  }
  return false;
}

}  // namespace macadam
