// The example that CONTRIBUTING copies: a network in one file.

#include <gtest/gtest.h>

#include "models/realtime/realtime.h"
#include "tests/engine/small_training.h"

using namespace macadam;
using macadam::testing::on_device;
using macadam::testing::Training;

namespace macadam {
std::vector<NetworkEntry> linknet_networks();
}

namespace {

Graph example(Shape image, int classes, const std::map<std::string, std::string>& options) {
  return linknet_networks().at(0).build({"linknet", classes, options}, image);
}

TEST(ExampleNetwork, ScoresAnyImageAtItsOwnSize) {
  for (const Shape image : {Shape{1, 64, 96, 3}, Shape{2, 37, 51, 3}}) {
    const Graph graph = example(image, 5, {});
    EXPECT_EQ(graph.shape(graph.output()), (Shape{image.n, image.h, image.w, 5}));
  }
}

TEST(ExampleNetwork, ItsOptionIsChecked) {
  const Shape image{1, 64, 96, 3};
  EXPECT_LT(example(image, 5, {{"width", "16"}}).parameter_count(),
            example(image, 5, {}).parameter_count());
  EXPECT_THROW(example(image, 5, {{"width", "17"}}), InputError);
}

TEST(ExampleNetwork, Learns) {
  Training training(TrainingStepOptions{},
                    example(Training::kInput, Training::kClasses, {{"width", "16"}}),
                    on_device(Device{}));
  const std::vector<float> losses = training.losses(30, 3e-3f);
  EXPECT_LT(losses.back(), losses.front() / 2) << losses.front();
}

}  // namespace
