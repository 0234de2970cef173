// Plans with tensors padded for tensor cores against plans without: nobody can tell by the numbers.

#include <gtest/gtest.h>

#include <array>
#include <limits>

#include "base/to_size.h"
#include "engine/graph/layer.h"
#include "engine/graph/rewrite.h"
#include "tests/engine/cpu_dtypes.h"
#include "tests/engine/plan_runner.h"
#include "tests/engine/small_networks.h"

using namespace macadam;
using namespace macadam::testing;

namespace {

constexpr int kClasses = 5;
constexpr Shape kInput{2, 8, 12, 3};

PlanOptions options_for(Mode mode, bool pad, DType dtype = DType::f32) {
  PlanOptions options;
  options.mode = mode;
  options.dtype = dtype;
  options.loss = make_loss({loss_term("ce"), loss_term("dice")});
  options.seed = 17;
  options.pad_channels = pad;
  return options;
}

Ops cpu_ops() {
  static Stream stream;
  return make_ops(stream);
}

ConvLayer conv(int channels, int kernel = 3, int stride = 1) {
  ConvLayer layer;
  layer.out_channels = channels;
  layer.kernel_h = layer.kernel_w = kernel;
  layer.stride = stride;
  layer.padding = Padding::all(kernel / 2);
  return layer;
}

/// Scores that are up-sampled: their gradient is not written over them.
Graph upsampled(bool bilinear) {
  Graph g(kInput);
  const Value x = g.relu(g.conv(g.input(), "a", conv(16, 3, 2)));
  g.set_output(g.upsample(g.conv(x, "head", conv(kClasses)), g.input(), bilinear));
  return g;
}

/// A chain of padded values, one of them read twice and one the input itself.
Graph chained() {
  Graph g(kInput);
  const Value a = g.conv(g.input(), "a", conv(6));
  const Value b = g.conv(a, "b", conv(10, 1));
  g.set_output(g.add(g.relu(g.conv(b, "c", conv(kClasses))),
                     g.relu(g.add(g.conv(a, "d", conv(kClasses)),
                                  g.upsample(g.conv(b, "e", conv(kClasses, 3, 2)), b, true)))));
  return g;
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
          {"nearest", upsampled(false)},
          {"bilinear", upsampled(true)},
          {"chained", chained()}};
}

std::vector<float> values_of(const Tensor& x) {
  std::vector<float> dense(to_size(x.shape.elements()));
  cpu_ops().elementwise->copy(x, Tensor(dense.data(), x.shape, DType::f32), false);
  return dense;
}

/// Relative, by the largest gradient of the network where a gradient nearly cancels.
void expect_same_gradients(const Parameters& got, const Parameters& wanted, double tolerance) {
  double largest = 0;
  for (size_t p = 0; p < wanted.size(); ++p) {
    if (wanted.specs()[p].trainable()) {
      largest = std::max(largest, norm(wanted.read(p, Parameters::Field::gradient)));
    }
  }
  for (size_t p = 0; p < wanted.size(); ++p) {
    const bool trained = wanted.specs()[p].trainable();
    const auto field = trained ? Parameters::Field::gradient : Parameters::Field::value;
    const std::vector<float> b = wanted.read(p, field);
    EXPECT_LE(distance(got.read(p, field), b), tolerance * (norm(b) + 0.01 * largest))
        << wanted.specs()[p].name;
  }
}

void expect_same(const Graph& graph, DType dtype, double tolerance) {
  for (const Mode mode : {Mode::train, Mode::infer}) {
    SCOPED_TRACE(mode == Mode::train ? "train" : "infer");
    PlanRunner padded(graph, cpu_ops(), options_for(mode, true, dtype));
    PlanRunner plain(graph, cpu_ops(), options_for(mode, false, dtype));
    for (uint32_t batch = 0; batch < 2; ++batch) {
      const double got = static_cast<double>(padded.run(100 + 2 * batch, batch).total);
      const double wanted = static_cast<double>(plain.run(100 + 2 * batch, batch).total);
      EXPECT_NEAR(got, wanted, tolerance * wanted);
      if (mode == Mode::train) {
        expect_same_gradients(padded.parameters(), plain.parameters(), 10 * tolerance);
      } else {
        const std::vector<float> scores = values_of(plain.plan().output());
        EXPECT_LE(distance(values_of(padded.plan().output()), scores), tolerance * norm(scores));
      }
    }
  }
}

class PaddedRandomGraph : public ::testing::TestWithParam<uint32_t> {};

TEST_P(PaddedRandomGraph, IsThePlainOne) {
  expect_same(random_graph(GetParam(), kInput, kClasses), DType::f32, 1e-5);
}

INSTANTIATE_TEST_SUITE_P(Seeds, PaddedRandomGraph, ::testing::Range(0u, 30u));

TEST(PaddedPlan, IsThePlainOne) {
  for (const Network& network : networks()) {
    SCOPED_TRACE(network.name);
    expect_same(network.graph, DType::f32, 1e-5);
    if (cpu_has_bf16()) expect_same(network.graph, DType::bf16, 0.02);
  }
}

TEST(PaddedPlan, KeepsItsShapesAtTheEdge) {
  for (const Mode mode : {Mode::train, Mode::infer}) {
    PlanRunner runner(small_unet(kInput, kClasses, 0), cpu_ops(), options_for(mode, true));
    const Plan& plan = runner.plan();
    EXPECT_EQ(plan.input().shape, kInput);
    EXPECT_EQ(plan.input().pixel_stride, 8);
    EXPECT_EQ(plan.input().spare, 5);
    EXPECT_EQ(plan.output().shape, (Shape{2, 8, 12, kClasses}));
    EXPECT_EQ(plan.output().pixel_stride, 8);
    EXPECT_EQ(plan.layers().back().output, plan.output().shape);
  }
  PlanRunner runner(small_unet(kInput, kClasses, 0), cpu_ops(), [] {
    PlanOptions options;
    options.dtype = cpu_dtypes().back();
    options.loss = LossDesc{};
    return options;
  }());
  EXPECT_TRUE(runner.plan().input().dense()) << "padded on the CPU, unasked";
}

TEST(PaddedPlan, CountsThePaddingInItsMemory) {
  // Nothing but the input and the scores, which are also their gradient.
  Graph g({1, 64, 64, 3});
  g.set_output(g.conv(g.input(), "a", conv(kClasses, 1)));
  const auto arena = [&](bool pad) {
    PlanOptions options = options_for(Mode::infer, pad);
    options.loss.reset();
    return PlanRunner(g, cpu_ops(), options).plan().memory().arena;
  };
  EXPECT_GE(arena(true), size_t{64 * 64 * (8 + 8) * 4});
  EXPECT_LT(arena(false), size_t{64 * 64 * (8 + 8) * 4});
}

/// Batches of NaN leave NaN wherever the arena is written at all; the next batch must not see them.
TEST(PaddedPlan, NothingOfAnEarlierBatchShows) {
  for (const Network& network :
       {Network{"unet", small_unet(kInput, kClasses, 0)}, Network{"nearest", upsampled(false)},
        Network{"bilinear", upsampled(true)}, Network{"chained", chained()}}) {
    SCOPED_TRACE(network.name);
    for (const Mode mode : {Mode::train, Mode::infer}) {
      for (const bool frozen : {false, true}) {  // frozen: nothing reads the input backward
        PlanOptions options = options_for(mode, true);
        if (frozen) {
          options.frozen.assign(network.graph.parameters().size(), false);
          options.frozen[0] = options.frozen[1] = true;
        }
        PlanRunner fresh(network.graph, cpu_ops(), options);
        PlanRunner used(network.graph, cpu_ops(), options);
        Plan& plan = used.plan();
        LossValues values;
        for (int batch = 0; batch < 2; ++batch) {
          cpu_ops().elementwise->fill(plan.input(), std::numeric_limits<float>::quiet_NaN());
          std::fill_n(plan.labels().as<uint8_t>(), plan.labels().shape.elements(), uint8_t{1});
          plan.forward();
          plan.loss({}, &values);
          if (mode == Mode::train) plan.backward();
          plan.pack_weights();
        }
        EXPECT_EQ(used.run(3, 5).total, fresh.run(3, 5).total);
        const auto& x = plan.input();
        const Tensor all(x.data, {x.shape.n, x.shape.h, x.shape.w, 8}, x.dtype);
        for (const float v : values_of(all.channels(3, 5))) EXPECT_EQ(v, 0.0f);
        if (mode == Mode::infer) {
          EXPECT_EQ(values_of(plan.output()), values_of(fresh.plan().output()));
          continue;
        }
        for (size_t p = frozen ? 2 : 0; p < used.parameters().size(); ++p) {
          EXPECT_EQ(used.parameters().read(p, Parameters::Field::gradient),
                    fresh.parameters().read(p, Parameters::Field::gradient))
              << used.parameters().specs()[p].name;
        }
      }
    }
  }
}

/// While one input is read, the next batch comes into the other.
TEST(PaddedPlan, TakesBatchesFromItsInputsInTurns) {
  for (const bool pad : {false, true}) {
    for (const Mode mode : {Mode::train, Mode::infer}) {
      const Graph graph = small_unet(kInput, kClasses, 0.2f);
      PlanOptions options = options_for(mode, pad);
      PlanRunner one(graph, cpu_ops(), options);
      options.inputs = 2;
      PlanRunner two(graph, cpu_ops(), options);
      EXPECT_EQ(two.plan().inputs(), 2);
      EXPECT_THROW(two.plan().use_input(2), std::out_of_range);
      two.put(0, 0);
      for (uint32_t batch = 0; batch < 4; ++batch) {
        SCOPED_TRACE(batch);
        const int input = static_cast<int>(batch % 2);
        two.put(batch + 1, 1 - input);
        two.plan().use_input(input);
        EXPECT_EQ(two.step_on(batch).total, one.run(batch, batch).total);
        if (mode == Mode::infer) {
          EXPECT_EQ(values_of(two.plan().output()), values_of(one.plan().output()));
          continue;
        }
        two.plan().pack_weights();
        for (size_t p = 0; p < one.parameters().size(); ++p) {
          EXPECT_EQ(two.parameters().read(p, Parameters::Field::gradient),
                    one.parameters().read(p, Parameters::Field::gradient));
        }
      }
    }
  }
}

/// What another layer leaves behind the channels of a gradient may be anything, NaN as well.
TEST(PaddedPlan, NothingBehindAGradientShows) {
  const Graph graph = pad_channels(upsampled(true));
  const Node& head = graph.nodes()[2];
  ASSERT_EQ(head.name, "head");
  DeviceContext context;
  Parameters parameters(graph.parameters(), context.stream, true);
  set_hashed_values(parameters);
  const StepState state;
  const auto layer =
      make_layer({graph, head, context.ops, DType::f32, true, true, true, 0, &state});
  const Shape shape = graph.shape(head.output);
  Shape whole = shape;
  whole.c = graph.stored_channels(head.output);
  ASSERT_GT(whole.c, shape.c);

  const auto gradients = [&](float behind) {
    std::vector<Buffer> memory;
    const auto tensor = [&](const Shape& s, float value) {
      memory.emplace_back(Device{}, to_size(s.elements()) * sizeof(float));
      const Tensor made(memory.back().data(), s, DType::f32);
      context.ops.elementwise->fill(made, value);
      return made;
    };
    const auto scratch = [&](size_t bytes) {
      memory.emplace_back(Device{}, bytes);
      return memory.back().data();
    };
    Bindings b;
    b.inputs = {tensor(graph.shape(head.inputs[0]), 0.5f)};
    // The output is not needed any more: its gradient may lie where it lay.
    b.output = tensor(whole, behind).channels(0, shape.c);
    b.output.spare = whole.c - shape.c;
    b.output_gradient = b.output;
    context.ops.elementwise->fill(b.output_gradient, 1);
    b.input_gradients = {tensor(graph.shape(head.inputs[0]), 0)};
    b.accumulate = {false};
    for (const int p : head.parameters) {
      b.parameters.push_back(parameters.value(to_size(p)));
      b.parameter_gradients.push_back(parameters.gradient(to_size(p)));
    }
    const LayerNeeds needs = layer->needs();
    b.packed = scratch(needs.packed);
    layer->pack(b.parameters, b.packed, scratch(needs.pack_workspace));
    b.workspace = scratch(needs.backward.total(true, false));
    layer->backward(b);
    std::vector<float> result = values_of(b.input_gradients[0]);
    for (const Tensor& gradient : b.parameter_gradients) {
      const std::vector<float> values = values_of(gradient);
      result.insert(result.end(), values.begin(), values.end());
    }
    return result;
  };
  EXPECT_EQ(gradients(std::numeric_limits<float>::quiet_NaN()), gradients(0));
}

TEST(PaddedPlan, ReadsTheWeightsOfAnother) {
  const Graph graph = small_unet(kInput, kClasses, 0);
  DeviceContext context;
  Parameters parameters(graph.parameters(), context.stream, false);
  set_hashed_values(parameters);
  for (const auto& [first_pads, other_pads] :
       std::vector<std::array<bool, 2>>{{true, true}, {true, false}, {false, true}}) {
    PackedWeights weights(parameters, DType::f32, Device{});
    PlanOptions options = options_for(Mode::infer, first_pads);
    options.weights = &weights;
    Plan first(graph, parameters, context, options);
    options.pad_channels = other_pads;
    Plan other(graph, parameters, context, options);
    first.pack_weights();
    other.pack_weights();
    for (Plan* plan : {&first, &other}) {
      cpu_ops().elementwise->fill(plan->input(), 0.5f);
      plan->forward();
    }
    const std::vector<float> wanted = values_of(first.output());
    EXPECT_LE(distance(values_of(other.output()), wanted), 1e-5 * norm(wanted));
  }
}

}  // namespace
