// How many launches a training step takes: what a captured step of many small kernels costs.

#include <gtest/gtest.h>

#include "tests/simulated/step_counts.h"

using namespace macadam;
using namespace macadam::simulated;

namespace {

constexpr Shape kHeadline{8, 512, 1024, 3};

struct Limit {
  const char* network;
  int64_t launches;
};

class StepLaunches : public ::testing::TestWithParam<Limit> {};

TEST_P(StepLaunches, AreFew) {
  const StepCounts counts = count_step(GetParam().network, kHeadline, DType::bf16);
  std::string kinds;
  for (const auto& [kind, tally] : counts.tallies) {
    kinds += kind + " " + std::to_string(tally.launches) + ", ";
  }
  EXPECT_LE(counts.launches, GetParam().launches) << kinds;
  // Nothing is left out: the state of the step is copied to the device, its loss from there.
  EXPECT_EQ(counts.launches, total(counts.tallies).launches + 2) << kinds;
}

INSTANTIATE_TEST_SUITE_P(
    , StepLaunches,
    ::testing::Values(Limit{"unet_mini", 71}, Limit{"vgg16_unet", 165}, Limit{"resnet34_unet", 327},
                      Limit{"efficientnet_b0_unet", 476}, Limit{"mobilenet_v3_large_unet", 426},
                      Limit{"xception_unet", 454}, Limit{"inception_resnet_v2_unet", 1648},
                      Limit{"se_resnet50_unet", 575}, Limit{"densenet121_unet", 975}),
    [](const auto& tested) { return std::string(tested.param.network); });

}  // namespace
