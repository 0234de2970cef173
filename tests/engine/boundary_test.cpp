#include "engine/infer/boundary.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

using namespace macadam;

namespace {

using Values = std::vector<uint8_t>;

/// Areas of `values` values, from blocks of random size.
Values areas(int height, int width, int values, uint32_t seed) {
  Values mask(static_cast<size_t>(height * width));
  uint32_t state = seed;
  const auto draw = [&](int end) {
    state = state * 1664525u + 1013904223u;
    return static_cast<int>((state >> 16) % static_cast<uint32_t>(end));
  };
  for (int block = 0; block < 12; ++block) {
    const int top = draw(height), left = draw(width), value = draw(values);
    const int bottom = std::min(height, top + 1 + draw(height));
    const int right = std::min(width, left + 1 + draw(width));
    for (int y = top; y < bottom; ++y) {
      for (int x = left; x < right; ++x) {
        mask[static_cast<size_t>(y * width + x)] = static_cast<uint8_t>(value);
      }
    }
  }
  return mask;
}

/// A pixel is inside when the square around it, all of it in the image, has its value.
bool is_boundary(const Values& values, int height, int width, int distance, int y, int x) {
  for (int v = y - distance; v <= y + distance; ++v) {
    for (int u = x - distance; u <= x + distance; ++u) {
      if (v < 0 || v >= height || u < 0 || u >= width) return true;
      if (values[static_cast<size_t>(v * width + u)] != values[static_cast<size_t>(y * width + x)])
        return true;
    }
  }
  return false;
}

TEST(Boundary, IsWhatErosionTakesOff) {
  for (const auto& [height, width] : {std::pair{1, 1}, {1, 9}, {7, 5}, {31, 44}}) {
    for (const int distance : {1, 2, 5, 40}) {
      const Values values = areas(height, width, 3, static_cast<uint32_t>(height * distance));
      const Values boundary = boundary_pixels(values, height, width, distance);
      for (int y = 0; y < height; ++y) {
        for (int x = 0; x < width; ++x) {
          ASSERT_EQ(boundary[static_cast<size_t>(y * width + x)],
                    is_boundary(values, height, width, distance, y, x) ? 1 : 0)
              << height << "x" << width << ", distance " << distance << ", y=" << y << ", x=" << x;
        }
      }
    }
  }
}

TEST(Boundary, WidthIsAShareOfTheDiagonalRoundedAsPython) {
  EXPECT_EQ(boundary_width(0.02, 1024, 2048), 46);  // of 2289.7
  EXPECT_EQ(boundary_width(0.02, 30, 40), 1);
  EXPECT_EQ(boundary_width(0.5, 3, 4), 2);  // round(2.5)
  EXPECT_EQ(boundary_width(0.5, 6, 8), 5);
  EXPECT_EQ(boundary_width(0.001, 30, 40), 1);
}

TEST(Boundary, CountsByHand) {
  // 5 x 5, a square of class 1 within class 0; the prediction has it a column further right.
  const Values truth{0, 0, 0, 0, 0,  //
                     0, 1, 1, 1, 0,  //
                     0, 1, 1, 1, 0,  //
                     0, 1, 1, 1, 0,  //
                     0, 0, 0, 0, 0};
  const Values found{0, 0, 0, 0, 0,  //
                     0, 0, 1, 1, 1,  //
                     0, 0, 1, 1, 1,  //
                     0, 0, 1, 1, 1,  //
                     0, 0, 0, 0, 0};
  BoundaryCounts counts(3, 0.1);  // a width of 1
  counts.add(truth, found, 5, 5);
  // Class 0 is boundary everywhere: 16 and 16 pixels, 13 of them common.
  EXPECT_DOUBLE_EQ(counts.iou(0), 13.0 / 19);
  // Class 1: 8 pixels around the middle each, with columns 2 and 3 but for the two middles common.
  EXPECT_DOUBLE_EQ(counts.iou(1), 4.0 / 12);
  EXPECT_TRUE(std::isnan(counts.iou(2)));
  // A second image counts with the first, not beside it.
  counts.add(truth, truth, 5, 5);
  EXPECT_DOUBLE_EQ(counts.iou(1), 12.0 / 20);
}

TEST(Boundary, WhereLabelsAreIgnoredPredictionsAreToo) {
  const Values truth{0, 0, 0, 255, 255, 255, 1, 1, 1};
  Values found{0, 0, 0, 0, 1, 1, 1, 1, 1};
  BoundaryCounts counts(2, 0.01);
  counts.add(truth, found, 1, 9);
  EXPECT_EQ(counts.iou(0), 1.0);
  EXPECT_EQ(counts.iou(1), 1.0);
  found[7] = 255;  // no class: a miss
  BoundaryCounts missed(2, 0.01);
  missed.add(truth, found, 1, 9);
  EXPECT_DOUBLE_EQ(missed.iou(1), 2.0 / 3);
}

TEST(Boundary, ScoresStandBesideTheOthers) {
  const Values truth{0, 0, 1, 1}, found{0, 1, 1, 1};
  BoundaryCounts counts(3, 0.02);
  counts.add(truth, found, 1, 4);
  SegmentationMetrics metrics =
      compute_metrics(ConfusionMatrix(3, {1, 1, 0, 0, 2, 0, 0, 0, 0}), AbsentRule::zero);
  add_boundary_scores(counts, metrics);
  EXPECT_EQ(metrics.scores.back(), (Score{"mbiou_absent0", (1.0 / 2 + 2.0 / 3) / 3}));
  EXPECT_EQ(title_of("mbiou_absent0"), "mean boundary IoU");
  const std::vector<std::string> names{"a", "b", "c"};
  const std::string table = metrics_table(metrics, names);
  EXPECT_EQ(table.substr(0, table.find('\n')),
            "class              IoU    Dice   B-IoU  precision  recall   label px   pred. px");
  EXPECT_NE(table.find("\na               0.5000  0.6667  0.5000     1.0000  0.5000"),
            std::string::npos)
      << table;
  EXPECT_NE(table.find("\nc                    -       -       -          -       -"),
            std::string::npos)
      << table;
  const auto json = metrics_json(metrics, ConfusionMatrix(3), names);
  EXPECT_EQ(json.at("classes").at(0).at("boundary_iou"), 0.5);
  EXPECT_TRUE(json.at("classes").at(2).at("boundary_iou").is_null());
}

TEST(Boundary, RequiresSizesThatFit) {
  const Values values(6);
  EXPECT_THROW(boundary_pixels(values, 2, 2, 1), std::logic_error);
  EXPECT_THROW(boundary_pixels(values, 2, 3, 0), std::logic_error);
  EXPECT_THROW(BoundaryCounts(2, 0), std::logic_error);
  BoundaryCounts counts(2, 0.02);
  EXPECT_THROW(counts.add(values, Values(5), 2, 3), std::logic_error);
}

}  // namespace
