// Plans of one network share its packed weights, by layout.

#include "engine/plan/packed_weights.h"

#include <gtest/gtest.h>

#include <memory>

#include "tests/engine/cpu_dtypes.h"
#include "tests/engine/plan_runner.h"
#include "tests/engine/small_networks.h"

using namespace macadam;
using namespace macadam::testing;

namespace {

constexpr int kClasses = 4;

Ops cpu_ops() {
  static Stream stream;
  return make_ops(stream);
}

/// Weights whose layout depends on whether the image is low: that is noted in front of them.
class MarkedConvolution final : public Convolution {
 public:
  explicit MarkedConvolution(const ConvDesc& desc)
      : low_(desc.input.h < 8), inner_(cpu_ops().conv->make(desc)) {}

  size_t workspace_bytes() const override { return inner_->workspace_bytes(); }
  size_t packed_bytes() const override { return kMark + inner_->packed_bytes(); }
  bool packs_like(const Convolution& other) const override {
    return low_ == dynamic_cast<const MarkedConvolution&>(other).low_;
  }
  std::string implementation() const override { return "marked"; }
  void pack(const Tensor& weights, const Tensor& bias, void* packed) override {
    *static_cast<bool*>(packed) = low_;
    inner_->pack(weights, bias, behind_mark(packed));
  }
  void forward(const Tensor& x, const void* packed, const Tensor& y, void* workspace) override {
    EXPECT_EQ(*static_cast<const bool*>(packed), low_);
    inner_->forward(x, behind_mark(const_cast<void*>(packed)), y, workspace);
  }
  void backward_data(const Tensor&, const void*, const Tensor&, void*) override {}
  void backward_weights(const Tensor&, const Tensor&, const Tensor&, void*) override {}

 private:
  static constexpr size_t kMark = 256;
  static void* behind_mark(void* packed) { return static_cast<std::byte*>(packed) + kMark; }

  bool low_;
  std::unique_ptr<Convolution> inner_;
};

class MarkedConvOps final : public ConvOps {
 public:
  std::unique_ptr<Convolution> make(const ConvDesc& desc) override {
    return std::make_unique<MarkedConvolution>(desc);
  }
};

TEST(PackedWeights, ReplicasReadTheWeightsOfOne) {
  if (!cpu_has_bf16()) GTEST_SKIP() << "no bf16 on this processor";
  const Graph graph = small_efficientnet({2, 8, 12, 3}, kClasses);
  DeviceContext context, other;
  Parameters parameters(graph.parameters(), context.stream, false);
  set_hashed_values(parameters);
  PlanOptions options;
  options.dtype = DType::bf16;
  PackedWeights weights(parameters, options.dtype, Device{});
  options.weights = &weights;
  Plan first(graph, parameters, context, options);
  Plan replica(graph, parameters, other, options);
  EXPECT_EQ(replica.memory().packed, 0u);
  EXPECT_EQ(replica.weights().memory(), first.weights().memory());
  first.pack_weights();
  replica.pack_weights();  // nothing of its own
  for (Plan* plan : {&first, &replica}) {
    auto* x = plan->input().as<bf16>();
    for (int64_t i = 0; i < plan->input().shape.elements(); ++i) {
      x[i] = scalar::to_bf16(hashed_uniform(3, static_cast<uint32_t>(i), 1.0f));
    }
    plan->forward();
  }
  EXPECT_EQ(scores_of(first), scores_of(replica));
  EXPECT_NE(first.output().data, replica.output().data);
}

/// Plans of images of two heights, whose layouts differ, on one set of weights.
class SharedWeights : public ::testing::Test {
 protected:
  SharedWeights() : parameters_(graph(8).parameters(), context_.stream, false) {
    set_hashed_values(parameters_);
    context_.ops.conv = std::make_unique<MarkedConvOps>();
  }

  static Graph graph(int height) { return small_unet({1, height, 12, 3}, kClasses, 0); }
  std::unique_ptr<Plan> plan(int height) {
    PlanOptions options;
    options.weights = &weights_;
    auto made = std::make_unique<Plan>(graph(height), parameters_, context_, options);
    made->pack_weights();
    return made;
  }
  static std::vector<float> scores(Plan& plan) {
    auto* x = plan.input().as<float>();
    for (int64_t i = 0; i < plan.input().shape.elements(); ++i) {
      x[i] = hashed_uniform(3, static_cast<uint32_t>(i), 1.0f);
    }
    plan.forward();
    return scores_of(plan);
  }

  DeviceContext context_;
  Parameters parameters_;
  PackedWeights weights_{parameters_, DType::f32, Device{}};
};

TEST_F(SharedWeights, AnotherImageSizeSharesThoseOfOneLayout) {
  DeviceContext unmarked;
  Plan alone(graph(16), parameters_, unmarked, {});
  alone.pack_weights();

  auto first = plan(8);
  const auto tall = plan(16), same = plan(8);
  EXPECT_GT(tall->memory().packed, 0u);  // of the lower scale
  EXPECT_LT(tall->memory().packed, first->memory().packed);
  EXPECT_EQ(tall->weights().memory().size(), 2u);
  EXPECT_EQ(same->memory().packed, 0u);
  const auto wanted = scores(*first);
  first.reset();  // the weights stay
  EXPECT_EQ(scores(*same), wanted);
  EXPECT_EQ(scores(*tall), scores(alone));
}

TEST_F(SharedWeights, StayAsLongAsAPlanReadsThem) {
  auto first = plan(8);
  const std::weak_ptr<const Buffer> memory = first->weights().memory().at(0);
  auto second = plan(8);
  const auto wanted = scores(*first);
  first.reset();
  const auto third = plan(8), tall = plan(16);
  EXPECT_EQ(third->memory().packed, 0u) << "read by the second";
  EXPECT_EQ(plan(16)->memory().packed, 0u) << "in both layouts by the tall one";
  EXPECT_EQ(scores(*third), wanted);
  second.reset();
  EXPECT_FALSE(memory.expired());
  third->pack_weights();
  EXPECT_EQ(scores(*third), wanted);
}

TEST_F(SharedWeights, GoWithTheLastPlan) {
  auto only = plan(8);
  const size_t bytes = only->memory().packed;
  const std::weak_ptr<const Buffer> memory = only->weights().memory().at(0);
  const auto wanted = scores(*only);
  only.reset();
  EXPECT_TRUE(memory.expired());
  only = plan(8);
  EXPECT_EQ(only->memory().packed, bytes);
  EXPECT_EQ(scores(*only), wanted);
}

TEST_F(SharedWeights, AreOfOneNetworkForInference) {
  PlanOptions options;
  options.weights = &weights_;
  const auto refuses = [&](Parameters& parameters) {
    EXPECT_THROW(Plan(graph(8), parameters, context_, options), std::logic_error);
  };
  Parameters others(graph(8).parameters(), context_.stream, true);
  refuses(others);
  options.dtype = DType::bf16;
  refuses(parameters_);
  PackedWeights trained(others, DType::f32, Device{});
  options = {};
  options.weights = &trained;
  EXPECT_NO_THROW(Plan(graph(8), others, context_, options));
  options.mode = Mode::train;
  options.loss = make_loss({loss_term("ce")});
  refuses(others);
}

}  // namespace
