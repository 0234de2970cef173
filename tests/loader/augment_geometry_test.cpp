// From drawn values to positions, against Albumentations 1.3.1; the law of elastic fields.

#include <numbers>
#include <numeric>

#include "base/to_size.h"
#include "tests/loader/augment_support.h"

namespace macadam {
namespace {

using namespace macadam::testing;

/// Expects the golden file's labels wherever no position is close to the middle of two pixels.
/// The file has been read up to its parameters.
void expect_moved(const Program& program, macadam::testing::NpyFile file) {
  auto photo = macadam::testing::augment_golden("photo");
  photo.next();
  const auto labels = photo.next();
  file.next();  // colours, and where they count
  file.next();
  const auto moved = file.next(), plain = file.next();
  int compared = 0;
  for (int y = 0; y < kSize.height; ++y) {
    for (int x = 0; x < kSize.width; ++x) {
      const size_t at = to_size(y * kSize.width + x);
      if (plain.values[at] == 0) continue;
      const scalar::Source source = program.source(y, x, kSize);
      const int from =
          scalar::nearest_pixel(source.y) * kSize.width + scalar::nearest_pixel(source.x);
      const double label = source.inside ? labels.values[to_size(from)] : program.header.fill[3];
      EXPECT_EQ(label, moved.values[at]) << y << ", " << x;
      ++compared;
    }
  }
  EXPECT_GT(compared, kSize.height * kSize.width / 2);
}

TEST(AugmentGeometry, ShiftScaleRotate) {
  for (const char* name : {"warp_turned", "warp_grown", "warp_bordered"}) {
    auto file = macadam::testing::augment_golden(name);
    const auto drawn = file.next().values;
    ShiftScaleRotate t;
    if (std::string(name) == "warp_bordered") t.border.border = Border::constant;
    expect_moved(program_of(t, {drawn[0], drawn[1], drawn[2], drawn[3]}), std::move(file));
  }
}

TEST(AugmentGeometry, GridDistortion) {
  auto file = macadam::testing::augment_golden("warp_grid");
  const auto steps = file.next().values;
  expect_moved(program_of(GridDistortion{},
                          {{steps.begin(), steps.begin() + 6}, {steps.begin() + 6, steps.end()}}),
               std::move(file));
}

TEST(AugmentGeometry, AGridWithoutARestHasNoLastSegment) {
  const GridDistortion t{.num_steps = 4};
  const Program program = program_of(t, {{1, 1, 1, 1, 9}, {1, 1, 1, 1, 9}});
  const auto& map = program.header.map[0];
  EXPECT_EQ(map.value[0], 16.0f);
  EXPECT_EQ(map.value[1], 4.0f);
  EXPECT_EQ(program.data<float>(map.data, 5), (std::vector<float>{0, 16, 32, 48, 64}));
}

TEST(AugmentGeometry, OpticalDistortion) {
  for (const char* name : {"warp_barrel", "warp_pincushion"}) {
    auto file = macadam::testing::augment_golden(name);
    const double k = file.next().values[0];
    expect_moved(program_of(OpticalDistortion{}, {k}), std::move(file));
  }
  const Program shifted = program_of(OpticalDistortion{}, {.k = 0.1, .dx = 2, .dy = -3});
  EXPECT_EQ(shifted.header.map[0].value[1], 34.0f);
  EXPECT_EQ(shifted.header.map[0].value[2], 21.0f);
}

TEST(AugmentGeometry, FlipIsAMirror) {
  const Program program = program_of(HorizontalFlip{}, {});
  EXPECT_EQ(program.header.mirror, 1);
  EXPECT_EQ(program.header.maps, 0);
}

TEST(AugmentGeometry, InverseOfAMatrix) {
  const auto inverse = inverse_affine({2, 0, 6, 0, 4, -8});
  EXPECT_EQ(inverse, (std::array<float, 6>{0.5f, 0, -3, 0, 0.25f, 2}));
  EXPECT_EQ(inverse_affine({1, 2, 3, 2, 4, 5}), (std::array<float, 6>{}));
}

TEST(AugmentElastic, AffinePartHasTheOriginalsCenter) {
  // cv2.invertAffineTransform(cv2.getAffineTransform(...)) of the original's points, 48 x 64.
  const std::array<double, 6> expected{0.71479856, 0.20422816, 0.5839649,
                                       0.14924366, 1.44923445, -17.54840293};
  const auto matrix = ElasticTransform::affine({3.5, -7.25, 10, 2, -4.125, 6.75}, kSize);
  for (size_t i = 0; i < 6; ++i) EXPECT_NEAR(matrix[i], expected[i], 2e-5) << i;
  EXPECT_EQ(ElasticTransform::affine({}, {2, 9}), (std::array<float, 6>{1, 0, 0, 0, 1, 0}));
}

/// Displacements of many fields at the nodes that lie further than 4 sigma from the edges.
struct Displacements {
  double deviation = 0;
  std::vector<double> correlation;  // with the node 0, 1, 2 ... to the right
};

Displacements measure(const ElasticTransform& t, ImageSize size, int fields, int lags) {
  const ElasticGrid grid = t.grid(size);
  const int margin = static_cast<int>(std::ceil(4 * t.sigma / grid.spacing));
  std::vector<double> sums(to_size(lags));
  double count = 0;
  for (int sample = 0; sample < fields; ++sample) {
    RandomStream random(2, 1, sample, kAugmentPurpose);
    const auto field = t.displacements(t.draw(random, size).noise_x, grid);
    for (int y = margin; y < grid.nodes_y - margin; ++y) {
      for (int x = margin; x < grid.nodes_x - margin - lags; ++x) {
        const size_t at = to_size(y * grid.nodes_x + x);
        for (size_t lag = 0; lag < sums.size(); ++lag) sums[lag] += field[at] * field[at + lag];
        ++count;
      }
    }
  }
  Displacements result;
  result.deviation = std::sqrt(sums[0] / count);
  for (const double sum : sums) result.correlation.push_back(sum / sums[0]);
  return result;
}

TEST(AugmentElastic, DisplacementsHaveTheirDeviationAndCorrelation) {
  for (const double sigma : {4.0, 6.0, 10.0, 14.0}) {
    const ElasticTransform t{.alpha = 120, .sigma = sigma};
    const Displacements measured = measure(t, {256, 512}, 20, 8);
    const double expected = 120 / std::sqrt(3.0) / (2 * std::sqrt(std::numbers::pi) * sigma);
    EXPECT_NEAR(measured.deviation / expected, 1, 0.05) << sigma;
    const int spacing = t.grid({256, 512}).spacing;
    EXPECT_EQ(spacing, static_cast<int>(sigma / 3));
    for (size_t lag = 0; lag < 8; ++lag) {
      const double distance = static_cast<double>(lag) * spacing / sigma;
      EXPECT_NEAR(measured.correlation[lag], std::exp(-distance * distance / 4), 0.05)
          << sigma << " " << lag;
    }
  }
}

TEST(AugmentElastic, DefaultsMoveAThousandthOfAPixel) {
  const ElasticTransform t;
  const Displacements measured = measure(t, {1024, 1024}, 12, 1);
  EXPECT_NEAR(measured.deviation, 0.0033, 0.0007);
}

TEST(AugmentElastic, TheApproximationIsAnUnevenBox) {
  // 17 weights of a wide Gaussian are all but equal: deviation alpha / sqrt(3) / 17.
  const ElasticTransform t{.alpha = 10, .sigma = 50, .approximate = true};
  const ImageSize size{80, 90};
  const ElasticGrid grid = t.grid(size);
  EXPECT_EQ(grid.spacing, 1);
  double sum = 0, count = 0;
  for (int sample = 0; sample < 20; ++sample) {
    RandomStream random(2, 1, sample, kAugmentPurpose);
    const auto field = t.displacements(t.draw(random, size).noise_x, grid);
    for (int y = 9; y < 70; ++y) {
      for (int x = 9; x < 80; ++x) {
        const float d = field[to_size(y * grid.nodes_x + x)];
        sum += d * d;
        ++count;
      }
    }
  }
  EXPECT_NEAR(std::sqrt(sum / count) / (10 / std::sqrt(3.0) / 17), 1, 0.05);
}

TEST(AugmentElastic, AConstantFieldStaysConstantUpToTheEdges) {
  for (const bool approximate : {false, true}) {
    const ElasticTransform t{.alpha = 3, .sigma = 7, .approximate = approximate};
    const ElasticGrid grid = t.grid(kSize);
    const auto field = t.displacements(std::vector<float>(grid.nodes(), 0.5f), grid);
    for (const float d : field) EXPECT_NEAR(d, 0.5f * 3 / static_cast<float>(grid.spacing), 1e-5);
  }
}

TEST(AugmentElastic, OneFieldForBothDirections) {
  const ElasticTransform t{.sigma = 6, .same_dxdy = true};
  RandomStream random(2, 1, 0, kAugmentPurpose);
  const Program program = program_of(t, t.draw(random, kSize));
  ASSERT_EQ(program.header.maps, 2);
  const auto& field = program.header.map[0];  // the last transform's positions come first
  ASSERT_EQ(field.kind, CoordinateMap::Kind::field);
  const ElasticGrid grid = t.grid(kSize);
  const auto pairs = program.data<float>(field.data, 2 * grid.nodes());
  for (size_t i = 0; i < grid.nodes(); ++i) EXPECT_EQ(pairs[2 * i], pairs[2 * i + 1]);
}

}  // namespace
}  // namespace macadam
