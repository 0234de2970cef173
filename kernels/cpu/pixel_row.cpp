#include "kernels/cpu/pixel_row.h"

#include <algorithm>
#include <array>
#include <type_traits>

#include "base/to_size.h"
#include "kernels/cpu/warp_row.h"
#include "kernels/scalar/clahe.h"
#include "kernels/scalar/pixel_ops.h"
#include "kernels/scalar/warp.h"

namespace macadam::cpu {

namespace {

void look_up(const uint8_t* tables, const PixelRun& run) {
  uint8_t* rgb = run.rgb;
  for (int i = 0; i < run.count; ++i, rgb += 3) {
    rgb[0] = tables[rgb[0]];
    rgb[1] = tables[256 + rgb[1]];
    rgb[2] = tables[512 + rgb[2]];
  }
}

/// Replaces every pixel by change(pixel), a function without branches.
template <typename Change>
void change_pixels(const PixelRun& run, const Change& change) {
  uint8_t* rgb = run.rgb;
#pragma omp simd
  for (int i = 0; i < run.count; ++i) {
    const scalar::Rgb to = change(scalar::Rgb{rgb[3 * i], rgb[3 * i + 1], rgb[3 * i + 2]});
    rgb[3 * i] = to.r;
    rgb[3 * i + 1] = to.g;
    rgb[3 * i + 2] = to.b;
  }
}

void add_noise(const PixelOp& op, uint32_t first_pixel, const PixelRun& run) {
  uint8_t* rgb = run.rgb;
  const float mean = op.value[0], sigma = op.value[1];
  const uint32_t key0 = op.key[0], key1 = op.key[1];
  const bool per_channel = op.flag != 0;
#pragma omp simd
  for (int i = 0; i < run.count; ++i) {
    const auto n = scalar::draw_normals(first_pixel + static_cast<uint32_t>(i), key0, key1);
    const float g = per_channel ? n.g : n.r, b = per_channel ? n.b : n.r;
    rgb[3 * i] = scalar::add_noise(rgb[3 * i], scalar::fused(sigma, n.r, mean));
    rgb[3 * i + 1] = scalar::add_noise(rgb[3 * i + 1], scalar::fused(sigma, g, mean));
    rgb[3 * i + 2] = scalar::add_noise(rgb[3 * i + 2], scalar::fused(sigma, b, mean));
  }
}

constexpr int64_t floor_quotient(int64_t a, int64_t b) {
  const int64_t q = a / b;
  return q * b != a && (a < 0) != (b < 0) ? q - 1 : q;
}
constexpr int64_t ceil_quotient(int64_t a, int64_t b) { return -floor_quotient(-a, b); }

/// A flag for each pixel of a run.
using Mask = std::array<uint8_t, kRunPixels>;

/// One edge of a polygon against a row, from (0, 0) to (dx, dy); the row is `y` below its first
/// end, and `run` pixels are counted from that end too. What scalar::in_polygon asks of every
/// pixel, solved for those where the answer is yes.
void cross_edge(int64_t dx, int64_t dy, int64_t y, int64_t run, int count, Mask& within,
                Mask& outline) {
  const int64_t wide = dx < 0 ? -dx : dx, tall = dy < 0 ? -dy : dy;
  const int64_t length = std::max(wide, tall);
  const auto clamped = [&](int64_t x) {
    return static_cast<int>(std::clamp<int64_t>(x - run, 0, count));
  };
  // 2 |x dy - y dx| <= length, between the ends
  int64_t first = std::min<int64_t>(dx, 0), last = std::max<int64_t>(dx, 0);
  if (wide < tall) {
    first = run;
    last = run + count - 1;
  }
  bool reached = wide >= tall || (dy < 0 ? y >= dy && y <= 0 : y >= 0 && y <= dy);
  if (dy == 0) {
    reached = reached && y == 0;
  } else {
    const int64_t low = dy > 0 ? 2 * y * dx - length : -2 * y * dx - length;
    first = std::max(first, ceil_quotient(low, 2 * tall));
    last = std::min(last, floor_quotient(low + 2 * length, 2 * tall));
  }
  if (reached && first <= last) {
    std::fill(outline.begin() + clamped(first), outline.begin() + clamped(last + 1), 1);
  }
  if ((0 > y) != (dy > y)) {  // crosses the row to the right of x < y dx / dy
    const int end = clamped(dy > 0 ? ceil_quotient(y * dx, dy) : ceil_quotient(-y * dx, -dy));
    for (int i = 0; i < end; ++i) within[to_size(i)] ^= 1;
  }
}

/// scalar::in_polygons for the pixels of a run.
void mark_polygons(const int32_t* data, int polygons, const PixelRun& run, Mask& marked) {
  const int32_t* corners = data + polygons;
  std::fill_n(marked.begin(), run.count, 0);
  for (int i = 0; i < polygons; ++i) {
    const int32_t* end = corners + 2 * data[i];
    Mask within;
    std::fill_n(within.begin(), run.count, 0);
    for (const int32_t *from = end - 2, *to = corners; to != end; from = to, to += 2) {
      cross_edge(int64_t{to[0]} - from[0], int64_t{to[1]} - from[1], int64_t{run.y} - from[1],
                 int64_t{run.x} - from[0], run.count, within, marked);
    }
    for (size_t k = 0; k < to_size(run.count); ++k) marked[k] |= within[k];
    corners = end;
  }
}

void cast_shadow(const PixelOp& op, const std::byte* program, const PixelRun& run) {
  Mask dark;
  mark_polygons(reinterpret_cast<const int32_t*>(program + op.data), op.count, run, dark);
  const auto end = dark.begin() + run.count, first = std::find(dark.begin(), end, 1);
  if (first == end) return;
  const auto begin = static_cast<int>(first - dark.begin());
  std::array<uint8_t, kRunBytes> halved;
  std::copy(run.rgb + 3 * begin, run.rgb + 3 * run.count, halved.data() + 3 * begin);
  change_pixels({run.y, run.x + begin, run.count - begin, halved.data() + 3 * begin},
                [](scalar::Rgb pixel) { return scalar::halve_lightness(pixel); });
  for (int i = begin; i < run.count; ++i) {
    if (dark[to_size(i)] != 0) std::copy_n(halved.data() + 3 * i, 3, run.rgb + 3 * i);
  }
}

/// The roots and powers of scalar/clahe.h, for all their arguments.
struct LabTables {
  std::array<int32_t, 256> linear_light;
  std::array<int32_t, 2041> root;

  LabTables() {
    for (size_t i = 0; i < linear_light.size(); ++i) {
      linear_light[i] = scalar::linear_light(static_cast<uint8_t>(i));
    }
    for (size_t i = 0; i < root.size(); ++i) {
      root[i] = scalar::lab_root(static_cast<int>(i));
    }
  }

  scalar::Lab lab(uint8_t red, uint8_t green, uint8_t blue) const {
    const int32_t* linear = linear_light.data();
    const int32_t* f = root.data();
    const int r = linear[red], g = linear[green], b = linear[blue];
    return scalar::lab_of_roots(f[scalar::weigh_x(r, g, b)], f[scalar::weigh_y(r, g, b)],
                                f[scalar::weigh_z(r, g, b)]);
  }
};

const LabTables& lab_tables() {
  static const LabTables tables;
  return tables;
}

scalar::ClaheTiles tiles_of(const PixelOp& op, int height, int width) {
  return scalar::clahe_tiles(height, width, static_cast<int>(op.value[1]),
                             static_cast<int>(op.value[2]));
}

/// scalar::clahe_interpolate for the values of a run.
void interpolate_tables(const scalar::ClaheTiles& tiles, const uint8_t* tables, const PixelRun& run,
                        int32_t* values) {
  const auto v = scalar::clahe_neighbors(run.y, tiles.tile_height, tiles.tiles_y);
  const uint8_t* upper = tables + 256 * v.first * tiles.tiles_x;
  const uint8_t* lower = tables + 256 * v.second * tiles.tiles_x;
  alignas(64) std::array<int32_t, kRunPixels> first, second;
  alignas(64) std::array<float, kRunPixels> across;
  alignas(64) std::array<std::array<uint8_t, kRunPixels>, 4> entries;
  const auto pixels = to_size(run.count);
#pragma omp simd
  for (size_t i = 0; i < pixels; ++i) {
    const auto h =
        scalar::clahe_neighbors(run.x + static_cast<int>(i), tiles.tile_width, tiles.tiles_x);
    first[i] = 256 * h.first + values[i];
    second[i] = 256 * h.second + values[i];
    across[i] = h.t;
  }
  for (size_t i = 0; i < pixels; ++i) {
    entries[0][i] = upper[first[i]];
    entries[1][i] = upper[second[i]];
    entries[2][i] = lower[first[i]];
    entries[3][i] = lower[second[i]];
  }
#pragma omp simd
  for (size_t i = 0; i < pixels; ++i) {
    values[i] = scalar::clahe_mix(entries[0][i], entries[1][i], entries[2][i], entries[3][i],
                                  across[i], v.t);
  }
}

void equalize(const PixelOp& op, const PixelContext& context, const PixelRun& run) {
  const LabTables& lab_of = lab_tables();
  alignas(64) std::array<int32_t, kRunPixels> l, a, b;
  uint8_t* rgb = run.rgb;
  const auto pixels = to_size(run.count);
#pragma omp simd
  for (size_t i = 0; i < pixels; ++i) {
    const scalar::Lab lab = lab_of.lab(rgb[3 * i], rgb[3 * i + 1], rgb[3 * i + 2]);
    l[i] = lab.l;
    a[i] = lab.a;
    b[i] = lab.b;
  }
  interpolate_tables(tiles_of(op, context.height, context.width), context.equalize_tables, run,
                     l.data());
#pragma omp simd
  for (size_t i = 0; i < pixels; ++i) {
    const scalar::Rgb to = scalar::rgb_of_lab({l[i], a[i], b[i]});
    rgb[3 * i] = to.r;
    rgb[3 * i + 1] = to.g;
    rgb[3 * i + 2] = to.b;
  }
}

/// The pixels of a run, counted from its first one, that lie in a hole.
struct Range {
  int begin, end;
};

Range hole_range(const PixelOp& op, int y, int x, int count) {
  const auto value = [&](size_t i) { return static_cast<int>(op.value[i]); };
  if (y < value(0) || y >= value(2)) return {0, 0};
  const int begin = std::max(value(1) - x, 0), end = std::min(value(3) - x, count);
  return {begin, std::max(begin, end)};
}

void fill_hole(const PixelOp& op, const PixelRun& run) {
  const Range range = hole_range(op, run.y, run.x, run.count);
  for (int i = range.begin; i < range.end; ++i) std::copy_n(op.fill.data(), 3, run.rgb + 3 * i);
}

/// (2 sum + area) / (2 area) in whole numbers, which is (sum + area / 2) / area as area is odd. The
/// quotient of floats stays further from whole numbers than its error.
template <typename Sum, typename Size>
void means(const uint16_t* sums, Size size, int pixels, uint8_t* rgb) {
  const int area = size() * size();
  const int half = area / 2;
  const float first = static_cast<float>(half) + 0.5f;
  const float inverse = 1.0f / static_cast<float>(area);
#pragma omp simd
  for (int i = 0; i < 3 * pixels; ++i) {
    Sum sum = 0;
    for (int d = 0; d < size(); ++d) sum = static_cast<Sum>(sum + sums[i + 3 * d]);
    rgb[i] = static_cast<uint8_t>(static_cast<int>((static_cast<float>(sum) + first) * inverse));
  }
}

}  // namespace

void apply(const PixelOp& op, const PixelContext& context, const PixelRun& run) {
  using Kind = PixelOp::Kind;
  switch (op.kind) {
    case Kind::table:
      return look_up(reinterpret_cast<const uint8_t*>(context.program + op.data), run);
    case Kind::noise: {
      const auto first = static_cast<uint32_t>(int64_t{run.y} * context.width + run.x);
      return add_noise(op, first, run);
    }
    case Kind::hsv:
      return change_pixels(
          run, [hue = static_cast<int>(op.value[0]), saturation = static_cast<int>(op.value[1]),
                value = static_cast<int>(op.value[2])](scalar::Rgb pixel) {
            return scalar::shift_hsv(pixel, hue, saturation, value);
          });
    case Kind::saturation:
      return change_pixels(run, [factor = op.value[0]](scalar::Rgb pixel) {
        return scalar::scale_saturation(pixel, factor);
      });
    case Kind::equalize: return equalize(op, context, run);
    case Kind::shadow: return cast_shadow(op, context.program, run);
    case Kind::hole: return fill_hole(op, run);
  }
}

void apply_hole(const PixelOp& op, int y, int x, int count, uint8_t* labels) {
  if (op.kind != PixelOp::Kind::hole || op.flag == 0) return;
  const Range range = hole_range(op, y, x, count);
  std::fill(labels + range.begin, labels + range.end, op.fill[3]);
}

void equalize_table(const PixelOp& op, const uint8_t* image, int height, int width, int tile,
                    uint8_t* table) {
  const scalar::ClaheTiles tiles = tiles_of(op, height, width);
  const int y0 = tile / tiles.tiles_x * tiles.tile_height;
  const int x0 = tile % tiles.tiles_x * tiles.tile_width, x1 = x0 + tiles.tile_width;
  std::array<int, 256> histogram{};
  const LabTables& lab_of = lab_tables();
  for (int y = y0; y < y0 + tiles.tile_height; ++y) {
    const uint8_t* row = image + 3 * (int64_t{scalar::reflect_index(y, height)} * width);
    for (int x = x0; x < x1; ++x) {
      const uint8_t* pixel = row + 3 * (x < width ? x : scalar::reflect_index(x, width));
      ++histogram[to_size(lab_of.lab(pixel[0], pixel[1], pixel[2]).l)];
    }
  }
  scalar::clahe_table(histogram.data(), tiles.tile_height * tiles.tile_width, op.value[0], table);
}

void slide_sums(uint16_t* sums, const uint8_t* added, const uint8_t* removed, int count) {
  if (removed == nullptr) {
    for (int i = 0; i < count; ++i) sums[i] = static_cast<uint16_t>(sums[i] + added[i]);
  } else {
    for (int i = 0; i < count; ++i) {
      sums[i] = static_cast<uint16_t>(sums[i] + added[i] - removed[i]);
    }
  }
}

void box_means(const uint16_t* sums, int size, int pixels, uint8_t* rgb) {
  using std::integral_constant;
  switch (size) {  // the usual ones, with sums of 16 bits
    case 3: return means<uint16_t>(sums, integral_constant<int, 3>{}, pixels, rgb);
    case 5: return means<uint16_t>(sums, integral_constant<int, 5>{}, pixels, rgb);
    case 7: return means<uint16_t>(sums, integral_constant<int, 7>{}, pixels, rgb);
    default:
      return means<uint32_t>(
          sums, [size] { return size; }, pixels, rgb);
  }
}

}  // namespace macadam::cpu
