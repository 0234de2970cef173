// Plans against an oracle that shares nothing with them, and against finite differences.

#include "engine/plan/plan.h"

#include <gtest/gtest.h>

#include <set>

#include "base/to_size.h"
#include "engine/graph/rewrite.h"
#include "kernels/reference/reference_ops.h"
#include "tests/engine/cpu_dtypes.h"
#include "tests/engine/naive_network.h"
#include "tests/engine/plan_runner.h"
#include "tests/engine/small_networks.h"

using namespace macadam;
using namespace macadam::testing;

namespace {

constexpr int kClasses = 4;
constexpr Shape kInput{2, 8, 12, 3};
constexpr uint64_t kDropoutSeed = 17;

PlanOptions options_for(Mode mode, DType dtype = DType::f32) {
  PlanOptions options;
  options.mode = mode;
  options.dtype = dtype;
  options.loss = make_loss({loss_term("ce"), loss_term("dice")});
  options.seed = kDropoutSeed;
  return options;
}

Ops cpu_ops() {
  static Stream stream;
  return make_ops(stream);
}

/// The oracle with the parameters that a PlanRunner begins with.
class Oracle {
 public:
  Oracle(const Graph& graph, Mode mode)
      : training_(mode == Mode::train),
        loss_(*options_for(mode).loss),
        parameters(graph.parameters(), stream_, training_),
        network(graph, parameters, training_, kDropoutSeed) {
    set_hashed_values(parameters);
  }

  LossValues run(uint32_t seed, uint64_t step) {
    const StepState state{step};
    fill_batch(network.input(), network.labels(), seed, network.output().shape.c);
    network.forward(state);
    const LossValues values = network.loss(loss_, {});
    if (training_) network.backward(state);
    return values;
  }

 private:
  bool training_;
  LossDesc loss_;
  Stream stream_;

 public:
  Parameters parameters;
  NaiveNetwork network;
};

void expect_same_loss(const LossValues& got, const LossValues& wanted, double tolerance) {
  const auto near = [&](float a, float b) {
    EXPECT_NEAR(static_cast<double>(a), static_cast<double>(b),
                tolerance * std::abs(static_cast<double>(b)));
  };
  near(got.total, wanted.total);
  for (int k = 0; k < kMaxLossTerms; ++k) near(got.terms[k], wanted.terms[k]);
  EXPECT_EQ(got.valid_pixels, wanted.valid_pixels);
}

/// How far a parameter's gradient, or its running statistics, are from what is wanted.
struct Error {
  double distance = 0, scale = 0;
};

/// One a parameter. What nearly cancels (a convolution in front of a batch norm has no say in the
/// scale) is measured by the largest gradient of the network. By a larger part of it below AVX-512,
/// where oneDNN sums in other orders: one random graph comes to 1.8 times the usual bound there.
std::vector<Error> gradient_errors(const Parameters& got, const Parameters& wanted) {
  const double part = cpu_has_bf16() ? 0.01 : 0.03;
  double largest = 0;
  for (size_t p = 0; p < wanted.size(); ++p) {
    if (!wanted.specs()[p].trainable()) continue;
    largest = std::max(largest, norm(wanted.read(p, Parameters::Field::gradient)));
  }
  std::vector<Error> errors;
  for (size_t p = 0; p < wanted.size(); ++p) {
    const ParameterSpec& spec = wanted.specs()[p];
    const auto field = spec.trainable() ? Parameters::Field::gradient : Parameters::Field::value;
    const std::vector<float> a = got.read(p, field), b = wanted.read(p, field);
    errors.push_back({distance(a, b), norm(b) + part * largest});
  }
  return errors;
}

void expect_same_gradients(const Parameters& got, const Parameters& wanted, double tolerance) {
  const std::vector<Error> errors = gradient_errors(got, wanted);
  for (size_t p = 0; p < errors.size(); ++p) {
    EXPECT_LE(errors[p].distance, tolerance * errors[p].scale) << wanted.specs()[p].name;
  }
}

class PlanOfRandomGraph : public ::testing::TestWithParam<uint32_t> {};

// Two batches in a row: what the first leaves in the arena must not reach the second.
TEST_P(PlanOfRandomGraph, TrainsLikeTheOracle) {
  const Graph graph = random_graph(GetParam(), kInput, kClasses);
  PlanRunner plan(graph, cpu_ops(), options_for(Mode::train));
  Oracle oracle(graph, Mode::train);
  for (uint32_t batch = 0; batch < 2; ++batch) {
    SCOPED_TRACE(batch);
    expect_same_loss(plan.run(100 + 2 * batch, batch), oracle.run(100 + 2 * batch, batch), 1e-5);
    expect_same_gradients(plan.parameters(), oracle.parameters, 1e-3);
  }
}

TEST_P(PlanOfRandomGraph, InfersLikeTheOracle) {
  const Graph graph = random_graph(GetParam(), kInput, kClasses);
  PlanRunner plan(graph, cpu_ops(), options_for(Mode::infer));
  Oracle oracle(graph, Mode::infer);
  for (uint32_t batch = 0; batch < 2; ++batch) {
    SCOPED_TRACE(batch);
    expect_same_loss(plan.run(100 + 2 * batch, 0), oracle.run(100 + 2 * batch, 0), 1e-5);
    const Tensor y = oracle.network.output();
    const std::vector<float> wanted(y.as<float>(), y.as<float>() + y.shape.elements());
    EXPECT_LE(distance(scores_of(plan.plan()), wanted), 1e-5 * norm(wanted));
  }
}

// The sums of branches are one convolution each in the plan, and the oracle's are what was written.
TEST(Plan, InfersFoldedBranchesLikeTheOracle) {
  const Graph graph = small_branches(kInput, kClasses);
  PlanRunner plan(graph, cpu_ops(), options_for(Mode::infer));
  Oracle oracle(graph, Mode::infer);
  size_t convolutions = 0;
  for (const PlanLayer& layer : plan.plan().layers()) convolutions += layer.kind == "conv";
  EXPECT_EQ(convolutions, 7u);
  expect_same_loss(plan.run(100, 0), oracle.run(100, 0), 1e-5);
  const Tensor y = oracle.network.output();
  const std::vector<float> wanted(y.as<float>(), y.as<float>() + y.shape.elements());
  EXPECT_LE(distance(scores_of(plan.plan()), wanted), 1e-5 * norm(wanted));
}

constexpr uint32_t kRandomGraphs = 60;
INSTANTIATE_TEST_SUITE_P(Seeds, PlanOfRandomGraph, ::testing::Range(0u, kRandomGraphs));

TEST(RandomGraphs, HaveEveryLayer) {
  std::set<std::string_view> kinds;
  for (uint32_t seed = 0; seed < kRandomGraphs; ++seed) {
    const Graph graph = random_graph(seed, kInput, kClasses);
    for (const Node& node : graph.nodes()) {
      const auto* norm = std::get_if<BatchNormLayer>(&node.layer);
      kinds.insert(norm != nullptr && norm->desc.frozen ? "frozen_norm" : kind_of(node.layer));
    }
  }
  EXPECT_EQ(kinds, (std::set<std::string_view>{"add",         "average_pool",   "batch_norm",
                                               "concat",      "conv",           "conv_transpose",
                                               "dot",         "drop_path",      "dropout",
                                               "frozen_norm", "global_average", "grid_average",
                                               "hardsigmoid", "hardswish",      "max_pool",
                                               "multiply",    "relu",           "relu6",
                                               "scale",       "sigmoid",        "silu",
                                               "upsample"}));
}

struct Network {
  const char* name;
  Graph graph;
};

std::vector<Network> networks() {
  return {{"unet", small_unet(kInput, kClasses, 0.25f)},
          {"resnet", small_resnet(kInput, kClasses)},
          {"efficientnet", small_efficientnet(kInput, kClasses)},
          {"inception", small_inception(kInput, kClasses)},
          {"densenet", small_densenet(kInput, kClasses)},
          {"auxiliary", small_auxiliary(kInput, kClasses)},
          {"dual", small_dual(kInput, kClasses)},
          {"branches", small_branches(kInput, kClasses)}};
}

TEST(Plan, ReferenceAndCpuOpsAgree) {
  for (const Network& network : networks()) {
    SCOPED_TRACE(network.name);
    PlanRunner cpu(network.graph, cpu_ops(), options_for(Mode::train));
    PlanRunner reference(network.graph, make_reference_ops(), options_for(Mode::train));
    expect_same_loss(cpu.run(7, 3), reference.run(7, 3), 1e-5);
    expect_same_gradients(cpu.parameters(), reference.parameters(), 1e-4);
  }
}

// What only auxiliary outputs need is no part of a network that predicts.
TEST(Plan, AuxiliaryOutputsAreForTrainingAlone) {
  const Graph graph = small_auxiliary(kInput, kClasses);
  PlanRunner training(graph, cpu_ops(), options_for(Mode::train));
  PlanRunner predicting(graph, cpu_ops(), options_for(Mode::infer));
  EXPECT_EQ(training.plan().outputs(), 3);
  EXPECT_EQ(predicting.plan().outputs(), 1);
  for (const PlanLayer& layer : predicting.plan().layers()) {
    EXPECT_FALSE(layer.name.starts_with("deep") || layer.name.starts_with("wide")) << layer.name;
  }
  // The loss of an output is what it is without the others, and the total has their parts.
  PlanRunner plain(graph.without_auxiliary_outputs(), cpu_ops(), options_for(Mode::train));
  const LossValues with = training.run(7, 3), without = plain.run(7, 3);
  EXPECT_EQ(with.terms[0], without.terms[0]);
  EXPECT_GT(with.total, without.total);
}

TEST(Plan, Bf16IsNearFp32) {
  if (!cpu_has_bf16()) GTEST_SKIP() << "no bf16 on this processor";
  for (const Network& network : networks()) {
    SCOPED_TRACE(network.name);
    PlanRunner half(network.graph, cpu_ops(), options_for(Mode::train, DType::bf16));
    PlanRunner single(network.graph, cpu_ops(), options_for(Mode::train));
    // The gradients of one small batch may cancel; those of several do not all.
    std::vector<Error> sums(half.parameters().size());
    for (uint32_t seed = 1; seed <= 6; ++seed) {
      expect_same_loss(half.run(seed, 3), single.run(seed, 3), 0.02);
      const std::vector<Error> errors = gradient_errors(half.parameters(), single.parameters());
      for (size_t p = 0; p < errors.size(); ++p) {
        sums[p].distance += errors[p].distance;
        sums[p].scale += errors[p].scale;
      }
    }
    for (size_t p = 0; p < sums.size(); ++p) {
      EXPECT_LE(sums[p].distance, 0.15 * sums[p].scale) << half.parameters().specs()[p].name;
    }

    PlanRunner half_inference(network.graph, cpu_ops(), options_for(Mode::infer, DType::bf16));
    PlanRunner inference(network.graph, cpu_ops(), options_for(Mode::infer));
    expect_same_loss(half_inference.run(7, 0), inference.run(7, 0), 0.02);
  }
}

/// Weights that are packed by being copied, as CUDA's convolutions do.
class CopyingConvolution final : public Convolution {
 public:
  explicit CopyingConvolution(const ConvDesc& desc)
      : desc_(desc),
        inner_(cpu_ops().conv->make(desc)),
        packed_(Device{}, inner_->packed_bytes()) {}

  size_t workspace_bytes() const override { return inner_->workspace_bytes(); }
  size_t packed_bytes() const override {
    return to_size(desc_.weights().elements() + desc_.out_channels) * sizeof(float) + 64;
  }
  std::string implementation() const override { return "copies"; }
  void pack(const Tensor&, const Tensor&, void*) override { ADD_FAILURE() << "packed one by one"; }
  std::vector<Cast> casts(const Tensor& weights, const Tensor& bias, void* packed) const override {
    std::vector<Cast> list{{weights, weights_in(packed)}};
    if (desc_.bias) list.push_back({bias, bias_in(packed)});
    return list;
  }
  void forward(const Tensor& x, const void* packed, const Tensor& y, void* workspace) override {
    repack(packed);
    inner_->forward(x, packed_.data(), y, workspace);
  }
  void backward_data(const Tensor& dy, const void* packed, const Tensor& dx,
                     void* workspace) override {
    repack(packed);
    inner_->backward_data(dy, packed_.data(), dx, workspace);
  }
  void backward_weights(const Tensor& x, const Tensor& dy, const Tensor& dw,
                        void* workspace) override {
    inner_->backward_weights(x, dy, dw, workspace);
  }

 private:
  Tensor weights_in(const void* packed) const {
    return Tensor(const_cast<void*>(packed), desc_.weights(), DType::f32);
  }
  Tensor bias_in(const void* packed) const {
    const auto bytes = (weights_in(packed).bytes() + 63) / 64 * 64;
    return Tensor(static_cast<std::byte*>(const_cast<void*>(packed)) + bytes,
                  {1, 1, 1, desc_.out_channels}, DType::f32);
  }
  void repack(const void* packed) {
    inner_->pack(weights_in(packed), desc_.bias ? bias_in(packed) : Tensor(), packed_.data());
  }

  ConvDesc desc_;
  std::unique_ptr<Convolution> inner_;
  Buffer packed_;
};

class CopyingConvOps final : public ConvOps {
 public:
  std::unique_ptr<Convolution> make(const ConvDesc& desc) override {
    return std::make_unique<CopyingConvolution>(desc);
  }
};

TEST(Plan, CastsOfAllLayersAreOneCall) {
  for (const Network& network : networks()) {
    SCOPED_TRACE(network.name);
    Ops ops = cpu_ops();
    ops.conv = std::make_unique<CopyingConvOps>();
    PlanRunner together(network.graph, std::move(ops), options_for(Mode::train));
    PlanRunner apart(network.graph, cpu_ops(), options_for(Mode::train));
    EXPECT_EQ(together.run(7, 3).total, apart.run(7, 3).total);
    const std::vector<PlanCall> calls = together.plan().calls(Pass::pack);
    ASSERT_FALSE(calls.empty());
    EXPECT_EQ(calls.front().kind, "cast");
    for (const PlanCall& call : calls) EXPECT_NE(call.kind, "conv");
  }
}

// What weights are folded in is as large as they are, in fp32: more than the arena of a small
// image.
TEST(Plan, NoArenaIsOfTheSizeOfScratch) {
  const auto network = [](int side) {
    Graph g({1, side, side, 3});
    ConvLayer layer;
    layer.out_channels = 64;
    layer.bias = false;
    Value x = g.relu(g.batch_norm(g.conv(g.input(), "conv1", layer), "bn1"));
    x = g.relu(g.batch_norm(g.conv(x, "conv2", layer), "bn2"));
    layer.out_channels = kClasses;
    g.set_output(g.conv(x, "head", layer));
    return g;
  };
  PlanRunner small(network(4), cpu_ops(), options_for(Mode::infer));
  PlanRunner large(network(64), cpu_ops(), options_for(Mode::infer));
  const size_t scratch = small.plan().weights().workspace_bytes();
  EXPECT_GE(scratch, 64 * 64 * 9 * sizeof(float));
  EXPECT_LT(small.plan().memory().arena, scratch / 2);
  EXPECT_GE(large.plan().memory().arena, scratch);
  const float loss = small.run(7, 3).total;
  EXPECT_NEAR(Oracle(network(4), Mode::infer).run(7, 3).total, loss, 1e-4f * loss);
  small.plan().pack_weights();  // once more, in other memory
  EXPECT_EQ(small.run(7, 3).total, loss);
}

// The first half of the parameters is frozen: the others' gradients keep every bit, what only the
// frozen ones make is not kept for a backward pass, and their gradients are not touched.
TEST(Plan, FrozenParametersCostNoBackwardPass) {
  for (const Network& network : networks()) {
    SCOPED_TRACE(network.name);
    PlanOptions options = options_for(Mode::train);
    PlanRunner whole(network.graph, cpu_ops(), options);
    whole.run(7, 3);
    const size_t count = whole.parameters().size();
    for (size_t p = 0; p < count; ++p) options.frozen.push_back(p < count / 2);
    PlanRunner part(network.graph, cpu_ops(), options);
    part.run(7, 3);
    EXPECT_LT(part.plan().memory().peak, whole.plan().memory().peak);
    for (size_t p = 0; p < count; ++p) {
      if (!whole.parameters().specs()[p].trainable()) continue;
      const std::vector<float> gradient = part.parameters().read(p, Parameters::Field::gradient);
      const std::vector<float> wanted = whole.parameters().read(p, Parameters::Field::gradient);
      if (p >= count / 2) {
        EXPECT_EQ(gradient, wanted) << whole.parameters().specs()[p].name;
      } else if (p == 0) {
        EXPECT_NE(gradient, wanted);
      }
    }
  }
}

// The loss along a direction d: (L(p + h d) - L(p - h d)) / 2h against the inner product of d and
// the gradient, one parameter at a time; once along the gradient itself, once along random signs.
TEST(Plan, GradientsMatchFiniteDifferences) {
  constexpr double kStep = 2e-3;
  for (const Network& network : networks()) {
    SCOPED_TRACE(network.name);
    PlanRunner plan(network.graph, make_reference_ops(), options_for(Mode::train));
    Parameters& parameters = plan.parameters();
    plan.run(7, 3);
    std::vector<std::vector<float>> gradients;
    for (size_t p = 0; p < parameters.size(); ++p) {
      const bool trainable = parameters.specs()[p].trainable();
      gradients.push_back(trainable ? parameters.read(p, Parameters::Field::gradient)
                                    : std::vector<float>());
    }
    for (size_t p = 0; p < parameters.size(); ++p) {
      if (gradients[p].empty()) continue;
      const std::vector<float> center = parameters.read(p, Parameters::Field::value);
      const double size = norm(gradients[p]);
      for (const bool along_gradient : {true, false}) {
        std::vector<float> direction = gradients[p];
        double length = size;
        if (!along_gradient) {
          for (uint32_t i = 0; i < direction.size(); ++i) {
            direction[i] = hashed_uniform(500 + static_cast<uint32_t>(p), i, 1.0f);
          }
          length = std::sqrt(static_cast<double>(direction.size()) / 3);
        }
        const auto loss_at = [&](double offset) {
          std::vector<float> moved = center;
          for (size_t i = 0; i < moved.size(); ++i) {
            moved[i] += static_cast<float>(offset / length * static_cast<double>(direction[i]));
          }
          parameters.write(p, Parameters::Field::value, moved);
          return plan.loss_of(7, 3);
        };
        double slope = 0;
        for (size_t i = 0; i < direction.size(); ++i) {
          slope +=
              static_cast<double>(direction[i]) * static_cast<double>(gradients[p][i]) / length;
        }
        const double measured = (loss_at(kStep) - loss_at(-kStep)) / (2 * kStep);
        EXPECT_NEAR(measured, slope, 0.02 * size + 3e-4)
            << parameters.specs()[p].name << (along_gradient ? " along the gradient" : "");
      }
      parameters.write(p, Parameters::Field::value, center);
    }
  }
}

// No layer's dropout repeats another's mask, or its own of another step or seed.
TEST(Plan, DropoutDependsOnSeedAndStepAlone) {
  const Graph graph = small_unet(kInput, kClasses, 0.5f);
  PlanRunner plan(graph, cpu_ops(), options_for(Mode::train));
  PlanRunner again(graph, cpu_ops(), options_for(Mode::train));
  PlanOptions other = options_for(Mode::train);
  other.seed = kDropoutSeed + 1;
  PlanRunner other_seed(graph, cpu_ops(), other);
  const float first = plan.run(7, 0).total;
  const float second = plan.run(7, 1).total;
  EXPECT_NE(first, second);
  EXPECT_EQ(first, plan.run(7, 0).total);
  EXPECT_EQ(second, again.run(7, 1).total);
  EXPECT_NE(first, other_seed.run(7, 0).total);
}

TEST(Plan, ListsItsLayers) {
  for (const Network& network : networks()) {
    SCOPED_TRACE(network.name);
    PlanRunner plan(network.graph, cpu_ops(), options_for(Mode::train));
    int64_t parameters = 0, macs = 0;
    for (const PlanLayer& layer : plan.plan().layers()) {
      parameters += layer.parameters;
      macs += layer.macs;
      EXPECT_NE(layer.kind, "relu") << "fused";
      if (layer.kind.starts_with("conv")) {
        EXPECT_FALSE(layer.implementation.empty());
        EXPECT_FALSE(layer.name.empty());
      }
    }
    int64_t unused = 0;
    for (const ParameterSpec& p : network.graph.parameters()) {
      unused += p.unused ? p.shape.elements() : 0;
    }
    EXPECT_EQ(parameters, network.graph.parameter_count() - unused);
    EXPECT_EQ(macs, network.graph.macs());
  }
}

TEST(Plan, FusesDropoutBehindRelu) {
  const Graph graph = small_unet(kInput, kClasses, 0.25f);
  PlanRunner plan(graph, cpu_ops(), options_for(Mode::train));
  for (const PlanLayer& layer : plan.plan().layers()) EXPECT_NE(layer.kind, "dropout");
}

TEST(Plan, RefusesWhatItCannotRun) {
  DeviceContext context;
  const Graph graph = small_unet(kInput, kClasses, 0);
  Parameters inference(graph.parameters(), context.stream, false);
  EXPECT_THROW(Plan(graph, inference, context, options_for(Mode::train)), std::logic_error);
  PlanOptions no_loss = options_for(Mode::train);
  no_loss.loss.reset();
  Parameters training(graph.parameters(), context.stream, true);
  EXPECT_THROW(Plan(graph, training, context, no_loss), std::logic_error);
  Graph unfinished(kInput);
  EXPECT_THROW(Plan(unfinished, training, context, options_for(Mode::infer)), std::logic_error);
}

/// Poolings that their convolutions take the gradients of: of a skip, and alone.
Graph pooled_network() {
  Graph g(kInput);
  ConvLayer conv;
  conv.out_channels = 8;
  const Value skip = g.activation(g.conv(g.input(), "a", conv), Activation::relu6);
  const Value deep = g.dropout(g.relu(g.conv(g.max_pool(skip), "b", conv)), 0.3f);
  const Value x = g.relu(g.conv(g.max_pool(deep), "c", conv));
  conv.out_channels = kClasses;
  g.set_output(g.conv(g.concat({g.upsample(x, kInput.h, kInput.w), skip}), "head", conv));
  return g;
}

TEST(Plan, JoinedPoolingsTrainLikeTheOracle) {
  const Graph graph = pooled_network();
  PlanRunner plan(graph, cpu_ops(), options_for(Mode::train));
  Oracle oracle(graph, Mode::train);
  for (uint32_t batch = 0; batch < 2; ++batch) {
    expect_same_loss(plan.run(100 + 2 * batch, batch), oracle.run(100 + 2 * batch, batch), 1e-5);
    expect_same_gradients(plan.parameters(), oracle.parameters, 1e-4);
  }
}

TEST(Plan, CountedWindowsAndScaledAdditionsTrainLikeTheOracle) {
  for (const Shape input : {kInput, Shape{1, 14, 18, 3}, Shape{1, 12, 11, 3}}) {
    SCOPED_TRACE(input.text());
    const Graph graph = small_inception(input, kClasses);
    PlanRunner plan(graph, cpu_ops(), options_for(Mode::train));
    Oracle oracle(graph, Mode::train);
    for (uint32_t batch = 0; batch < 2; ++batch) {
      expect_same_loss(plan.run(100 + 2 * batch, batch), oracle.run(100 + 2 * batch, batch), 1e-5);
      expect_same_gradients(plan.parameters(), oracle.parameters, 1e-4);
    }
  }
}

// Every way for the two gradients of a scaled sum to lie in memory: one not wanted, the sum's own,
// one that others add to; with and without a ReLU behind it.
TEST(Plan, GradientsOfScaledSumsOfSharedValues) {
  for (const bool relu : {false, true}) {
    for (int shared = 0; shared < 5; ++shared) {
      SCOPED_TRACE(shared + 10 * int{relu});
      Graph g(kInput);
      ConvLayer conv;
      conv.out_channels = kInput.c;
      const Value a = g.conv(g.input(), "a", conv), b = g.batch_norm(g.conv(a, "b", conv), "norm");
      const std::array<std::array<Value, 2>, 5> pairs{
          {{a, b}, {b, a}, {a, a}, {g.input(), b}, {b, g.input()}}};
      const auto& [first, second] = pairs[to_size(shared)];
      Value sum = g.add(first, second, 0.3f);
      if (relu) sum = g.relu(sum);
      conv.out_channels = kClasses;
      g.set_output(g.conv(g.concat({sum, b}), "head", conv));
      PlanRunner plan(g, cpu_ops(), options_for(Mode::train));
      Oracle oracle(g, Mode::train);
      expect_same_loss(plan.run(100, 0), oracle.run(100, 0), 1e-5);
      expect_same_gradients(plan.parameters(), oracle.parameters, 1e-4);
    }
  }
}

TEST(Plan, TransposedConvolutionsInConcatenationsTrainLikeTheOracle) {
  Graph g(kInput);
  ConvLayer conv;
  conv.out_channels = 8;
  const Value down = g.max_pool(g.relu(g.conv(g.input(), "a", conv)));
  ConvTransposeLayer up;
  up.out_channels = 5;
  const Value biased = g.conv_transpose(down, "up", up);
  up.bias = false;
  const Value bare = g.conv_transpose(down, "bare", up);
  conv.out_channels = kClasses;
  g.set_output(g.conv(g.concat({biased, bare}), "head", conv));
  PlanRunner plan(g, cpu_ops(), options_for(Mode::train));
  Oracle oracle(g, Mode::train);
  expect_same_loss(plan.run(1, 0), oracle.run(1, 0), 1e-5);
  expect_same_gradients(plan.parameters(), oracle.parameters, 1e-4);
}

// What a pooling hands back is read once, in the convolution's pass, and y's gradient only where
// another than the pooling made it.
TEST(Plan, CountsWhatAJoinedPoolingSaves) {
  PlanRunner runner(pooled_network(), cpu_ops(), options_for(Mode::train));
  std::map<std::string, int64_t> more;  // than forward: x, y and packed weights are read by both
  for (const PlanCall& call : runner.plan().calls(Pass::forward)) more[call.name] -= call.bytes;
  for (const PlanCall& call : runner.plan().calls(Pass::backward)) {
    EXPECT_NE(call.kind, "max_pool");
    more[call.name] += call.bytes;
  }
  constexpr int64_t kChannels = 8, kFloat = 4;
  const int64_t full = kInput.pixels() * kChannels * kFloat, half = full / 4, quarter = half / 4;
  const auto parameters = [&](int inputs) { return (9 * inputs + 1) * kChannels * kFloat; };
  // dy, the pooled gradient and an index of a quarter of its bytes.
  EXPECT_EQ(more.at("a"), full + half + half / 4 + parameters(kInput.c));
  // dx instead of dy.
  EXPECT_EQ(more.at("b"), half + quarter + quarter / 4 + parameters(kChannels));
}

// Sums are taken before what they are needed for: x and dy are read twice, but for what frozen
// statistics do not need. So profiles know what a batch norm cannot avoid.
TEST(Plan, CountsThePassesOfABatchNorm) {
  Graph g(kInput);
  ConvLayer conv;
  conv.out_channels = kClasses;
  g.set_output(g.conv(g.batch_norm(g.conv(g.input(), "a", conv), "norm"), "head", conv));
  const int64_t tensor = kInput.pixels() * kClasses * 4;
  const auto tensors = [&](const Graph& graph, Pass pass) {
    PlanRunner runner(graph, cpu_ops(), options_for(Mode::train));
    for (const PlanCall& call : runner.plan().calls(pass)) {
      if (call.kind == "batch_norm") return call.bytes / tensor;  // less a vector or two
    }
    return int64_t{0};
  };
  EXPECT_EQ(tensors(g, Pass::forward), 3);
  EXPECT_EQ(tensors(g, Pass::backward), 5);
  const Graph frozen = freeze_batch_norms(g, false);
  EXPECT_EQ(tensors(frozen, Pass::forward), 2);
  EXPECT_EQ(tensors(frozen, Pass::backward), 5);
  // With an addition: skip; y and what is handed on, which without ReLU is dy.
  for (const bool relu : {false, true}) {
    Graph residual(kInput);
    const Value skip = residual.conv(residual.input(), "a", conv);
    const Value x = residual.conv(skip, "b", conv);
    const Value sum = residual.add(residual.batch_norm(x, "norm"), skip);
    residual.set_output(residual.conv(relu ? residual.relu(sum) : sum, "head", conv));
    EXPECT_EQ(tensors(residual, Pass::forward), 4);
    EXPECT_EQ(tensors(residual, Pass::backward), relu ? 7 : 5);
  }
}

}  // namespace
