#include "loader/resize.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <utility>
#include <vector>

#include "kernels/error.h"

namespace macadam {

namespace {

constexpr int kWeightBits = 11;
constexpr int kOne = 1 << kWeightBits;

/// One target position: source indices `low` and `high`, and the weight of `high` of kOne.
struct Tap {
  int low, high, weight;
};

std::vector<Tap> make_taps(int in, int out) {
  std::vector<Tap> taps(static_cast<size_t>(out));
  const double scale = static_cast<double>(in) / out;
  for (int target = 0; target < out; ++target) {
    const double centre = std::clamp((target + 0.5) * scale - 0.5, 0.0, in - 1.0);
    const int low = static_cast<int>(centre);
    const int weight = static_cast<int>(std::lround((centre - low) * kOne));
    taps[static_cast<size_t>(target)] = {low, std::min(low + 1, in - 1), weight};
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

template <int kChannels>
void resize_rows(const Image& image, int height, int width, uint8_t* out) {
  const std::vector<Tap> columns = make_taps(image.width, width);
  const std::vector<Tap> rows = make_taps(image.height, height);
  const size_t row_size = static_cast<size_t>(width) * kChannels;
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
    out += row_size;
  }
}

void require_sizes(const Image& image, int height, int width, size_t out_size) {
  require(image.height > 0 && image.width > 0 && height > 0 && width > 0, "sizes are positive");
  require(out_size == static_cast<size_t>(height) * width * image.channels,
          "out has the size of the result");
}

}  // namespace

void resize_bilinear(const Image& image, int height, int width, std::span<uint8_t> out) {
  require_sizes(image, height, width, out.size());
  if (image.height == height && image.width == width) {
    std::copy(image.pixels.begin(), image.pixels.end(), out.begin());
    return;
  }
  switch (image.channels) {
    case 1: return resize_rows<1>(image, height, width, out.data());
    case 3: return resize_rows<3>(image, height, width, out.data());
    case 4: return resize_rows<4>(image, height, width, out.data());
    default: require(false, "an image has 1, 3 or 4 channels");
  }
}

Image resize_bilinear(const Image& image, int height, int width) {
  Image out(height, width, image.channels);
  resize_bilinear(image, height, width, out.pixels);
  return out;
}

void resize_nearest(const Image& image, int height, int width, std::span<uint8_t> out) {
  require_sizes(image, height, width, out.size());
  const size_t channels = static_cast<size_t>(image.channels);
  std::vector<int> columns(static_cast<size_t>(width));
  for (int x = 0; x < width; ++x) {
    columns[static_cast<size_t>(x)] = nearest_source(x, image.width, width);
  }
  uint8_t* target = out.data();
  for (int y = 0; y < height; ++y) {
    const int source_row = nearest_source(y, image.height, height);
    for (const int x : columns) {
      const uint8_t* source = image.at(source_row, x);
      for (size_t c = 0; c < channels; ++c) *target++ = source[c];
    }
  }
}

Image resize_nearest(const Image& image, int height, int width) {
  Image out(height, width, image.channels);
  resize_nearest(image, height, width, out.pixels);
  return out;
}

}  // namespace macadam
