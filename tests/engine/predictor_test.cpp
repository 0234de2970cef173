// Masks of photos, against the scores of the oracle.

#include "engine/infer/predictor.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "tests/engine/hashed.h"
#include "tests/engine/naive_network.h"
#include "tests/engine/small_networks.h"

using namespace macadam;
using namespace macadam::testing;

namespace {

constexpr Shape kWindow{1, 8, 12, 3};
constexpr int kClasses = 4;

/// Scores at half the size, up-sampled by the last layer.
Graph half_scores(const Shape& window = kWindow) {
  Graph g(window);
  ConvLayer conv;
  conv.out_channels = kClasses;
  g.set_output(g.upsample(g.conv(g.max_pool(g.input()), "head", conv), g.input(), true));
  return g;
}

class PredictorTest : public ::testing::TestWithParam<bool> {
 protected:
  PredictorTest()
      : graph_(GetParam() ? half_scores() : small_resnet(kWindow, kClasses)),
        ops_(make_ops(stream_)),
        parameters_(graph_.parameters(), stream_, false) {
    set_hashed_values(parameters_);
  }

  static std::vector<uint8_t> photo(int height, int width) {
    std::vector<uint8_t> rgb(static_cast<size_t>(height * width * 3));
    for (size_t i = 0; i < rgb.size(); ++i) {
      rgb[i] = static_cast<uint8_t>(hashed(7, static_cast<uint32_t>(i)) >> 24);
    }
    return rgb;
  }

  /// The oracle's scores of a photo of the window's size.
  std::vector<float> scores_of(const std::vector<uint8_t>& rgb) {
    NaiveNetwork oracle(graph_, parameters_, false, 0);
    const uint8_t no_flip = 0;
    const Tensor image(const_cast<uint8_t*>(rgb.data()), kWindow, DType::u8);
    ops_.augment->prepare_images(image, &no_flip, options_.normalization, oracle.input());
    oracle.forward({});
    const auto* first = oracle.output().as<float>();
    return {first, first + oracle.output().shape.elements()};
  }

  Prediction predict(const std::vector<uint8_t>& rgb, int height, int width, int out_height,
                     int out_width, bool keep) {
    Predictor predictor(graph_, parameters_, stream_, ops_, options_);
    return predictor.run(rgb, height, width, out_height, out_width, keep);
  }

  /// Pixels whose class is not that of their largest score, up to ties within rounding.
  static int wrong(const std::vector<uint8_t>& classes, const std::vector<float>& scores) {
    int count = 0;
    for (size_t p = 0; p < classes.size(); ++p) {
      const float* pixel = scores.data() + p * kClasses;
      count += pixel[classes[p]] < *std::max_element(pixel, pixel + kClasses) - 1e-5f;
    }
    return count;
  }

  Stream stream_;
  Graph graph_;
  Ops ops_;
  Parameters parameters_;
  PredictorOptions options_;
};

TEST_P(PredictorTest, APhotoOfTheWindowsSizeIsScoredAsTheOracleDoes) {
  const std::vector<uint8_t> rgb = photo(8, 12);
  const std::vector<float> wanted = scores_of(rgb);
  const Prediction kept = predict(rgb, 8, 12, 8, 12, true);
  ASSERT_EQ(kept.scores.size(), wanted.size());
  for (size_t i = 0; i < wanted.size(); ++i) EXPECT_NEAR(kept.scores[i], wanted[i], 1e-5);
  EXPECT_EQ(wrong(kept.classes, wanted), 0);
  const Prediction mask = predict(rgb, 8, 12, 8, 12, false);
  EXPECT_TRUE(mask.scores.empty());
  EXPECT_EQ(mask.classes, kept.classes);
}

TEST_P(PredictorTest, AMaskOfAnotherSizeIsTheBestOfTheResizedScores) {
  const std::vector<uint8_t> rgb = photo(8, 12);
  const Prediction kept = predict(rgb, 8, 12, 13, 29, true);
  EXPECT_EQ(kept.height, 13);
  EXPECT_EQ(kept.width, 29);
  EXPECT_EQ(wrong(kept.classes, kept.scores), 0);
  EXPECT_EQ(predict(rgb, 8, 12, 13, 29, false).classes, kept.classes);
}

TEST_P(PredictorTest, AMirroredPhotoHasAMirroredMaskWhenBothAreAveraged) {
  options_.flip = true;
  const std::vector<uint8_t> rgb = photo(8, 12);
  std::vector<uint8_t> mirrored(rgb.size());
  for (size_t y = 0; y < 8; ++y) {
    for (size_t x = 0; x < 12; ++x) {
      std::copy_n(rgb.data() + (y * 12 + x) * 3, 3, mirrored.data() + (y * 12 + 11 - x) * 3);
    }
  }
  const Prediction straight = predict(rgb, 8, 12, 8, 12, true);
  const Prediction other = predict(mirrored, 8, 12, 8, 12, true);
  for (size_t y = 0; y < 8; ++y) {
    for (size_t x = 0; x < 12; ++x) {
      for (size_t c = 0; c < kClasses; ++c) {
        EXPECT_NEAR(straight.scores[(y * 12 + x) * kClasses + c],
                    other.scores[(y * 12 + 11 - x) * kClasses + c], 1e-4);
      }
    }
  }
}

TEST_P(PredictorTest, WindowsCoverAnyPhoto) {
  for (const auto& [height, width] : {std::pair{8, 13}, {5, 7}, {30, 12}, {17, 41}}) {
    const Prediction p = predict(photo(height, width), height, width, height, width, true);
    ASSERT_EQ(p.classes.size(), static_cast<size_t>(height * width));
    // Blended scores are logarithms of probabilities.
    for (size_t i = 0; i < p.classes.size(); ++i) {
      double sum = 0;
      for (size_t c = 0; c < kClasses; ++c) {
        sum += std::exp(static_cast<double>(p.scores[i * kClasses + c]));
      }
      ASSERT_NEAR(sum, 1, 1e-4);
    }
    EXPECT_EQ(wrong(p.classes, p.scores), 0);
  }
}

/// Probabilities of scores, pixel by pixel.
std::vector<double> probabilities_of(const std::vector<float>& scores) {
  std::vector<double> result;
  for (size_t p = 0; p < scores.size(); p += kClasses) {
    double total = 0;
    for (size_t c = 0; c < kClasses; ++c) total += std::exp(static_cast<double>(scores[p + c]));
    for (size_t c = 0; c < kClasses; ++c) {
      result.push_back(std::exp(static_cast<double>(scores[p + c])) / total);
    }
  }
  return result;
}

TEST_P(PredictorTest, ProbabilitiesOfSeveralViewsAreAveraged) {
  const Shape large{1, 16, 24, 3};
  const std::vector<Graph> graphs{graph_,
                                  GetParam() ? half_scores(large) : small_resnet(large, kClasses)};
  constexpr int kHeight = 11, kWidth = 17;
  for (const bool flip : {false, true}) {
    options_.flip = flip;
    Predictor predictor(graphs, parameters_, stream_, ops_, options_);
    // The sizes of both networks, and one that only windows cover.
    std::vector<std::vector<uint8_t>> photos;
    std::vector<PhotoView> views;
    std::vector<double> wanted(static_cast<size_t>(kHeight * kWidth * kClasses));
    for (const auto& [height, width] : {std::pair{8, 12}, {16, 24}, {13, 20}}) {
      photos.push_back(photo(height, width));
      views.push_back({photos.back(), height, width});
      const std::vector<double> one =
          probabilities_of(predictor.run({&views.back(), 1}, kHeight, kWidth, true).scores);
      for (size_t i = 0; i < wanted.size(); ++i) wanted[i] += one[i] / 3;
    }
    const Prediction together = predictor.run(views, kHeight, kWidth, true);
    ASSERT_EQ(together.scores.size(), wanted.size());
    for (size_t i = 0; i < wanted.size(); ++i) {
      ASSERT_NEAR(std::exp(static_cast<double>(together.scores[i])), wanted[i], 1e-5);
    }
    EXPECT_EQ(wrong(together.classes, together.scores), 0);
    EXPECT_EQ(predictor.run(views, kHeight, kWidth, false).classes, together.classes);
  }
}

TEST_P(PredictorTest, ALargerNetworkSeesThePhotoOfItsSizeAtOnce) {
  const Shape large{1, 16, 24, 3};
  const Graph graph = GetParam() ? half_scores(large) : small_resnet(large, kClasses);
  const std::vector<Graph> graphs{graph_, graph};
  const std::vector<uint8_t> rgb = photo(16, 24);
  Predictor alone(graph, parameters_, stream_, ops_, options_);
  Predictor among(graphs, parameters_, stream_, ops_, options_);
  const PhotoView view{rgb, 16, 24};
  EXPECT_EQ(among.run({&view, 1}, 16, 24, true).scores,
            alone.run(rgb, 16, 24, 16, 24, true).scores);
}

INSTANTIATE_TEST_SUITE_P(, PredictorTest, ::testing::Bool(), [](const auto& trial) {
  return std::string(trial.param ? "LastLayerUpsamples" : "LastLayerScores");
});

}  // namespace
