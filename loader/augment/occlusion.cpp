#include "loader/augment/occlusion.h"

#include <fmt/format.h>

#include "base/to_size.h"

namespace macadam {

namespace {

constexpr int kMaxSide = 1 << 16;

int drawn_length(RandomStream& random, const Extent& low, const Extent& high, int extent) {
  if (!low.fraction) {
    return random.integer(static_cast<int>(low.value), static_cast<int>(high.value));
  }
  return static_cast<int>(extent * random.uniform(low.value, high.value));
}

}  // namespace

void RandomShadow::describe(Fields& fields) {
  fields.numbers("shadow_roi", shadow_roi, 0, 1);
  fields.check(shadow_roi[0] <= shadow_roi[2] && shadow_roi[1] <= shadow_roi[3], "shadow_roi",
               "ends before it begins", "write [x_min, y_min, x_max, y_max] from 0 to 1");
  fields.integer("num_shadows_lower", num_shadows_lower, 0, 64);
  fields.integer("num_shadows_upper", num_shadows_upper, 1, 64);
  fields.check(
      num_shadows_lower <= num_shadows_upper, "num_shadows_lower",
      fmt::format("is {}, more than num_shadows_upper ({})", num_shadows_lower, num_shadows_upper),
      "write a smaller number");
  fields.integer("shadow_dimension", shadow_dimension, 3, 64);
}

void RandomShadow::add_cost(ImageSize, AugmentCost& cost) const {
  const auto polygons = to_size(num_shadows_upper);
  const auto corners = to_size(shadow_dimension);
  cost.add_op(polygons * (1 + 2 * corners) * sizeof(int32_t));
}

RandomShadow::Drawn RandomShadow::draw(RandomStream& random, ImageSize size) const {
  const int x0 = static_cast<int>(shadow_roi[0] * size.width),
            y0 = static_cast<int>(shadow_roi[1] * size.height),
            x1 = static_cast<int>(shadow_roi[2] * size.width),
            y1 = static_cast<int>(shadow_roi[3] * size.height);
  Drawn drawn;
  drawn.polygons.resize(to_size(random.integer(num_shadows_lower, num_shadows_upper)));
  for (auto& polygon : drawn.polygons) {
    for (int i = 0; i < shadow_dimension; ++i) {
      const int x = random.integer(x0, x1);
      polygon.push_back({x, random.integer(y0, y1)});
    }
  }
  return drawn;
}

void RandomShadow::write(const Drawn& drawn, AugmentBuilder& builder) const {
  if (!drawn.polygons.empty()) builder.shadow(drawn.polygons);
}

void CoarseDropout::describe(Fields& fields, ImageSize size) {
  fields.integer("max_holes", max_holes, 1, AugmentHeader::kMaxOps);
  fields.extent("max_height", max_height, kMaxSide);
  fields.extent("max_width", max_width, kMaxSide);
  if (!fields.given("min_holes")) min_holes = max_holes;
  if (!fields.given("min_height")) min_height = max_height;
  if (!fields.given("min_width")) min_width = max_width;
  fields.integer("min_holes", min_holes, 1, AugmentHeader::kMaxOps);
  fields.extent("min_height", min_height, kMaxSide);
  fields.extent("min_width", min_width, kMaxSide);

  fields.check(min_holes <= max_holes, "min_holes",
               fmt::format("is {}, more than max_holes ({})", min_holes, max_holes),
               "write a smaller number");
  const bool fraction = max_height.fraction;
  fields.check(max_width.fraction == fraction && min_height.fraction == fraction &&
                   min_width.fraction == fraction,
               "max_height", "is of another kind than the other lengths",
               "write all of them in pixels (integers), or all as fractions (0.1)");
  fields.check(min_height.value <= max_height.value, "min_height", "is more than max_height",
               "write a smaller one");
  fields.check(min_width.value <= max_width.value, "min_width", "is more than max_width",
               "write a smaller one");
  fields.check(
      fraction || max_height.value <= size.height, "max_height",
      fmt::format("is {}, more than the network's height {}", max_height.value, size.height),
      "write a smaller one");
  fields.check(fraction || max_width.value <= size.width, "max_width",
               fmt::format("is {}, more than the network's width {}", max_width.value, size.width),
               "write a smaller one");
  fields.color("fill_value", fill_value);
  fields.label("mask_fill_value", mask_fill_value, true);
}

void CoarseDropout::add_cost(ImageSize, AugmentCost& cost) const {
  for (int i = 0; i < max_holes; ++i) cost.add_op();
}

CoarseDropout::Drawn CoarseDropout::draw(RandomStream& random, ImageSize size) const {
  Drawn drawn;
  const int count = random.integer(min_holes, max_holes);
  for (int i = 0; i < count; ++i) {
    Hole hole;
    hole.height = drawn_length(random, min_height, max_height, size.height);
    hole.width = drawn_length(random, min_width, max_width, size.width);
    hole.y = random.integer(0, size.height - hole.height);
    hole.x = random.integer(0, size.width - hole.width);
    drawn.holes.push_back(hole);
  }
  return drawn;
}

void CoarseDropout::write(const Drawn& drawn, AugmentBuilder& builder) const {
  for (const Hole& hole : drawn.holes) {
    builder.hole(hole.y, hole.x, hole.y + hole.height, hole.x + hole.width, fill_value,
                 mask_fill_value);
  }
}

}  // namespace macadam
