// Builds the cuDNN plans of every convolution of the networks for an H200 that is only described.
// It needs cuDNN, but neither a GPU nor a driver: cuDNN loads libcuda.so.1 at run time if at all.

#if defined(MACADAM_HAS_CUDA)

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "kernels/conv.h"
#include "kernels/cuda/cudnn/graph.h"
#include "kernels/cuda/cudnn/plan_check.h"
#include "tests/kernels/described_h200.h"
#include "tests/kernels/op_cases.h"

namespace macadam {
namespace {

using macadam::testing::described_h200;

/// The H200's description with the compute capability of another GPU, times 100.
std::string device_of_capability(int version) {
  std::string json = described_h200();
  const std::string key = "\"deviceVer\":";
  json.replace(json.find(key) + key.size(), 3, std::to_string(version));
  return json;
}

ConvDesc conv(Shape input, int out_channels, int kernel, Padding padding, DType dtype) {
  ConvDesc desc;
  desc.input = input;
  desc.out_channels = out_channels;
  desc.kernel_h = desc.kernel_w = kernel;
  desc.padding = padding;
  desc.dtype = dtype;
  return desc;
}

/// UNet-mini: (channels in, channels out, kernel, how often the input was halved).
std::vector<ConvDesc> unet_mini(int batch, int height, int width, DType dtype) {
  struct Layer {
    int in, out, kernel, level;
  };
  constexpr Layer layers[] = {{3, 32, 3, 0},   {32, 32, 3, 0},   {32, 64, 3, 1},  {64, 64, 3, 1},
                              {64, 128, 3, 2}, {128, 128, 3, 2}, {192, 64, 3, 1}, {96, 32, 3, 0},
                              {32, 8, 1, 0},   {32, 11, 1, 0},   {32, 19, 1, 0}};
  std::vector<ConvDesc> list;
  for (const Layer& layer : layers) {
    const Shape input{batch, height >> layer.level, width >> layer.level, layer.in};
    list.push_back(conv(input, layer.out, layer.kernel, Padding::all(layer.kernel / 2), dtype));
  }
  return list;
}

class CudnnPlans : public ::testing::TestWithParam<DType> {};

TEST_P(CudnnPlans, UnetMiniTrainsAndInfers) {
  const std::string device = described_h200();
  size_t shapes = 0, plans = 0, fewest = 1000;
  size_t largest_workspace = 0;
  const auto count = [&](const ConvDesc& desc) {
    for (const cuda::PlanReport& report : cuda::check_plans(desc, device, 4)) {
      plans += report.plans;
      fewest = std::min(fewest, report.plans);
      largest_workspace = std::max(largest_workspace, report.workspace_bytes);
    }
  };
  constexpr int sizes[][2] = {{512, 1024}, {256, 512}, {360, 480}};
  for (const auto& [height, width] : sizes) {
    for (const int batch : {1, 4, 8, 16}) {
      for (ConvDesc desc : unet_mini(batch, height, width, GetParam())) {
        ++shapes;
        desc.backward = true;
        desc.input_gradient = desc.input.c != 3;
        desc.bias = true;
        if (desc.kernel_h == 3) desc.activation = Activation::relu;
        EXPECT_NO_THROW(count(desc));
        desc.bias = desc.backward = false;
        desc.activation = Activation::identity;  // as before a batch normalisation
        EXPECT_NO_THROW(count(desc));
      }
    }
  }
  std::printf("%zu convolutions: %zu plans, at least %zu a pass, workspace up to %.0f MiB\n",
              shapes, plans, fewest, static_cast<double>(largest_workspace) / (1 << 20));
}

INSTANTIATE_TEST_SUITE_P(Types, CudnnPlans, ::testing::Values(DType::bf16, DType::f16, DType::f32),
                         [](const auto& dtype) { return std::string(name_of(dtype.param)); });

/// Plans instead of running; what it makes cannot be called.
class PlanningConvOps final : public ConvOps {
 public:
  std::unique_ptr<Convolution> make(const ConvDesc& desc) override {
    directions_ += cuda::check_plans(desc, device_, 1).size();
    return std::make_unique<Planned>();
  }
  size_t directions() const { return directions_; }

 private:
  struct Planned final : Convolution {
    size_t workspace_bytes() const override { return 0; }
    size_t packed_bytes() const override { return 0; }
    std::string implementation() const override { return "planned"; }
    void pack(const Tensor&, const Tensor&, void*) override {}
    void forward(const Tensor&, const void*, const Tensor&, void*) override {}
    void backward_data(const Tensor&, const void*, const Tensor&, void*) override {}
    void backward_weights(const Tensor&, const Tensor&, const Tensor&, void*) override {}
  };

  std::string device_ = described_h200();
  size_t directions_ = 0;
};

TEST(CudnnPlanCheck, EveryCaseOfTheOpTableHasPlans) {
  auto planning = std::make_unique<PlanningConvOps>();
  const PlanningConvOps& conv = *planning;
  Ops ops;
  ops.conv = std::move(planning);
  for (const macadam::testing::OpCase& op : macadam::testing::all_op_cases()) {
    if (!op.op.starts_with("conv_")) continue;
    EXPECT_NO_THROW(op.prepare(ops)) << op.full_name();
  }
  EXPECT_GT(conv.directions(), 100u);
}

TEST(CudnnPlanCheck, ReportsTheDirectionsAskedFor) {
  ConvDesc desc = conv({4, 64, 64, 64}, 64, 3, Padding::all(1), DType::bf16);
  EXPECT_EQ(cuda::check_plans(desc, described_h200(), 1).size(), 1u);
  desc.backward = true;
  desc.input_gradient = false;
  EXPECT_EQ(cuda::check_plans(desc, described_h200(), 1).size(), 2u);
  desc.input_gradient = true;
  const auto reports = cuda::check_plans(desc, described_h200(), 1);
  ASSERT_EQ(reports.size(), 3u);
  EXPECT_EQ(reports[0].direction, "forward");
  EXPECT_EQ(reports[1].direction, "weight gradient");
  EXPECT_EQ(reports[2].direction, "data gradient");
  for (const auto& report : reports) {
    EXPECT_EQ(report.plans, 1u);
    EXPECT_TRUE(report.first.starts_with("engine ")) << report.first;
  }
}

// UNet-mini's widest layer at batches whose tensors have more than 2^31 elements: cuDNN would leave
// one plan for the weight gradient, without tensor cores.
TEST(CudnnPlanCheck, LargeBatchesAreCutIntoPiecesWithManyPlans) {
  struct Case {
    Shape input;
    std::vector<int> pieces;
  };
  for (const Case& c : {Case{{10, 1024, 2048, 96}, {10}}, Case{{11, 1024, 2048, 96}, {6, 5}},
                        Case{{42, 512, 1024, 96}, {42}}, Case{{43, 512, 1024, 96}, {22, 21}}}) {
    ConvDesc desc = conv(c.input, 32, 3, Padding::all(1), DType::bf16);
    desc.backward = true;
    SCOPED_TRACE(desc.input.text());
    const auto reports = cuda::check_plans(desc, described_h200(), 100);
    ASSERT_EQ(reports.size(), 3 * c.pieces.size());
    for (size_t i = 0; i < reports.size(); ++i) {
      EXPECT_EQ(reports[i].images, c.pieces[i / 3]);
      EXPECT_GE(reports[i].plans, 30u) << reports[i].direction;
    }
  }
}

TEST(CudnnPlanCheck, AConvolutionWithoutPlanIsAnErrorThatNamesIt) {
  // Turing has no bf16.
  const std::string turing = device_of_capability(750);
  const ConvDesc half = conv({4, 64, 64, 64}, 64, 3, Padding::all(1), DType::f16);
  EXPECT_NO_THROW(cuda::check_plans(half, turing));
  const ConvDesc brain = conv({4, 64, 64, 64}, 64, 3, Padding::all(1), DType::bf16);
  try {
    cuda::check_plans(brain, turing);
    FAIL() << "a plan was found";
  } catch (const RunError& error) {
    const std::string text = error.what();
    EXPECT_NE(text.find("forward"), std::string::npos) << text;
    EXPECT_NE(text.find("bf16 convolution 4x64x64x64 -> 64"), std::string::npos) << text;
  }
}

TEST(CudnnPlanCheck, ADescriptionSurvivesBeingWritten) {
  const std::string written = cuda::CudnnDevice::described(described_h200()).json();
  EXPECT_NE(written.find("NVIDIA H200"), std::string::npos) << written;
  const ConvDesc desc = conv({4, 64, 64, 64}, 64, 3, Padding::all(1), DType::bf16);
  const auto before = cuda::check_plans(desc, described_h200()),
             after = cuda::check_plans(desc, written);
  EXPECT_EQ(after.at(0).plans, before.at(0).plans);
  EXPECT_EQ(after.at(0).first, before.at(0).first);
}

TEST(CudnnPlanCheck, ABrokenDescriptionIsAnError) {
  const ConvDesc desc = conv({4, 64, 64, 64}, 64, 3, Padding::all(1), DType::f32);
  EXPECT_THROW(cuda::check_plans(desc, "{}"), RunError);
  EXPECT_THROW(cuda::check_plans(desc, "not json"), RunError);
}

}  // namespace
}  // namespace macadam

#endif
