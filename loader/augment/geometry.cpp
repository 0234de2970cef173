#include "loader/augment/geometry.h"

#include <fmt/format.h>

#include <cmath>
#include <numbers>
#include <numeric>

#include "base/to_size.h"

namespace macadam {

namespace {

/// Stretches such that segments of `step` pixels and the shorter last one cover `extent` pixels.
void normalize_steps(std::vector<double>& steps, int extent) {
  const int count = static_cast<int>(steps.size()) - 1, step = extent / count;
  const int last = std::min(extent, (count + 1) * step) - count * step;
  steps.back() *= static_cast<double>(last) / step;
  const double sum = std::accumulate(steps.begin(), steps.end(), 0.0);
  const double segments = static_cast<double>(extent) / step;
  for (double& value : steps) value *= segments / sum;
}

/// Where the ends of the segments lead along one axis.
std::vector<float> segment_ends(const std::vector<double>& steps, int extent) {
  const int count = static_cast<int>(steps.size()) - 1, step = extent / count;
  std::vector<float> ends{0.0f};
  double position = 0;
  for (int i = 0; i <= count && i * step < extent; ++i) {
    // A last segment that is cut short leads to the edge, whatever was drawn for it.
    const bool cut = (i + 1) * step > extent;
    position = cut ? extent : position + step * steps[to_size(i)];
    ends.push_back(static_cast<float>(position));
  }
  return ends;
}

/// True when segments of extent / steps pixels, one more than `steps`, cover the extent.
bool covered(int extent, int steps) {
  return extent >= steps && (steps + 1) * (extent / steps) >= extent;
}

}  // namespace

std::array<float, 6> inverse_affine(const std::array<double, 6>& m) {
  const double determinant = m[0] * m[4] - m[1] * m[3];
  const double d = determinant != 0 ? 1 / determinant : 0;
  const double a = m[4] * d, b = -m[1] * d, c = -m[3] * d, e = m[0] * d;
  return {static_cast<float>(a), static_cast<float>(b), static_cast<float>(-a * m[2] - b * m[5]),
          static_cast<float>(c), static_cast<float>(e), static_cast<float>(-c * m[2] - e * m[5])};
}

void ShiftScaleRotate::describe(Fields& fields) {
  fields.both("shift_limit", shift_limit_x, shift_limit_y, Scalar::symmetric, -1, 1);
  fields.range("shift_limit_x", shift_limit_x, Scalar::symmetric, -1, 1);
  fields.range("shift_limit_y", shift_limit_y, Scalar::symmetric, -1, 1);
  fields.range("scale_limit", scale_limit, Scalar::symmetric, -0.99, 10);
  fields.range("rotate_limit", rotate_limit, Scalar::symmetric, -360, 360);
  border.describe(fields);
}

ShiftScaleRotate::Drawn ShiftScaleRotate::draw(RandomStream& random, ImageSize) const {
  Drawn drawn;
  drawn.angle = random.uniform(rotate_limit.low, rotate_limit.high);
  drawn.scale = random.uniform(1 + scale_limit.low, 1 + scale_limit.high);
  drawn.dx = random.uniform(shift_limit_x.low, shift_limit_x.high);
  drawn.dy = random.uniform(shift_limit_y.low, shift_limit_y.high);
  return drawn;
}

void ShiftScaleRotate::write(const Drawn& drawn, AugmentBuilder& builder) const {
  const double width = builder.width(), height = builder.height();
  const double x = width / 2 - 0.5, y = height / 2 - 0.5;
  const double radians = drawn.angle * std::numbers::pi / 180;
  const double a = drawn.scale * std::cos(radians), b = drawn.scale * std::sin(radians);
  // Source: OpenCV, getRotationMatrix2D.
  const std::array<double, 6> matrix{a,  b, (1 - a) * x - b * y + drawn.dx * width,
                                     -b, a, b * x + (1 - a) * y + drawn.dy * height};
  builder.affine(inverse_affine(matrix), border.border);
}

void GridDistortion::describe(Fields& fields, ImageSize size) {
  fields.integer("num_steps", num_steps, 1, 64);
  fields.check(
      covered(size.height, num_steps) && covered(size.width, num_steps), "num_steps",
      fmt::format("is {}, too many for {} x {} pixels", num_steps, size.height, size.width),
      "write fewer, at best a divisor of height and width");
  fields.range("distort_limit", distort_limit, Scalar::symmetric, -0.99, 1);
  fields.boolean("normalized", normalized);
  border.describe(fields);
}

void GridDistortion::add_cost(ImageSize, AugmentCost& cost) const {
  cost.add_map(2 * (to_size(num_steps) + 2) * sizeof(float));
}

GridDistortion::Drawn GridDistortion::draw(RandomStream& random, ImageSize size) const {
  Drawn drawn;
  for (auto* steps : {&drawn.steps_x, &drawn.steps_y}) {
    for (int i = 0; i <= num_steps; ++i) {
      steps->push_back(1 + random.uniform(distort_limit.low, distort_limit.high));
    }
  }
  if (normalized) {
    normalize_steps(drawn.steps_x, size.width);
    normalize_steps(drawn.steps_y, size.height);
  }
  return drawn;
}

void GridDistortion::write(const Drawn& drawn, AugmentBuilder& builder) const {
  builder.grid(builder.width() / num_steps, segment_ends(drawn.steps_x, builder.width()),
               builder.height() / num_steps, segment_ends(drawn.steps_y, builder.height()),
               border.border);
}

void OpticalDistortion::describe(Fields& fields) {
  fields.range("distort_limit", distort_limit, Scalar::symmetric, -10, 10);
  fields.range("shift_limit", shift_limit, Scalar::symmetric, -1e4, 1e4);
  border.describe(fields);
}

OpticalDistortion::Drawn OpticalDistortion::draw(RandomStream& random, ImageSize) const {
  Drawn drawn;
  drawn.k = random.uniform(distort_limit.low, distort_limit.high);
  // Halves go to the even number, as Python's round().
  drawn.dx = static_cast<int>(std::nearbyint(random.uniform(shift_limit.low, shift_limit.high)));
  drawn.dy = static_cast<int>(std::nearbyint(random.uniform(shift_limit.low, shift_limit.high)));
  return drawn;
}

void OpticalDistortion::write(const Drawn& drawn, AugmentBuilder& builder) const {
  builder.radial(static_cast<float>(drawn.k), static_cast<float>(builder.width() * 0.5 + drawn.dx),
                 static_cast<float>(builder.height() * 0.5 + drawn.dy), border.border);
}

}  // namespace macadam
