#pragma once
// ElasticTransform: a random affine map, then a smooth random field of displacements (Simard,
// Steinkraus, Platt 2003). Parameters and laws of Albumentations 1.3.1.

#include <array>
#include <string_view>
#include <vector>

#include "base/to_size.h"
#include "kernels/augment_program.h"
#include "loader/augment/cost.h"
#include "loader/augment/parameters.h"
#include "loader/augment/random_stream.h"

namespace macadam {

/// The nodes at which displacements are kept.
struct ElasticGrid {
  int spacing = 1;  // pixels
  int nodes_y = 0, nodes_x = 0;

  size_t nodes() const { return to_size(nodes_y) * to_size(nodes_x); }
};

/// The field is made on a grid of `sigma / 3` pixels instead of at every pixel, by noise and a
/// Gaussian that are scaled so that its law stays: displacements of standard deviation
/// alpha / sqrt(3) / (2 sqrt(pi) sigma) pixels (more near the edges, where the noise is mirrored).
struct ElasticTransform {
  static constexpr std::string_view kName = "ElasticTransform";
  double alpha = 1, sigma = 50, alpha_affine = 50;
  bool approximate = false;  // the Gaussian cut to 17 x 17 pixels
  bool same_dxdy = false;    // one field for both directions
  BorderFill border{};
  struct Drawn {
    std::array<double, 6> corners{};      // shifts (x, y) of the affine map's three points, pixels
    std::vector<float> noise_x, noise_y;  // in [-1, 1), one a node; noise_y is empty with same_dxdy
  };

  void describe(Fields& fields);
  void add_cost(ImageSize size, AugmentCost& cost) const;
  Drawn draw(RandomStream& random, ImageSize size) const;
  void write(const Drawn& drawn, AugmentBuilder& builder) const;

  ElasticGrid grid(ImageSize size) const;
  /// Noise, smoothed and scaled to displacements in pixels, one a node.
  std::vector<float> displacements(const std::vector<float>& noise, const ElasticGrid& grid) const;
  /// The backward matrix of the affine part.
  static std::array<float, 6> affine(const std::array<double, 6>& corners, ImageSize size);

  bool operator==(const ElasticTransform&) const = default;
};

}  // namespace macadam
