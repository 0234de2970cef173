#include "kernels/augment_program.h"

#include <algorithm>
#include <cstring>
#include <span>

#include "base/rgb.h"
#include "base/round_up.h"
#include "base/to_size.h"
#include "kernels/augment.h"
#include "kernels/augment_scratch.h"

namespace macadam {

namespace {

constexpr size_t kAlignment = 16;

static_assert(sizeof(AugmentHeader) % 4 == 0 && alignof(AugmentHeader) <= kAlignment);

/// Adds a mirror after the maps so far: into the last one where that is a matrix.
void append_mirror(AugmentHeader& header, int width) {
  const auto last = static_cast<float>(width - 1);
  if (header.maps > 0) {
    CoordinateMap& map = header.map[header.maps - 1u];
    if (map.kind == CoordinateMap::Kind::affine) {
      const std::array<float, 6> v = map.value;
      map.value = {-v[0], v[1], v[0] * last + v[2], -v[3], v[4], v[3] * last + v[5]};
      return;
    }
  }
  require(header.maps < AugmentHeader::kMaxMaps, "an augmentation has at most 8 maps");
  CoordinateMap& map = header.map[header.maps++];
  map.kind = CoordinateMap::Kind::affine;
  map.value = {-1, 0, last, 0, 1, 0};
}

}  // namespace

AugmentBuilder::AugmentBuilder(int height, int width) : height_(height), width_(width) {
  require(height > 0 && width > 0, "an augmented image has pixels");
  header_.stages = 1;
}

void AugmentBuilder::fill(Rgb rgb, uint8_t label) {
  header_.fill = {rgb[0], rgb[1], rgb[2], label};
}

uint32_t AugmentBuilder::append(std::span<const std::byte> data) {
  const size_t offset = sizeof(AugmentHeader) + data_.size();
  data_.insert(data_.end(), data.begin(), data.end());
  data_.resize(round_up(data_.size(), 4));
  return static_cast<uint32_t>(offset);
}

CoordinateMap& AugmentBuilder::add_map(CoordinateMap::Kind kind, Border border) {
  if (mirrored_) append_mirror(header_, width_);
  mirrored_ = false;
  require(header_.maps < AugmentHeader::kMaxMaps, "an augmentation has at most 8 maps");
  CoordinateMap& map = header_.map[header_.maps++];
  map.kind = kind;
  map.border = border;
  return map;
}

void AugmentBuilder::mirror() { mirrored_ = !mirrored_; }

void AugmentBuilder::affine(const std::array<float, 6>& matrix, Border border) {
  // A mirror just before is another matrix: of the positions that this one leads to.
  const bool mirrored = mirrored_;
  mirrored_ = false;
  CoordinateMap& map = add_map(CoordinateMap::Kind::affine, border);
  map.value = matrix;
  if (mirrored) {
    for (size_t i = 0; i < 3; ++i) map.value[i] = -matrix[i];
    map.value[2] += static_cast<float>(width_ - 1);
  }
}

void AugmentBuilder::grid(int step_x, std::span<const float> ends_x, int step_y,
                          std::span<const float> ends_y, Border border) {
  require(ends_x.size() >= 2 && ends_y.size() >= 2, "a grid has segments on either axis");
  const int segments_x = static_cast<int>(ends_x.size()) - 1;
  const int segments_y = static_cast<int>(ends_y.size()) - 1;
  require(step_x > 0 && step_y > 0 && step_x * (segments_x - 1) < width_ &&
              step_y * (segments_y - 1) < height_,
          "a grid's segments begin within the image");
  CoordinateMap& map = add_map(CoordinateMap::Kind::grid, border);
  map.value = {static_cast<float>(step_x), static_cast<float>(segments_x),
               static_cast<float>(step_y), static_cast<float>(segments_y)};
  map.data = append(std::as_bytes(ends_x));
  append(std::as_bytes(ends_y));
}

void AugmentBuilder::radial(float k, float center_x, float center_y, Border border) {
  add_map(CoordinateMap::Kind::radial, border).value = {
      k, center_x, center_y, static_cast<float>(width_), static_cast<float>(height_)};
}

void AugmentBuilder::field(int spacing, int nodes_x, int nodes_y,
                           std::span<const float> displacements, Border border) {
  require(spacing > 0 && nodes_x >= 2 && nodes_y >= 2 && (nodes_x - 1) * spacing >= width_ - 1 &&
              (nodes_y - 1) * spacing >= height_ - 1,
          "a field's nodes cover the image");
  require(displacements.size() == 2 * to_size(nodes_x) * to_size(nodes_y),
          "a field has two displacements a node");
  CoordinateMap& map = add_map(CoordinateMap::Kind::field, border);
  map.value = {1.0f / static_cast<float>(spacing), static_cast<float>(nodes_x),
               static_cast<float>(nodes_y)};
  map.data = append(std::as_bytes(displacements));
}

void AugmentBuilder::next_stage() {
  require(header_.stages < AugmentHeader::kMaxStages, "an augmentation has at most 8 stages");
  const uint8_t begin = stage().last;
  ++header_.stages;
  stage() = {.first = begin, .blur_at = begin, .last = begin, .blur = 0};
}

PixelOp& AugmentBuilder::add_op(PixelOp::Kind kind) {
  AugmentStage& s = stage();
  require(s.last < AugmentHeader::kMaxOps, "an augmentation has at most 24 pixel operations");
  PixelOp& op = header_.op[s.last++];
  if (s.blur == 0) s.blur_at = s.last;
  op.kind = kind;
  return op;
}

const PixelOp* AugmentBuilder::open_table() const {
  const AugmentStage& s = header_.stage[header_.stages - 1u];
  const int begin = s.blur == 0 ? s.first : s.blur_at;
  if (s.last == begin) return nullptr;
  const PixelOp& op = header_.op[s.last - 1u];
  return op.kind == PixelOp::Kind::table ? &op : nullptr;
}

void AugmentBuilder::table(const Table& table) {
  if (const PixelOp* before = open_table()) {
    std::byte* data = data_.data() + (before->data - sizeof(AugmentHeader));
    Table composed = last_table();
    for (size_t c = 0; c < 3; ++c)
      for (uint8_t& value : composed[c]) value = table[c][value];
    std::memcpy(data, composed.data(), sizeof composed);
    return;
  }
  add_op(PixelOp::Kind::table).data = append(std::as_bytes(std::span(table)));
}

AugmentBuilder::Table AugmentBuilder::last_table() const {
  Table table;
  if (const PixelOp* op = open_table()) {
    std::memcpy(table.data(), data_.data() + (op->data - sizeof(AugmentHeader)), sizeof table);
  } else {
    for (auto& channel : table)
      for (size_t i = 0; i < channel.size(); ++i) channel[i] = static_cast<uint8_t>(i);
  }
  return table;
}

void AugmentBuilder::noise(float mean, float sigma, bool per_channel, std::array<uint32_t, 2> key) {
  PixelOp& op = add_op(PixelOp::Kind::noise);
  op.value = {mean, sigma};
  op.flag = per_channel ? 1 : 0;
  op.key = key;
}

void AugmentBuilder::hsv(int hue, int saturation, int value) {
  add_op(PixelOp::Kind::hsv).value = {static_cast<float>(hue), static_cast<float>(saturation),
                                      static_cast<float>(value)};
}

void AugmentBuilder::saturation(float factor) {
  add_op(PixelOp::Kind::saturation).value = {factor};
}

void AugmentBuilder::equalize(float clip_limit, int tiles_y, int tiles_x) {
  require(tiles_y > 0 && tiles_x > 0, "CLAHE has tiles");
  next_stage();  // its histograms are those of a whole image
  add_op(PixelOp::Kind::equalize).value = {clip_limit, static_cast<float>(tiles_y),
                                           static_cast<float>(tiles_x)};
}

void AugmentBuilder::shadow(std::span<const std::vector<Corner>> polygons) {
  std::vector<int32_t> data;
  for (const auto& polygon : polygons) data.push_back(static_cast<int32_t>(polygon.size()));
  for (const auto& polygon : polygons)
    for (const Corner& corner : polygon) {
      data.push_back(corner.x);
      data.push_back(corner.y);
    }
  PixelOp& op = add_op(PixelOp::Kind::shadow);
  op.count = static_cast<uint16_t>(polygons.size());
  op.data = append(std::as_bytes(std::span(data)));
}

void AugmentBuilder::hole(int y0, int x0, int y1, int x1, Rgb rgb, int label) {
  PixelOp& op = add_op(PixelOp::Kind::hole);
  op.value = {static_cast<float>(y0), static_cast<float>(x0), static_cast<float>(y1),
              static_cast<float>(x1)};
  op.fill = {rgb[0], rgb[1], rgb[2], static_cast<uint8_t>(std::max(label, 0))};
  op.flag = label >= 0 ? 1 : 0;
}

void AugmentBuilder::blur(int size) {
  require(size > 0 && size % 2 == 1 && size <= AugmentHeader::kMaxBlur,
          "a box to blur with is odd, and at most 31 pixels wide");
  if (size == 1) return;
  if (stage().blur != 0) next_stage();
  AugmentStage& s = stage();
  s.blur = static_cast<uint8_t>(size);
  s.blur_at = s.last;
}

size_t AugmentBuilder::bytes() const {
  return round_up(sizeof(AugmentHeader) + data_.size(), kAlignment);
}

void AugmentBuilder::write(std::span<std::byte> out) const {
  require(bytes() <= out.size(), "an augmentation's program fits into its slot");
  AugmentHeader header = header_;
  if (mirrored_) {
    if (header.maps == 0) {
      header.mirror = 1;
    } else {
      append_mirror(header, width_);
    }
  }
  // The last transform tells where its pixels come from first.
  std::reverse(header.map.begin(), header.map.begin() + header.maps);
  std::memcpy(out.data(), &header, sizeof header);
  std::ranges::copy(data_, out.begin() + sizeof header);
  const size_t end = sizeof header + data_.size();
  std::memset(out.data() + end, 0, out.size() - end);
}

bool AugmentBuilder::within(const AugmentLimits& limits) const {
  const auto stages = std::span(header_.stage).first(header_.stages);
  const auto ops = std::span(header_.op).first(stages.back().last);
  return bytes() <= limits.bytes && header_.stages <= limits.stages &&
         std::ranges::all_of(stages,
                             [&](const AugmentStage& s) { return s.blur <= limits.blur; }) &&
         std::ranges::all_of(ops, [&](const PixelOp& op) {
           return op.kind != PixelOp::Kind::equalize ||
                  op.value[1] * op.value[2] <= static_cast<float>(limits.equalize_tiles);
         });
}

size_t augment_scratch_bytes(const Shape& images, const AugmentLimits& limits) {
  return limits.stages <= 1 ? 0 : AugmentScratch(images, limits).bytes();
}

}  // namespace macadam
