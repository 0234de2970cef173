#include "loader/augment/elastic.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/to_size.h"
#include "loader/augment/geometry.h"

namespace macadam {

namespace {

constexpr int kApproximateRadius = 8;
constexpr double kTruncate = 4;  // standard deviations, as scipy's gaussian_filter

/// exp(-i^2 / 2 sigma^2) for |i| <= radius, with a sum of 1.
std::vector<float> gaussian(double sigma, int radius) {
  std::vector<double> weights;
  for (int i = -radius; i <= radius; ++i) {
    weights.push_back(std::exp(-0.5 * i * i / (sigma * sigma)));
  }
  const double sum = std::accumulate(weights.begin(), weights.end(), 0.0);
  std::vector<float> result;
  result.reserve(weights.size());
  for (const double weight : weights) result.push_back(static_cast<float>(weight / sum));
  return result;
}

/// `i` mirrored into [0, n - 1]: at the edges of the first and last node (scipy's "reflect"), or at
/// their centres (OpenCV's REFLECT_101).
int mirrored(int i, int n, bool at_centers) {
  const int period = at_centers ? std::max(2 * (n - 1), 1) : 2 * n;
  i = ((i % period) + period) % period;
  return i < n ? i : period - i - (at_centers ? 0 : 1);
}

/// out[i] = sum over k of weights[k] * in[row i + k - radius], for rows of `width` values.
void smooth_columns(const std::vector<float>& in, int height, int width,
                    const std::vector<float>& weights, bool at_centers, std::vector<float>& out) {
  const int radius = static_cast<int>(weights.size()) / 2;
  const float* center = weights.data() + radius;
  std::ranges::fill(out, 0.0f);
  for (int y = 0; y < height; ++y) {
    float* target = out.data() + static_cast<ptrdiff_t>(y) * width;
    for (int k = -radius; k <= radius; ++k) {
      const float weight = center[k];
      const float* source =
          in.data() + static_cast<ptrdiff_t>(mirrored(y + k, height, at_centers)) * width;
      for (int x = 0; x < width; ++x) target[x] += weight * source[x];
    }
  }
}

/// The same along rows.
void smooth_rows(std::vector<float>& values, int height, int width,
                 const std::vector<float>& weights, bool at_centers) {
  const int radius = static_cast<int>(weights.size()) / 2;
  std::vector<float> padded(to_size(width) + 2 * to_size(radius));
  float* first = padded.data() + radius;
  for (int y = 0; y < height; ++y) {
    float* row = values.data() + static_cast<ptrdiff_t>(y) * width;
    for (int x = -radius; x < width + radius; ++x) {
      first[x] = row[mirrored(x, width, at_centers)];
    }
    std::fill(row, row + width, 0.0f);
    for (size_t k = 0; k < weights.size(); ++k) {
      const float weight = weights[k];
      const float* source = padded.data() + k;
      for (int x = 0; x < width; ++x) row[x] += weight * source[x];
    }
  }
}

}  // namespace

void ElasticTransform::describe(Fields& fields) {
  fields.number("alpha", alpha, 0, 1e6);
  fields.number("sigma", sigma, 1, 1000);
  fields.number("alpha_affine", alpha_affine, 0, 1e4);
  fields.boolean("approximate", approximate);
  fields.boolean("same_dxdy", same_dxdy);
  border.describe(fields);
}

ElasticGrid ElasticTransform::grid(ImageSize size) const {
  // The cut Gaussian has detail at every pixel.
  const int spacing = approximate ? 1 : std::max(1, static_cast<int>(sigma / 3));
  return {spacing, (size.height - 1) / spacing + 2, (size.width - 1) / spacing + 2};
}

void ElasticTransform::add_cost(ImageSize size, AugmentCost& cost) const {
  cost.add_map();
  cost.add_map(2 * grid(size).nodes() * sizeof(float));
}

ElasticTransform::Drawn ElasticTransform::draw(RandomStream& random, ImageSize size) const {
  Drawn drawn;
  for (double& shift : drawn.corners) shift = random.uniform(-alpha_affine, alpha_affine);
  const auto fill = [&](std::vector<float>& noise) {
    noise.resize(grid(size).nodes());
    for (float& value : noise) value = 2 * scalar::uniform(random.word()) - 1;
  };
  fill(drawn.noise_x);
  if (!same_dxdy) fill(drawn.noise_y);
  return drawn;
}

std::array<float, 6> ElasticTransform::affine(const std::array<double, 6>& corners,
                                              ImageSize size) {
  const int s = std::min(size.height, size.width) / 3;
  if (s == 0) return {1, 0, 0, 0, 1, 0};  // three points in one
  // The original takes (height, width) / 2 for (x, y): on images that are not square the points lie
  // off the centre. Points are float32 there.
  const int x = size.height / 2, y = size.width / 2;
  const std::array<int, 6> from{x + s, y + s, x + s, y - s, x - s, y - s};
  std::array<double, 6> to{};
  for (size_t i = 0; i < 6; ++i) {
    to[i] = static_cast<float>(from[i]) + static_cast<float>(corners[i]);
  }
  // The first two points differ in y alone, the last two in x alone.
  const double xx = (to[2] - to[4]) / (2 * s), yx = (to[3] - to[5]) / (2 * s);
  const double xy = (to[0] - to[2]) / (2 * s), yy = (to[1] - to[3]) / (2 * s);
  return inverse_affine({xx, xy, to[2] - xx * from[2] - xy * from[3],  //
                         yx, yy, to[3] - yx * from[2] - yy * from[3]});
}

std::vector<float> ElasticTransform::displacements(const std::vector<float>& noise,
                                                   const ElasticGrid& grid) const {
  const double width = sigma / grid.spacing;
  const int radius = approximate ? kApproximateRadius : static_cast<int>(kTruncate * width + 0.5);
  const std::vector<float> weights = gaussian(width, radius);
  std::vector<float> result(noise.size());
  smooth_columns(noise, grid.nodes_y, grid.nodes_x, weights, approximate, result);
  smooth_rows(result, grid.nodes_y, grid.nodes_x, weights, approximate);
  const auto scale = static_cast<float>(alpha / grid.spacing);
  for (float& value : result) value *= scale;
  return result;
}

void ElasticTransform::write(const Drawn& drawn, AugmentBuilder& builder) const {
  const ImageSize size{builder.height(), builder.width()};
  const ElasticGrid nodes = grid(size);
  const std::vector<float> dx = displacements(drawn.noise_x, nodes);
  const std::vector<float> dy = same_dxdy ? dx : displacements(drawn.noise_y, nodes);
  std::vector<float> pairs;
  pairs.reserve(2 * dx.size());
  for (size_t i = 0; i < dx.size(); ++i) {
    pairs.push_back(dx[i]);
    pairs.push_back(dy[i]);
  }
  builder.affine(affine(drawn.corners, size), border.border);
  builder.field(nodes.spacing, nodes.nodes_x, nodes.nodes_y, pairs, border.border);
}

}  // namespace macadam
