#include "image/resize.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/to_size.h"

namespace macadam {

namespace {

constexpr int kWeightBits = 11;
constexpr int kOne = 1 << kWeightBits;

/// Target positions [begin, end) have their source within the image.
struct Inside {
  int begin, end;
};

/// Where the centre of `target` lies, in pixels from the image's edge: exact where it is whole.
double source_edge(int target, double origin, double extent, int out) {
  return origin + (2.0 * target + 1) * extent / (2.0 * out);
}

Inside inside_of(int in, double origin, double extent, int out) {
  int begin = 0, end = out;
  while (begin < end && source_edge(begin, origin, extent, out) < 0) ++begin;
  while (begin < end && source_edge(end - 1, origin, extent, out) >= in) --end;
  return {begin, end};
}

/// One target position: source indices `low` and `high`, and the weight of `high` of kOne.
struct Tap {
  int low, high, weight;
};

/// Of the targets `inside`, which make up `out` positions for [origin, origin + extent) of `in`.
std::vector<Tap> make_taps(int in, double origin, double extent, int out, Inside inside) {
  std::vector<Tap> taps;
  const double scale = extent / out;
  for (int target = inside.begin; target < inside.end; ++target) {
    const double center = std::clamp(origin + (target + 0.5) * scale - 0.5, 0.0, in - 1.0);
    const int low = static_cast<int>(center);
    const int weight = static_cast<int>(std::lround((center - low) * kOne));
    taps.push_back({low, std::min(low + 1, in - 1), weight});
  }
  return taps;
}

/// Interpolates one source row along x; values keep kWeightBits fractional bits.
template <int kChannels>
void interpolate_row(const uint8_t* row, std::span<const Tap> taps, int32_t* out) {
  for (const Tap& tap : taps) {
    const uint8_t* low = row + static_cast<ptrdiff_t>(tap.low) * kChannels;
    const uint8_t* high = row + static_cast<ptrdiff_t>(tap.high) * kChannels;
    for (int c = 0; c < kChannels; ++c) {
      *out++ = low[c] * (kOne - tap.weight) + high[c] * tap.weight;
    }
  }
}

/// out: the first target, in rows that are `stride` bytes apart.
template <int kChannels>
void resize_rows(const Image& image, std::span<const Tap> rows, std::span<const Tap> columns,
                 uint8_t* out, size_t stride) {
  const size_t row_size = columns.size() * kChannels;
  std::array<std::vector<int32_t>, 2> lines{std::vector<int32_t>(row_size),
                                            std::vector<int32_t>(row_size)};
  std::array<int, 2> line_rows{-1, -1};  // the source row that each line holds

  const auto load_line = [&](size_t line, int source) {
    if (line_rows[line] == source) return;
    interpolate_row<kChannels>(image.at(source, 0), columns, lines[line].data());
    line_rows[line] = source;
  };

  for (const Tap& tap : rows) {
    if (line_rows[1] == tap.low) {  // moving down, the lower line becomes the upper
      std::swap(lines[0], lines[1]);
      std::swap(line_rows[0], line_rows[1]);
    }
    load_line(0, tap.low);
    load_line(1, tap.high);
    const int32_t* upper = lines[0].data();
    const int32_t* lower = lines[1].data();
    const int32_t upper_weight = kOne - tap.weight, lower_weight = tap.weight;
    constexpr int32_t kHalf = 1 << (2 * kWeightBits - 1);
    for (size_t i = 0; i < row_size; ++i) {
      const int32_t sum = upper[i] * upper_weight + lower[i] * lower_weight;
      out[i] = static_cast<uint8_t>((sum + kHalf) >> (2 * kWeightBits));
    }
    out += stride;
  }
}

/// A window of an image and the part of the result whose source lies within the image.
struct Placement {
  SourceWindow window;
  int height, width;  // of the result
  Inside rows, columns;

  Placement(const Image& image, const SourceWindow& w, int h, int wd)
      : window(w),
        height(h),
        width(wd),
        rows(inside_of(image.height, w.y, w.height, h)),
        columns(inside_of(image.width, w.x, w.width, wd)) {}

  bool whole() const {
    return rows.begin == 0 && rows.end == height && columns.begin == 0 && columns.end == width;
  }
  /// Pixels are copied as they are.
  bool copies() const {
    return window.height == height && window.width == width && window.y == std::floor(window.y) &&
           window.x == std::floor(window.x);
  }
  size_t offset(int channels) const {
    return (to_size(rows.begin) * width + columns.begin) * channels;
  }
};

void copy_rows(const Image& image, const Placement& place, std::span<uint8_t> out) {
  const size_t channels = to_size(image.channels);
  const size_t bytes = to_size(place.columns.end - place.columns.begin) * channels;
  if (bytes == 0) return;
  const int y = static_cast<int>(place.window.y), x = static_cast<int>(place.window.x);
  for (int row = place.rows.begin; row < place.rows.end; ++row) {
    std::memcpy(out.data() + (to_size(row) * place.width + place.columns.begin) * channels,
                image.at(y + row, x + place.columns.begin), bytes);
  }
}

void interpolate_rows(const Image& image, const Placement& place, std::span<uint8_t> out) {
  const SourceWindow& w = place.window;
  const std::vector<Tap> rows = make_taps(image.height, w.y, w.height, place.height, place.rows);
  const std::vector<Tap> columns = make_taps(image.width, w.x, w.width, place.width, place.columns);
  if (rows.empty() || columns.empty()) return;
  uint8_t* first = out.data() + place.offset(image.channels);
  const size_t stride = to_size(place.width) * image.channels;
  switch (image.channels) {
    case 1: return resize_rows<1>(image, rows, columns, first, stride);
    case 3: return resize_rows<3>(image, rows, columns, first, stride);
    case 4: return resize_rows<4>(image, rows, columns, first, stride);
    default: require(false, "an image has 1, 3 or 4 channels");
  }
}

/// Copies the pixels at `columns` of a row one after the other; returns where the next one goes.
uint8_t* gather(const uint8_t* row, const std::vector<int>& columns, int channels, uint8_t* to) {
  if (channels == 1) {  // masks
    for (const int x : columns) *to++ = row[x];
    return to;
  }
  for (const int x : columns) to = std::copy_n(row + x * channels, channels, to);
  return to;
}

void require_sizes(const Image& image, int height, int width, size_t out_size) {
  require(image.height > 0 && image.width > 0 && height > 0 && width > 0, "sizes are positive");
  require(out_size == to_size(height) * width * image.channels, "out has the size of the result");
}

void require_window(const SourceWindow& window) {
  constexpr double kFarthest = 1 << 30;
  require(window.height > 0 && window.width > 0 && window.height < kFarthest &&
              window.width < kFarthest && std::abs(window.y) < kFarthest &&
              std::abs(window.x) < kFarthest,
          "a window has a positive size");
}

}  // namespace

void resize_bilinear(const Image& image, int height, int width, std::span<uint8_t> out) {
  require_sizes(image, height, width, out.size());
  if (image.height == height && image.width == width) {
    std::copy(image.pixels.begin(), image.pixels.end(), out.begin());
    return;
  }
  const SourceWindow all{0, 0, static_cast<double>(image.height), static_cast<double>(image.width)};
  interpolate_rows(image, Placement(image, all, height, width), out);
}

void resize_bilinear(const Image& image, const SourceWindow& window, int height, int width,
                     uint8_t fill, std::span<uint8_t> out) {
  require_sizes(image, height, width, out.size());
  require_window(window);
  const Placement place(image, window, height, width);
  if (!place.whole()) std::ranges::fill(out, fill);
  if (place.copies()) {
    copy_rows(image, place, out);
  } else {
    interpolate_rows(image, place, out);
  }
}

Image resize_bilinear(const Image& image, int height, int width) {
  Image out(height, width, image.channels);
  resize_bilinear(image, height, width, out.pixels);
  return out;
}

void resize_nearest(const Image& image, int height, int width, std::span<uint8_t> out) {
  require_sizes(image, height, width, out.size());
  std::vector<int> columns(to_size(width));
  for (int x = 0; x < width; ++x) {
    columns[to_size(x)] = nearest_source(x, image.width, width);
  }
  uint8_t* target = out.data();
  for (int y = 0; y < height; ++y) {
    const int source_row = nearest_source(y, image.height, height);
    target = gather(image.at(source_row, 0), columns, image.channels, target);
  }
}

void resize_nearest(const Image& image, const SourceWindow& window, int height, int width,
                    uint8_t fill, std::span<uint8_t> out) {
  require_sizes(image, height, width, out.size());
  require_window(window);
  const Placement place(image, window, height, width);
  if (!place.whole()) std::ranges::fill(out, fill);
  if (place.copies()) return copy_rows(image, place, out);
  const size_t channels = to_size(image.channels);
  std::vector<int> columns;
  for (int x = place.columns.begin; x < place.columns.end; ++x) {
    columns.push_back(static_cast<int>(source_edge(x, window.x, window.width, width)));
  }
  for (int y = place.rows.begin; y < place.rows.end; ++y) {
    const int source_row = static_cast<int>(source_edge(y, window.y, window.height, height));
    uint8_t* target = out.data() + (to_size(y) * width + place.columns.begin) * channels;
    gather(image.at(source_row, 0), columns, image.channels, target);
  }
}

Image resize_nearest(const Image& image, int height, int width) {
  Image out(height, width, image.channels);
  resize_nearest(image, height, width, out.pixels);
  return out;
}

}  // namespace macadam
