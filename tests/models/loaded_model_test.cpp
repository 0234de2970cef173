// Model files on a device.

#include "models/loaded_model.h"

#include <gtest/gtest.h>

#include "kernels/ops.h"
#include "tests/base/temporary_folder.h"

namespace macadam {
namespace {

/// What a model of the network takes in place of height x width.
std::pair<int, int> fitting(const std::string& network, int height, int width) {
  ModelInfo info;
  info.network = network;
  info.class_names = {"a", "b"};
  info.height = info.width = 64;
  Model model;
  model.info = info;
  const Graph graph = build_network(network_spec(info), {1, 64, 64, 3});
  for (const ParameterSpec& p : graph.parameters()) {
    model.parameters[p.name] = {p.file_shape(), initial_values(p, 1)};
  }
  DeviceContext context{Device()};
  const LoadedModel loaded(model, "model.safetensors", context.stream);
  const Shape size = loaded.fitting(height, width);
  EXPECT_NO_THROW(loaded.graph(1, size.h, size.w)) << network;
  return {size.h, size.w};
}

TEST(LoadedModels, FindASizeThatTheNetworkTakes) {
  EXPECT_EQ(fitting("unet_mini", 50, 1), std::pair(52, 4));
  EXPECT_EQ(fitting("fast_scnn", 32, 99), std::pair(64, 99)) << "at least 64 pixels";
  EXPECT_EQ(fitting("mobilenet_v2_unet", 33, 16), std::pair(33, 32));
}

}  // namespace
}  // namespace macadam
