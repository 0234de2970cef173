// Photos in windows, of which only a band of rows is held at once: the masks are those of sums over
// the whole photo, bit for bit.

#include <gtest/gtest.h>

#include <algorithm>

#include "base/to_size.h"
#include "engine/infer/predictor.h"
#include "engine/infer/windows.h"
#include "tests/engine/hashed.h"
#include "tests/engine/small_networks.h"

using namespace macadam;
using namespace macadam::testing;

namespace {

constexpr int kHeight = 8, kWidth = 12, kClasses = 4;

Graph graph(int images) { return small_resnet({images, kHeight, kWidth, 3}, kClasses); }

std::vector<uint8_t> photo(int height, int width) {
  std::vector<uint8_t> rgb(to_size(height * width * 3));
  for (size_t i = 0; i < rgb.size(); ++i) {
    rgb[i] = static_cast<uint8_t>(hashed(11, static_cast<uint32_t>(i)) >> 24);
  }
  return rgb;
}

class PredictorBands : public ::testing::TestWithParam<int> {
 protected:
  PredictorBands() : parameters_(graph(1).parameters(), context_.stream, false) {
    set_hashed_values(parameters_);
    graphs_.push_back(graph(1));
    if (GetParam() > 1) graphs_.push_back(graph(GetParam()));
  }

  /// As Predictor::run(), with all sums at once.
  Prediction whole(const PhotoView& view, const PredictionWishes& wishes) {
    PackedWeights weights(parameters_, DType::f32, {});
    ArenaMemory arena{Device{}};
    std::vector<std::unique_ptr<Classifier>> classifiers;
    for (const Graph& each : graphs_) {
      classifiers.push_back(std::make_unique<Classifier>(
          each, parameters_, weights, context_, ClassifierOptions{DType::f32, {}, true, &arena}));
    }
    const Shape shape{1, view.height, view.width, kClasses};
    std::vector<float> values(to_size(shape.elements()));
    const Tensor sums(values.data(), shape, DType::f32);
    const WindowStarts rows(view.height, kHeight), columns(view.width, kWidth);
    const int count = rows.count() * columns.count();
    for (int next = 0; next < count;) {
      const int left = count - next;
      Classifier& classifier =
          left > 1 && 2 * left > GetParam() ? *classifiers.back() : *classifiers.front();
      const int some = std::min(left, classifier.shape().n);
      const auto place = [&](int i, bool mirrored) {
        return WindowPlace{rows[(next + i) / columns.count()],
                           columns[(next + i) % columns.count()],
                           kHeight,
                           kWidth,
                           mirrored,
                           count > 1};
      };
      for (int i = 0; i < some; ++i) {
        classifier.put(i, view, place(i, false).top, place(i, false).left);
      }
      classifier.upload();
      for (const bool mirrored : {false, true}) {
        if (mirrored && !wishes.flip) break;
        classifier.score(mirrored);
        for (int i = 0; i < some; ++i) {
          Tensor scores = classifier.scores(i);
          context_.ops.upsample->bilinear_add_softmax(scores, place(i, mirrored), sums);
        }
      }
      next += some;
    }
    Prediction made{view.height, view.width, {}, {}, {}};
    made.classes.resize(to_size(shape.pixels()));
    const Shape mask{1, view.height, view.width, 1};
    Tensor confidence;
    if (wishes.confidence) {
      made.confidence.resize(made.classes.size());
      confidence = Tensor(made.confidence.data(), mask, DType::u8);
    }
    if (wishes.confidence || wishes.scores) context_.ops.confusion->log_shares(sums);
    context_.ops.confusion->argmax(sums, Tensor(made.classes.data(), mask, DType::u8), confidence);
    if (wishes.scores) made.scores = values;
    return made;
  }

  DeviceContext context_;
  Parameters parameters_;
  std::vector<Graph> graphs_;
};

TEST_P(PredictorBands, MasksAreThoseOfThePhotoAtOnce) {
  PredictorOptions options;
  options.confidence = true;
  Predictor predictor(graphs_, parameters_, context_, options);
  for (const auto& [height, width] : {std::pair{50, 40},
                                      {64, 12},
                                      {200, 13},
                                      {9, 100},
                                      {8, 50},
                                      {33, 5},
                                      {5, 30},
                                      {41, 100},
                                      {47, 6},
                                      {3, 4}}) {
    SCOPED_TRACE(::testing::Message() << height << "x" << width);
    const std::vector<uint8_t> rgb = photo(height, width);
    for (const bool flip : {false, true}) {
      for (const bool confidence : {false, true}) {
        for (const bool scores : {false, true}) {
          const PredictionWishes wishes{flip, confidence, scores};
          const Prediction wanted = whole({rgb, height, width}, wishes);
          Prediction found;
          const PredictionTask task{{rgb, height, width}, height, width, wishes, &found};
          predictor.run({&task, 1});
          EXPECT_EQ(found.classes, wanted.classes);
          EXPECT_EQ(found.confidence, wanted.confidence);
          EXPECT_EQ(found.scores, wanted.scores);
        }
      }
    }
  }
}

TEST_P(PredictorBands, APhotoThatNobodyWantsIsGivenUp) {
  Predictor predictor(graphs_, parameters_, context_, {});
  const std::vector<uint8_t> rgb = photo(100, 100);
  Prediction found, wanted;
  PredictionTask task{{rgb, 100, 100}, 100, 100, {}, &wanted};
  predictor.run({&task, 1});
  int asked = 0;
  task.prediction = &found;
  task.stop = [&] { return ++asked == 3; };
  EXPECT_THROW(predictor.run({&task, 1}), PredictionStopped);
  EXPECT_EQ(asked, 3);
  task.stop = [&] { return ++asked < 0; };
  predictor.run({&task, 1});
  EXPECT_EQ(found.classes, wanted.classes) << "and the next is as it was";
  const auto windows = static_cast<int>(WindowGrid(100, 100, kHeight, kWidth).count());
  EXPECT_GE(asked, 3 + windows / GetParam());
}

INSTANTIATE_TEST_SUITE_P(Together, PredictorBands, ::testing::Values(1, 3, 8));

TEST(WindowGrid, ABandHoldsTheWindowsOfABatchWhereverItBegins) {
  for (const int height : {1, 8, 9, 31, 100}) {
    for (const int width : {1, 12, 13, 18, 19, 90}) {
      const WindowGrid grid(height, width, kHeight, kWidth);
      for (const int together : {1, 2, 5, 8, 64}) {
        int most = 0;
        for (int64_t first = 0; first < grid.count(); ++first) {
          const int64_t last = std::min(first + together, grid.count()) - 1;
          most = std::max(most, std::min(height, grid.top(last) + kHeight) - grid.top(first));
        }
        EXPECT_GE(grid.band(together), most);
        EXPECT_LE(grid.band(together), std::min(height, most + kHeight / 2));
      }
    }
  }
}

}  // namespace
