#include "loader/augment/crop.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>
#include <vector>

#include "base/error.h"
#include "base/to_size.h"
#include "loader/label_set.h"

namespace macadam {

namespace {

constexpr int kMaxSide = 1 << 16;

using Counts = std::array<int64_t, 256>;

/// How often each label occurs in rows [y0, y1) and columns [x0, x1).
Counts count_labels(const LabelMap& map, int y0, int y1, int x0, int x1) {
  Counts counts{};
  for (int y = y0; y < y1; ++y) {
    const uint8_t* row = map.labels.data() + static_cast<ptrdiff_t>(y) * map.width;
    for (int x = x0; x < x1; ++x) ++counts[row[x]];
  }
  counts[kIgnore] = 0;
  return counts;
}

/// The first pixel whose centre is at or behind `edge`.
int first_pixel(double edge, int extent) {
  return static_cast<int>(std::clamp(std::ceil(edge - 0.5), 0.0, static_cast<double>(extent)));
}

bool balanced(const LabelMap& map, const SourceWindow& window, double max_ratio) {
  const Counts counts = count_labels(
      map, first_pixel(window.y, map.height), first_pixel(window.y + window.height, map.height),
      first_pixel(window.x, map.width), first_pixel(window.x + window.width, map.width));
  int64_t sum = 0, most = 0, present = 0;
  for (const int64_t count : counts) {
    sum += count;
    most = std::max(most, count);
    present += count > 0 ? 1 : 0;
  }
  return present > 1 && static_cast<double>(most) < max_ratio * static_cast<double>(sum);
}

struct Pixel {
  int y = 0, x = 0;
};

/// A pixel of a class, both uniform; none where the photo has no labelled pixel.
std::optional<Pixel> draw_pixel(RandomStream& random, const LabelMap& map, const Counts& counts) {
  std::vector<uint8_t> present;
  for (size_t label = 0; label < counts.size(); ++label) {
    if (counts[label] > 0) present.push_back(static_cast<uint8_t>(label));
  }
  if (present.empty()) return std::nullopt;
  const uint8_t label = present[to_size(random.integer(0, static_cast<int>(present.size()) - 1))];
  int skip = random.integer(0, static_cast<int>(counts[label]) - 1);
  const auto pixels = static_cast<int>(map.labels.size());
  for (int i = 0; i < pixels; ++i) {
    if (map.labels[to_size(i)] == label && skip-- == 0) {
      return Pixel{i / map.width, i % map.width};
    }
  }
  return std::nullopt;
}

/// One axis: the photo has `extent` pixels and `scaled` when enlarged, the rectangle `crop`.
struct Axis {
  int extent, scaled, crop;

  Axis(int photo, double scale, int rectangle)
      : extent(photo), scaled(std::max(1, static_cast<int>(photo * scale))), crop(rectangle) {}

  int draw(RandomStream& random) const {
    return random.integer(std::min(0, scaled - crop), std::max(0, scaled - crop));
  }
  /// With the photo's pixel in the middle, as far as the edges allow.
  int centered(int pixel) const {
    const double middle = (pixel + 0.5) * scaled / extent;
    return std::clamp(static_cast<int>(std::floor(middle - crop / 2.0)), std::min(0, scaled - crop),
                      std::max(0, scaled - crop));
  }
  double in_photo(int position) const { return static_cast<double>(position) * extent / scaled; }
};

}  // namespace

void RandomScale::describe(Fields& fields) {
  fields.range("scale_limit", scale_limit, Scalar::symmetric, -0.99, 10);
}

double RandomScale::draw(RandomStream& random) const {
  return random.uniform(1 + scale_limit.low, 1 + scale_limit.high);
}

void RandomCrop::describe(Fields& fields, ImageSize size) {
  if (!fields.given("height")) height = size.height;
  if (!fields.given("width")) width = size.width;
  fields.integer("height", height, 1, kMaxSide);
  fields.integer("width", width, 1, kMaxSide);
  fields.number("class_uniform", class_uniform, 0, 1);
  fields.number("cat_max_ratio", cat_max_ratio, 0, 1);
}

SourceWindow RandomCrop::draw(RandomStream& random, double scale, const LabelMap& photo) const {
  require(!needs_labels() || photo.labels.size() == to_size(photo.height) * to_size(photo.width),
          "a crop that looks at labels has them");
  const Axis down(photo.height, scale, height), across(photo.width, scale, width);
  std::optional<Counts> counts;  // of the whole photo, where the middle is drawn by class
  if (random.chance(class_uniform)) {
    counts = count_labels(photo, 0, photo.height, 0, photo.width);
  }
  SourceWindow window;
  for (int i = 0; i <= kRedraws; ++i) {
    int y = 0, x = 0;
    const std::optional<Pixel> pixel =
        counts ? draw_pixel(random, photo, *counts) : std::optional<Pixel>();
    if (pixel) {
      y = down.centered(pixel->y);
      x = across.centered(pixel->x);
    } else {
      y = down.draw(random);
      x = across.draw(random);
    }
    window = {.y = down.in_photo(y),
              .x = across.in_photo(x),
              .height = down.in_photo(height),
              .width = across.in_photo(width)};
    if (cat_max_ratio >= 1 || balanced(photo, window, cat_max_ratio)) break;
  }
  return window;
}

}  // namespace macadam
