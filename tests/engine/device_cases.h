#pragma once
// What the tests of the engine on other devices than the CPU share.

#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "tests/engine/on_device.h"
#include "tests/engine/plan_runner.h"
#include "tests/engine/small_networks.h"

namespace macadam::testing {

inline std::shared_ptr<DeviceContext> on_cpu() { return on_device(Device{}); }

struct Network {
  const char* name;
  Graph (*build)(Shape input, int classes);
};

inline Graph unet_with_dropout(Shape input, int classes) {
  return small_unet(input, classes, 0.2f);
}

inline constexpr Network kNetworks[] = {
    {"unet", unet_with_dropout},          {"resnet", small_resnet},
    {"efficientnet", small_efficientnet}, {"inception", small_inception},
    {"densenet", small_densenet},         {"dual", small_dual},
    {"branches", small_branches}};

/// |got - wanted| <= tolerance * |wanted|, as Euclidean norms.
inline void expect_near(const std::vector<float>& got, const std::vector<float>& wanted,
                        double tolerance) {
  ASSERT_EQ(got.size(), wanted.size());
  const double error = distance(got, wanted), scale = norm(wanted);
  EXPECT_TRUE(error <= tolerance * scale) << error << " of " << scale;
}

}  // namespace macadam::testing
