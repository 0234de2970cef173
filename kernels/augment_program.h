#pragma once
// What is done to one sample on its way to the network: a short program of plain bytes, drawn on
// the host, that the CPU and CUDA carry out by the same arithmetic to the same bits.
//
// A program first moves positions (all geometry together is one resampling), then changes pixels in
// stages. Values between operations are bytes, as in the transforms that they implement.

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/rgb.h"
#include "base/to_size.h"

namespace macadam {

/// Where a position beyond the image leads. reflect: back, mirrored at the centres of the edge
/// pixels (OpenCV's BORDER_REFLECT_101). constant: to the program's fill.
enum class Border : uint8_t { reflect, constant };

/// Takes a position in the output to one in the input; the centre of pixel (y, x) is (y, x).
struct CoordinateMap {
  enum class Kind : uint8_t {
    affine,  // value: x' = v0 x + v1 y + v2, y' = v3 x + v4 y + v5
    grid,    // value: x step, x segments, y step, y segments (whole numbers); data: x segments + 1
             // floats, then y segments + 1: the positions that the segments' ends lead to
    radial,  // value: k, x and y to which the middle leads, width, height (the focal lengths)
    field,   // value: nodes a pixel, nodes x, nodes y; data: rows of nodes (dx, dy), pixels
  };
  Kind kind = Kind::affine;
  Border border = Border::reflect;
  uint16_t reserved = 0;
  uint32_t data = 0;  // byte offset from the program's beginning, a multiple of 4
  std::array<float, 6> value{};
};

/// One change of pixel values, after which they are bytes again.
struct PixelOp {
  enum class Kind : uint8_t {
    table,       // data: 3 x 256 bytes, by channel
    noise,       // value: mean, sigma; flag: one draw a channel, else one a pixel; key
    hsv,         // value: added to H (0..179, cyclic), S, V, all whole numbers
    saturation,  // value: factor on the distance from grey
    equalize,    // value: clip limit, tiles y, tiles x: CLAHE of L; only first in a stage
    shadow,      // data: `count` polygons: their corner counts, then corners (x, y), all int32
    hole,        // value: y0, x0, y1, x1 (ends excluded); fill; flag: the label too
  };
  Kind kind = Kind::table;
  uint8_t flag = 0;
  uint16_t count = 0;
  uint32_t data = 0;  // as in CoordinateMap
  std::array<float, 4> value{};
  std::array<uint32_t, 2> key{};  // of Philox
  std::array<uint8_t, 4> fill{};  // R, G, B, label
  uint32_t reserved = 0;
};

/// Operations [first, blur_at), then a box mean of blur x blur pixels (0: none), then
/// [blur_at, last). What the first stage reads is resampled; the others read the stage before.
struct AugmentStage {
  uint8_t first = 0, blur_at = 0, last = 0, blur = 0;
};

struct AugmentHeader {
  static constexpr int kMaxMaps = 8, kMaxOps = 24, kMaxStages = 8;
  static constexpr int kMaxBlur = 31;

  uint8_t maps = 0, stages = 0;  // stages >= 1
  uint8_t mirror = 0;            // left-right; only where maps is 0: exact, and a plain copy
  uint8_t reserved = 0;
  std::array<uint8_t, 4> fill{0, 0, 0, 255};  // R, G, B, label beyond a constant border
  std::array<AugmentStage, kMaxStages> stage{};
  std::array<CoordinateMap, kMaxMaps> map{};  // in the order in which positions go through them
  std::array<PixelOp, kMaxOps> op{};
};

/// What the programs of a run may hold at most: known before the first one is drawn.
struct AugmentLimits {
  size_t bytes = 0;  // of one program with its data, a multiple of 16
  int stages = 1;
  int blur = 0;            // largest box
  int equalize_tiles = 0;  // largest tiles y * tiles x

  bool operator==(const AugmentLimits&) const = default;
};

/// The programs of a batch; none when `data` is null.
struct AugmentPrograms {
  const std::byte* data = nullptr;  // one after the other, limits.bytes apart, 16-byte aligned
  AugmentLimits limits;
};

/// Writes a program. The functions are called in the order of the transforms: geometry may stand
/// between pixel operations, but is always carried out before them.
class AugmentBuilder {
 public:
  /// For images of height x width.
  AugmentBuilder(int height, int width);

  int height() const { return height_; }
  int width() const { return width_; }

  /// Values beyond constant borders.
  void fill(Rgb rgb, uint8_t label);

  // Geometry. The matrix of `affine` is the backward one: output to input.
  void mirror();
  void affine(const std::array<float, 6>& matrix, Border border);
  /// ends_x: where the ends of the segments of `step_x` pixels lead, the beginning of the first one
  /// included; the last segment reaches the image's edge. The same for y. At least 2 values each.
  void grid(int step_x, std::span<const float> ends_x, int step_y, std::span<const float> ends_y,
            Border border);
  /// x' = cx + (x - mx) (1 + k r^2 + k r^4), where (mx, my) is the middle of the image, and r the
  /// distance from it in units of width and height. The same for y.
  void radial(float k, float center_x, float center_y, Border border);
  /// Displacements (dx, dy) in pixels at nodes_y x nodes_x nodes, `spacing` pixels apart, the first
  /// at pixel (0, 0); bilinear between them. Requires nodes that cover the image.
  void field(int spacing, int nodes_x, int nodes_y, std::span<const float> displacements,
             Border border);

  // Pixel operations.
  using Table = std::array<std::array<uint8_t, 256>, 3>;
  /// Two tables that follow each other become one.
  void table(const Table& table);
  /// value + mean + sigma * normal, clipped to 0..255, truncated. One draw a channel or a pixel.
  void noise(float mean, float sigma, bool per_channel, std::array<uint32_t, 2> key);
  void hsv(int hue, int saturation, int value);
  void saturation(float factor);
  /// CLAHE of the L of CIE Lab.
  void equalize(float clip_limit, int tiles_y, int tiles_x);
  struct Corner {
    int x = 0, y = 0;
  };
  /// Halves the L of HLS within the polygons.
  void shadow(std::span<const std::vector<Corner>> polygons);
  void hole(int y0, int x0, int y1, int x1, Rgb rgb, int label /* -1: kept */);
  /// Mean of size x size pixels (odd, at most kMaxBlur), rounded, mirrored at the edges.
  void blur(int size);

  /// The table through which the pixels of the last operations go, all of them together; identity
  /// where the last operation is none. For transforms that need statistics of the image so far.
  Table last_table() const;

  /// Copies the program to `out` and sets what is left of it to zero. Requires room for it.
  void write(std::span<std::byte> out) const;
  size_t bytes() const;
  /// Whether the program holds no more than `limits`, on which devices rely.
  bool within(const AugmentLimits& limits) const;

 private:
  CoordinateMap& add_map(CoordinateMap::Kind kind, Border border);
  PixelOp& add_op(PixelOp::Kind kind);
  uint32_t append(std::span<const std::byte> data);
  AugmentStage& stage() { return header_.stage[to_size(header_.stages - 1)]; }
  void next_stage();
  /// The table to which another one may be added; null where the last operation is none.
  const PixelOp* open_table() const;

  int height_, width_;
  AugmentHeader header_;
  bool mirrored_ = false;
  std::vector<std::byte> data_;  // follows the header
};

}  // namespace macadam
