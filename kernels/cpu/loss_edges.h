#pragma once
// Where the edges between labels are.

#include <algorithm>
#include <cstdint>
#include <vector>

#include "base/to_size.h"
#include "kernels/cpu/parallel.h"
#include "kernels/loss.h"

namespace macadam::cpu {

/// Bytes of a plane, and of what it is made with, for each pixel.
constexpr size_t kEdgeBytes = 3;

/// The least and the greatest label in a window of a row or column, ignored ones left out: where
/// there is none, 255 and 0.
struct LabelRange {
  uint8_t* least;
  uint8_t* greatest;
};

/// Sets bit k of `plane`, one byte a pixel, for each edge term k where labels differ in the window
/// of pixels up to its width away, and no other bit. Windows end at the borders of an image.
inline void find_edges(const LossDesc& desc, const LossSums& layout, Shape shape,
                       const uint8_t* labels, int classes, uint8_t* plane, LabelRange rows) {
  const int64_t width = shape.w, height = shape.h, lines = int64_t{shape.n} * height;
  std::fill_n(plane, lines * width, uint8_t{0});
  for (int k = 0; k < layout.pixel_terms(); ++k) {
    if (!layout.is_edge_term(k)) continue;
    const int64_t reach = edge_width(desc.terms[k]);
    parallel_items(lines, width * reach, [&](int64_t line) {
      const uint8_t* row = labels + line * width;
      uint8_t* const least = rows.least + line * width;
      uint8_t* const greatest = rows.greatest + line * width;
      std::fill_n(least, width, uint8_t{255});
      std::fill_n(greatest, width, uint8_t{0});
      for (int64_t d = -reach; d <= reach; ++d) {
        const int64_t begin = std::max<int64_t>(0, -d), end = std::min(width, width - d);
#pragma omp simd
        for (int64_t x = begin; x < end; ++x) {
          const uint8_t label = row[x + d];
          const bool counts = label < classes && label != desc.ignore;
          const uint8_t low = counts ? label : uint8_t{255}, high = counts ? label : uint8_t{0};
          least[x] = low < least[x] ? low : least[x];
          greatest[x] = high > greatest[x] ? high : greatest[x];
        }
      }
    });
    const auto bit = static_cast<uint8_t>(1 << k);
    parallel_items(lines, width * reach, [&](int64_t line) {
      const int64_t y = line % height, image = line - y;
      const int64_t first = image + std::max<int64_t>(0, y - reach);
      const int64_t last = image + std::min(height - 1, y + reach);
      uint8_t* const out = plane + line * width;
#pragma omp simd
      for (int64_t x = 0; x < width; ++x) {
        uint8_t low = 255, high = 0;
        for (int64_t other = first; other <= last; ++other) {
          const uint8_t a = rows.least[other * width + x], b = rows.greatest[other * width + x];
          low = a < low ? a : low;
          high = b > high ? b : high;
        }
        out[x] = static_cast<uint8_t>(out[x] | (high > low ? bit : 0));
      }
    });
  }
}

}  // namespace macadam::cpu
