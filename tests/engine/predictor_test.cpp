// Masks of photos, against the scores of the oracle.

#include "engine/infer/predictor.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "base/to_size.h"
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
        parameters_(graph_.parameters(), context_.stream, false) {
    set_hashed_values(parameters_);
  }

  static std::vector<uint8_t> photo(int height, int width) {
    std::vector<uint8_t> rgb(to_size(height * width * 3));
    for (size_t i = 0; i < rgb.size(); ++i) {
      rgb[i] = static_cast<uint8_t>(hashed(7, static_cast<uint32_t>(i)) >> 24);
    }
    return rgb;
  }

  /// The oracle's scores of a photo of the window's size.
  std::vector<float> scores_of(const std::vector<uint8_t>& rgb) {
    NaiveNetwork oracle(graph_, parameters_, false, 0);
    const Tensor image(const_cast<uint8_t*>(rgb.data()), kWindow, DType::u8);
    context_.ops.augment->prepare_images(image, false, options_.normalization, oracle.input());
    oracle.forward({});
    const auto* first = oracle.output().as<float>();
    return {first, first + oracle.output().shape.elements()};
  }

  Prediction predict(const std::vector<uint8_t>& rgb, int height, int width, int out_height,
                     int out_width, bool keep) {
    Predictor predictor(graph_, parameters_, context_, options_);
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

  DeviceContext context_;
  Graph graph_;
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
    ASSERT_EQ(p.classes.size(), to_size(height * width));
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

/// Where windows begin: every half one, the last flush with the end.
std::vector<int> starts(int extent, int window) {
  std::vector<int> found{0};
  while (found.back() + window < extent) {
    found.push_back(std::min(found.back() + window / 2, extent - window));
  }
  return found;
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

TEST_P(PredictorTest, WindowsAreBlendedAsLoopsInDoubleDo) {
  constexpr int kRows = kWindow.h, kColumns = kWindow.w;
  const Shape three{3, kRows, kColumns, 3};
  const std::vector<Graph> together{
      graph_, GetParam() ? half_scores(three) : small_resnet(three, kClasses)};
  for (const auto& [height, width, flip] :
       {std::tuple{8, 13, false}, {5, 7, false}, {17, 41, false}, {8, 12, true}, {21, 29, true}}) {
    const std::vector<uint8_t> rgb = photo(height, width);
    const auto pixel_of = [&, width = width](int y, int x) { return to_size(y * width + x); };
    std::vector<double> wanted(pixel_of(height, 0) * kClasses);
    for (const int top : starts(height, kRows)) {
      for (const int left : starts(width, kColumns)) {
        for (int pass = 0; pass < (flip ? 2 : 1); ++pass) {
          const auto column_of = [&](int x) { return pass == 0 ? x : kColumns - 1 - x; };
          std::vector<uint8_t> seen;
          for (int y = 0; y < kRows; ++y) {
            for (int x = 0; x < kColumns; ++x) {
              const size_t pixel =
                  pixel_of(std::min(top + y, height - 1), std::min(left + column_of(x), width - 1));
              seen.insert(seen.end(), &rgb[3 * pixel], &rgb[3 * pixel] + 3);
            }
          }
          const std::vector<double> found = probabilities_of(scores_of(seen));
          for (int y = 0; y < std::min(kRows, height - top); ++y) {
            for (int x = 0; x < std::min(kColumns, width - left); ++x) {
              const double weight = std::min(y + 1, kRows - y) * std::min(x + 1, kColumns - x);
              for (size_t c = 0; c < kClasses; ++c) {
                wanted[pixel_of(top + y, left + x) * kClasses + c] +=
                    weight * found[to_size(y * kColumns + column_of(x)) * kClasses + c];
              }
            }
          }
        }
      }
    }
    for (size_t p = 0; p < wanted.size(); p += kClasses) {
      double total = 0;
      for (size_t c = 0; c < kClasses; ++c) total += wanted[p + c];
      for (size_t c = 0; c < kClasses; ++c) wanted[p + c] /= total;
    }
    options_.flip = flip;
    Predictor one(graph_, parameters_, context_, options_);
    Predictor many(together, parameters_, context_, options_);
    for (Predictor* predictor : {&one, &many}) {
      const Prediction kept = predictor->run(rgb, height, width, height, width, true);
      ASSERT_EQ(kept.scores.size(), wanted.size());
      for (size_t i = 0; i < wanted.size(); ++i) {
        ASSERT_NEAR(std::exp(static_cast<double>(kept.scores[i])), wanted[i], 1e-5);
      }
      EXPECT_EQ(wrong(kept.classes, kept.scores), 0);
      EXPECT_EQ(predictor->run(rgb, height, width, height, width, false).classes, kept.classes);
    }
  }
}

TEST_P(PredictorTest, ConfidenceIsTheProbabilityOfTheClass) {
  options_.confidence = true;
  const std::vector<uint8_t> large = photo(21, 29), small = photo(8, 12);
  const PhotoView views[] = {{small, 8, 12}, {large, 21, 29}};
  for (const bool flip : {false, true}) {
    options_.flip = flip;
    Predictor predictor(graph_, parameters_, context_, options_);
    for (const auto& seen : {std::span(views, 1), std::span(views + 1, 1), std::span(views, 2)}) {
      for (const auto& [height, width] : {std::pair{8, 12}, {21, 29}, {13, 29}}) {
        const Prediction kept = predictor.run(seen, height, width, true);
        const std::vector<double> shares = probabilities_of(kept.scores);
        ASSERT_EQ(kept.confidence.size(), kept.classes.size());
        for (size_t p = 0; p < kept.classes.size(); ++p) {
          ASSERT_NEAR(kept.confidence[p], 255 * shares[p * kClasses + kept.classes[p]], 0.51);
        }
        const Prediction mask = predictor.run(seen, height, width, false);
        EXPECT_EQ(mask.classes, kept.classes);
        EXPECT_EQ(mask.confidence, kept.confidence);
      }
    }
  }
  options_.confidence = false;
  EXPECT_TRUE(predict(small, 8, 12, 8, 12, false).confidence.empty());
}

TEST_P(PredictorTest, APredictionsMemoryServesTheNext) {
  Predictor predictor(graph_, parameters_, context_, options_);
  Prediction prediction;
  for (const auto& [height, width, keep] :
       {std::tuple{30, 12, true}, {8, 12, false}, {17, 41, true}, {5, 7, false}}) {
    const std::vector<uint8_t> rgb = photo(height, width);
    const PhotoView view{rgb, height, width};
    predictor.run({&view, 1}, height, width, keep, prediction);
    const Prediction wanted = predict(rgb, height, width, height, width, keep);
    EXPECT_EQ(prediction.height, height);
    EXPECT_EQ(prediction.width, width);
    EXPECT_EQ(prediction.classes, wanted.classes);
    EXPECT_EQ(prediction.scores, wanted.scores);
  }
}

TEST(WindowsAtOnce, AreAsManyPixelsAsALargeImage) {
  const Device cpu, gpu{DeviceKind::cuda, 0};
  EXPECT_EQ(windows_at_once(gpu, 1024, 2048), 1);
  EXPECT_EQ(windows_at_once(gpu, 512, 1024), 4);
  EXPECT_EQ(windows_at_once(gpu, 8, 8), 8);
  EXPECT_EQ(windows_at_once(cpu, 512, 1024), 1);
  EXPECT_EQ(windows_at_once(cpu, 256, 512), 4);
  EXPECT_EQ(windows_at_once(cpu, 128, 256), 8);
  EXPECT_EQ(windows_at_once(cpu, 4096, 4096), 1);
}

TEST_P(PredictorTest, ProbabilitiesOfSeveralViewsAreAveraged) {
  const Shape large{1, 16, 24, 3};
  const std::vector<Graph> graphs{graph_,
                                  GetParam() ? half_scores(large) : small_resnet(large, kClasses)};
  constexpr int kHeight = 11, kWidth = 17;
  for (const bool flip : {false, true}) {
    options_.flip = flip;
    Predictor predictor(graphs, parameters_, context_, options_);
    // The sizes of both networks, and one that only windows cover.
    std::vector<std::vector<uint8_t>> photos;
    std::vector<PhotoView> views;
    std::vector<double> wanted(to_size(kHeight * kWidth * kClasses));
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
  Predictor alone(graph, parameters_, context_, options_);
  Predictor among(graphs, parameters_, context_, options_);
  const PhotoView view{rgb, 16, 24};
  EXPECT_EQ(among.run({&view, 1}, 16, 24, true).scores,
            alone.run(rgb, 16, 24, 16, 24, true).scores);
}

INSTANTIATE_TEST_SUITE_P(, PredictorTest, ::testing::Bool(), [](const auto& trial) {
  return std::string(trial.param ? "LastLayerUpsamples" : "LastLayerScores");
});

}  // namespace
