// cuDNN has plans for every convolution of every network, on an H200 that is only described.
// Neither a GPU nor a driver is needed: cuDNN loads libcuda.so.1 at run time if at all.

#if defined(MACADAM_HAS_CUDA)

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "engine/plan/parameters.h"
#include "engine/plan/plan.h"
#include "kernels/cuda/cuda_ops.h"
#include "kernels/cuda/cudnn/paths.h"
#include "models/network.h"
#include "tests/kernels/described_h200.h"

namespace macadam {
namespace {

/// One direction of one convolution, by its path_key().
using Passes = std::map<std::string, std::pair<ConvDesc, cuda::ConvDirection>>;

/// Notes what it is asked for; what it makes cannot be called.
class NotingConvOps final : public ConvOps {
 public:
  explicit NotingConvOps(Passes& passes) : passes_(passes) {}

  std::unique_ptr<Convolution> make(const ConvDesc& desc) override {
    note(desc, cuda::ConvDirection::forward);
    if (desc.backward) note(desc, cuda::ConvDirection::weights);
    if (desc.backward && desc.input_gradient) note(desc, cuda::ConvDirection::data);
    return std::make_unique<Noted>();
  }

 private:
  struct Noted final : Convolution {
    size_t workspace_bytes() const override { return 0; }
    size_t packed_bytes() const override { return 0; }
    std::string implementation() const override { return "noted"; }
    void pack(const Tensor&, const Tensor&, void*) override {}
    void forward(const Tensor&, const void*, const Tensor&, void*) override {}
    void backward_data(const Tensor&, const void*, const Tensor&, void*) override {}
    void backward_weights(const Tensor&, const Tensor&, const Tensor&, void*) override {}
  };

  void note(const ConvDesc& desc, cuda::ConvDirection direction) {
    passes_.emplace(cuda::path_key(desc, direction), std::pair(desc, direction));
  }

  Passes& passes_;
};

/// What a plan asks for. Its memory is reserved but never written, and where even that is refused,
/// the convolutions have been made by then.
void note_passes(const Graph& graph, Mode mode, DType dtype, Parameters& parameters,
                 DeviceContext& context) {
  PlanOptions options;
  options.mode = mode;
  options.dtype = dtype;
  options.pad_channels = size_of(dtype) == 2;  // as on CUDA
  if (mode == Mode::train) options.loss = LossDesc();
  try {
    const Plan plan(graph, parameters, context, options);
  } catch (const RunError& error) {
    const std::string text = error.what();
    if (text.find("not enough memory") == std::string::npos) throw;
  }
}

/// The graph for an image size, rounded down to what the network takes. Classifiers, which are only
/// there for their weights, take ImageNet's.
Graph build(const NetworkEntry& entry, int batch, int height, int width) {
  const std::string name(entry.name);
  if (entry.task == Task::classification)
    return build_network({name, 1000, {}}, {batch, 224, 224, 3});
  const int m = entry.size_multiple;
  return build_network({name, 19, {}}, {batch, height / m * m, width / m * m, 3});
}

class CudnnNetworkPlans : public ::testing::TestWithParam<DType> {};

TEST_P(CudnnNetworkPlans, EveryConvolutionTrainsAndInfers) {
  // A second plan for where the first does not run. More take long to find and prove no more.
  constexpr size_t limit = 2;
  struct Input {
    int batch, height, width;
  };
  // KITTI's images are the odd ones. Of fp16, which is much as bf16 to cuDNN, one small input of
  // every network has to do: all four would take as long again.
  const std::vector<Input> inputs =
      GetParam() == DType::f16
          ? std::vector<Input>{{2, 375, 1242}}
          : std::vector<Input>{{1, 512, 1024}, {8, 512, 1024}, {1, 375, 1242}, {8, 375, 1242}};

  DeviceContext context;
  Passes passes;
  context.ops.conv = std::make_unique<NotingConvOps>(passes);
  for (const NetworkEntry& entry : networks()) {
    const bool trains = entry.task == Task::segmentation;
    Parameters parameters(build(entry, 1, 64, 64).parameters(), context.stream, trains);
    for (const Input& input : inputs) {
      const Graph graph = build(entry, input.batch, input.height, input.width);
      note_passes(graph, Mode::infer, GetParam(), parameters, context);
      if (trains) note_passes(graph, Mode::train, GetParam(), parameters, context);
    }
  }

  const auto device = cuda::CudnnDevice::described(macadam::testing::described_h200());
  size_t planned = 0, handwritten = 0, plans = 0, fewest = limit, largest = 0;
  std::string fewest_at, largest_at;
  for (const auto& [key, pass] : passes) {
    const auto& [desc, direction] = pass;
    if (cuda::is_depthwise(desc)) {
      ++handwritten;
      continue;
    }
    try {
      const auto paths = cuda::find_paths(device, desc, direction, limit);
      ++planned;
      plans += paths.size();
      if (paths.size() < fewest) {
        fewest = paths.size();
        fewest_at = key;
      }
      // The plan that heuristics prefer: timing on a device weighs workspace against time.
      const size_t workspace = paths.front().plan->workspace_bytes();
      if (workspace > largest) {
        largest = workspace;
        largest_at = key;
      }
    } catch (const RunError& error) {
      ADD_FAILURE() << error.what();
    }
  }
  std::printf(
      "%s: %zu convolution passes (%zu more are depthwise): %zu plans of at most %zu each, at "
      "least %zu%s%s; workspace of the first up to %.0f MiB (%s)\n",
      std::string(name_of(GetParam())).c_str(), planned, handwritten, plans, limit, fewest,
      fewest < limit ? " at " : "", fewest_at.c_str(), static_cast<double>(largest) / (1 << 20),
      largest_at.c_str());
  EXPECT_GT(planned, 250 * inputs.size());
  EXPECT_GT(handwritten, 25 * inputs.size());
}

INSTANTIATE_TEST_SUITE_P(Types, CudnnNetworkPlans,
                         ::testing::Values(DType::bf16, DType::f16, DType::f32),
                         [](const auto& dtype) { return std::string(name_of(dtype.param)); });

}  // namespace
}  // namespace macadam

#endif
