// What must hold of an op whatever the reference says, on every backend.

#include <gtest/gtest.h>
#include <omp.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numeric>

#include "base/to_size.h"
#include "kernels/scalar/dropout.h"
#include "tests/kernels/backends.h"
#include "tests/kernels/op_cases.h"
#include "tests/kernels/op_runner.h"

namespace macadam::testing {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

class OpProperty : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    backend_ = find_backend(GetParam());
    if (!backend_) GTEST_SKIP() << "no CUDA device";
  }

  /// Runs the case once, on `inputs` or on its own.
  Values run(const OpCase& op, const Values& inputs) {
    BoundOp bound(op, backend_->ops, backend_->stream, inputs);
    bound.run();
    return bound.results();
  }
  Values run(const OpCase& op) { return run(op, make_inputs(op)); }

  Backend* backend_ = nullptr;
};

INSTANTIATE_TEST_SUITE_P(Cpu, OpProperty, ::testing::Values("Cpu"));
#if defined(MACADAM_HAS_EMULATED)
INSTANTIATE_TEST_SUITE_P(Emulated, OpProperty, ::testing::Values("Emulated"));
#endif
#if defined(MACADAM_HAS_CUDA)
INSTANTIATE_TEST_SUITE_P(Cuda, OpProperty, ::testing::Values("Cuda"));
#endif

// Many segments of odd lengths, against one copy each, or one of each column of a matrix.
TEST_P(OpProperty, CastAllIsACopyOfEachSegment) {
  Stream& stream = backend_->stream;
  constexpr std::array<std::pair<DType, DType>, 5> kCasts{{{DType::f32, DType::f32},
                                                           {DType::f32, DType::bf16},
                                                           {DType::f32, DType::f16},
                                                           {DType::bf16, DType::f32},
                                                           {DType::f16, DType::f32}}};
  for (const auto& [from, to] : kCasts) {
    const bool fp16 = from == DType::f16 || to == DType::f16;
    if (fp16 && std::string(GetParam()) == "Cpu") continue;
    constexpr std::array<int64_t, 9> kCounts{1, 7, 8, 9, 300, 4096, 17, 64, 1025};
    constexpr std::array<int, 9> kRows{1, 1, 1, 3, 12, 64, 1, 1, 41};
    constexpr int kRoom = 4352;  // elements from segment to segment
    constexpr Shape kAll{1, 1, 1, kRoom * static_cast<int>(kCounts.size())};
    std::vector<float> values(to_size(kAll.elements()));
    for (size_t i = 0; i < values.size(); ++i) values[i] = std::sin(static_cast<float>(i)) * 3;
    const size_t bytes = values.size() * sizeof(float);
    const Buffer fp32(stream.device(), bytes), source(stream.device(), bytes),
        got(stream.device(), bytes), wanted(stream.device(), bytes);
    copy_bytes(stream, fp32.data(), values.data(), bytes);
    backend_->ops.elementwise->copy(Tensor(fp32.data(), kAll, DType::f32, stream.device()),
                                    Tensor(source.data(), kAll, from, stream.device()), false);
    for (const Buffer* buffer : {&got, &wanted}) zero_bytes(stream, buffer->data(), bytes);
    std::vector<CastSegment> segments;
    int64_t vectors = 0;
    for (size_t s = 0; s < kCounts.size(); ++s) {
      const Shape shape{1, 1, 1, static_cast<int>(kCounts[s])};
      std::byte* const x = source.data() + s * kRoom * size_of(from);
      const size_t offset = s * kRoom * size_of(to);
      const int rows = kRows[s], columns = shape.c / rows;
      if (rows == 1) {
        backend_->ops.elementwise->copy(Tensor(x, shape, from, stream.device()),
                                        Tensor(wanted.data() + offset, shape, to, stream.device()),
                                        false);
      }
      for (int column = 0; rows > 1 && column < columns; ++column) {
        const Tensor matrix(x, {1, 1, rows, columns}, from, stream.device());
        std::byte* const y = wanted.data() + offset + to_size(column * rows) * size_of(to);
        backend_->ops.elementwise->copy(matrix.channels(column, 1),
                                        Tensor(y, {1, 1, rows, 1}, to, stream.device()), false);
      }
      segments.push_back({x, got.data() + offset, kCounts[s], vectors, rows});
      vectors += segments.back().vectors();
    }
    const Buffer table(stream.device(), segments.size() * sizeof(CastSegment));
    copy_bytes(stream, table.data(), segments.data(), table.bytes());
    backend_->ops.elementwise->cast_all(
        {reinterpret_cast<const CastSegment*>(table.data()), segments.size()}, from, to, vectors);
    std::vector<std::byte> a(got.bytes()), b(got.bytes());
    copy_bytes(stream, a.data(), got.data(), a.size());
    copy_bytes(stream, b.data(), wanted.data(), b.size());
    stream.synchronize();
    EXPECT_EQ(a, b) << name_of(from) << " to " << name_of(to)
                    << ": nothing beyond the segments either";
  }
}

/// Expects the casts to write what pack(memory) does: all bytes of it that it writes at all.
template <typename Pack>
void expect_packing_is_casts(Backend& backend, const std::vector<Cast>& casts, std::byte* packed,
                             size_t bytes, const Pack& pack) {
  Stream& stream = backend.stream;
  const Buffer wanted(stream.device(), bytes);
  zero_bytes(stream, packed, bytes);
  zero_bytes(stream, wanted.data(), bytes);
  pack(wanted.data());
  for (const Cast& cast : casts) {
    const int64_t rows = cast.transposed ? cast.from.shape.n : 1;
    const CastSegment segment{cast.from.data, cast.to.data, cast.from.shape.elements(), 0, rows};
    const Buffer table(stream.device(), sizeof(CastSegment));
    copy_bytes(stream, table.data(), &segment, sizeof(CastSegment));
    backend.ops.elementwise->cast_all(
        {reinterpret_cast<const CastSegment*>(table.data()), size_t{1}}, cast.from.dtype,
        cast.to.dtype, segment.vectors());
    stream.synchronize();
  }
  std::vector<std::byte> a(bytes), b(bytes);
  copy_bytes(stream, a.data(), packed, bytes);
  copy_bytes(stream, b.data(), wanted.data(), bytes);
  stream.synchronize();
  EXPECT_EQ(a, b);
}

TEST_P(OpProperty, PackingThatIsCastsIsTheSameAsCasts) {
  const Device device = backend_->stream.device();
  const auto parameter = [&](Shape shape) {
    std::vector<float> values(to_size(shape.elements()));
    for (size_t i = 0; i < values.size(); ++i) values[i] = std::sin(static_cast<float>(i) + 0.3f);
    Buffer buffer(device, values.size() * sizeof(float));
    copy_bytes(backend_->stream, buffer.data(), values.data(), buffer.bytes());
    backend_->stream.synchronize();
    return std::pair{std::move(buffer), shape};
  };
  const auto tensor = [&](const auto& pair) {
    return Tensor(pair.first.data(), pair.second, DType::f32, device);
  };
  for (const DType dtype : {DType::f32, DType::bf16}) {
    const SqueezeExciteDesc gates{.images = 2, .channels = 24, .hidden = 5, .dtype = dtype};
    const auto w1 = parameter({5, 1, 1, 24}), b1 = parameter({1, 1, 1, 5}),
               w2 = parameter({24, 1, 1, 5}), b2 = parameter({1, 1, 1, 24});
    const SqueezeExciteParameters parameters{tensor(w1), tensor(b1), tensor(w2), tensor(b2)};
    SqueezeExciteOps& ops = *backend_->ops.squeeze_excite;
    const Buffer packed(device, ops.packed_bytes(gates));
    const std::vector<Cast> casts = ops.casts(gates, parameters, packed.data());
    if (!casts.empty()) {
      expect_packing_is_casts(*backend_, casts, packed.data(), packed.bytes(),
                              [&](std::byte* to) { ops.pack(gates, parameters, to); });
    }
    if (!device.is_cuda() && std::string(GetParam()) != "Emulated") continue;
    const ConvDesc desc{.input = {2, 7, 9, 24},
                        .out_channels = 24,
                        .kernel_h = 3,
                        .kernel_w = 3,
                        .padding = Padding::all(1),
                        .groups = 24,
                        .bias = false,
                        .dtype = dtype};
    const auto conv = backend_->ops.conv->make(desc);
    const auto weights = parameter(desc.weights());
    const Buffer taps(device, conv->packed_bytes());
    const std::vector<Cast> all = conv->casts(tensor(weights), {}, taps.data());
    ASSERT_FALSE(all.empty());
    expect_packing_is_casts(*backend_, all, taps.data(), taps.bytes(),
                            [&](std::byte* to) { conv->pack(tensor(weights), {}, to); });
  }
}

/// The fraction of elements that dropout keeps of a tensor of ones.
double kept_fraction(const std::vector<double>& dropped) {
  const auto kept = std::count_if(dropped.begin(), dropped.end(), [](double v) { return v != 0; });
  return static_cast<double>(kept) / static_cast<double>(dropped.size());
}

TEST_P(OpProperty, DropoutKeepsItsShareAndTheMean) {
  for (const float p : {0.1f, 0.5f, 0.9f}) {
    OpCase op = dropout({2, 17, 23, 64}, DType::f32, p);
    op.operands[0].fill = values({1});
    const std::vector<double> y = run(op).at("y");
    const auto size = static_cast<double>(y.size());
    const double deviation = std::sqrt(p * (1 - p) / size);
    EXPECT_NEAR(kept_fraction(y), 1 - p, 4 * deviation) << "p = " << p;
    const double mean = std::accumulate(y.begin(), y.end(), 0.0) / size;
    EXPECT_NEAR(mean, 1, 4 * deviation / (1 - p)) << "p = " << p;
  }
}

TEST_P(OpProperty, DropoutIsAFunctionOfTheStep) {
  OpCase op = dropout({1, 5, 9, 32}, DType::f32, 0.5f);
  Values inputs = make_inputs(op);
  const std::vector<double> first = run(op, inputs).at("y");
  EXPECT_EQ(run(op, inputs).at("y"), first);
  for (const size_t byte : {size_t{0}, size_t{7}}) {  // both words of the step count
    Values later = inputs;
    later["state"][byte] += 1;
    EXPECT_NE(run(op, later).at("y"), first);
  }
}

TEST_P(OpProperty, DropoutMaskDoesNotDependOnTheLayout) {
  const Shape shape{2, 5, 9, 11};
  OpCase dense = dropout(shape, DType::f32, 0.5f);
  OpCase sliced = dropout(shape, DType::f32, 0.5f, {.layout = Layout::ragged_slices});
  dense.operands[0].fill = sliced.operands[0].fill = values({1});
  EXPECT_EQ(run(dense).at("y"), run(sliced).at("y"));
}

TEST_P(OpProperty, DropPathTakesTheMaskThatDropoutGivesToASamplesIndex) {
  const int samples = 1000;
  for (const Shape& sample : {Shape{samples, 1, 1, 1}, Shape{samples, 1, 3, 1}}) {
    OpCase path = drop_path(sample, DType::f32, 0.25f);
    OpCase elements = dropout({1, 1, 1, samples}, DType::f32, 0.25f);
    path.operands[0].fill = elements.operands[0].fill = values({1});
    const std::vector<double> y = run(path).at("y"), mask = run(elements).at("y");
    const auto width = to_size(sample.w);
    for (size_t i = 0; i < y.size(); ++i) ASSERT_EQ(y[i], mask[i / width]) << "element " << i;
    EXPECT_NEAR(kept_fraction(y), 0.75, 0.06);
  }
}

TEST_P(OpProperty, SigmoidAndSiluKeepTheirRelativeAccuracy) {
  const Shape shape{1, 25, 64, 11};
  const auto ladder = [](std::span<double> x, std::mt19937&) {
    for (size_t i = 0; i < x.size(); ++i)
      x[i] = -86.5 + 186.5 * static_cast<double>(i) / static_cast<double>(x.size());
  };
  for (const Activation kind : {Activation::sigmoid, Activation::silu}) {
    OpCase op = activate(kind, shape, DType::f32);
    op.operands[0].fill = ladder;
    const Values inputs = make_inputs(op);
    const std::vector<double>& x = inputs.at("x");
    const std::vector<double> y = run(op, inputs).at("y");
    for (size_t i = 0; i < x.size(); ++i) {
      const double sigmoid = 1 / (1 + std::exp(-x[i]));
      const double expected = kind == Activation::silu ? x[i] * sigmoid : sigmoid;
      ASSERT_NEAR(y[i], expected, 1e-6 * std::abs(expected)) << name_of(kind) << " of " << x[i];
    }
  }
}

TEST_P(OpProperty, ConfusionCountsEveryValidPixel) {
  const int classes = 19;
  OpCase op = confusion_count({3, 17, 23, 1}, classes);
  for (Operand& operand : op.operands) {
    if (operand.name == "predictions") operand.fill = labels(classes, 0);
    if (operand.name == "counts") operand.fill = values({0});
  }
  const Values inputs = make_inputs(op);
  const std::vector<double>& given = inputs.at("labels");
  const auto valid = std::count_if(given.begin(), given.end(), [](double l) { return l < 19; });
  const std::vector<double> bytes = run(op, inputs).at("counts");
  double total = 0;
  for (size_t i = 0; i < bytes.size(); ++i)
    total += std::ldexp(bytes[i], 8 * static_cast<int>(i % sizeof(uint64_t)));
  EXPECT_EQ(total, static_cast<double>(valid));
}

TEST_P(OpProperty, ArgmaxOfEqualsIsTheLowestIndex) {
  OpCase op = argmax({1, 5, 9, 19}, DType::f32);
  op.operands[0].fill = values({-3});
  const std::vector<double> classes = run(op).at("classes");
  EXPECT_EQ(classes, std::vector<double>(classes.size(), 0));
  op.operands[0].fill = [](std::span<double> scores, std::mt19937&) {
    for (size_t i = 0; i < scores.size(); ++i) scores[i] = i % 19 == 7 || i % 19 == 12 ? 2 : 1;
  };
  EXPECT_EQ(run(op).at("classes"), std::vector<double>(classes.size(), 7));
}

LossCase mixed_loss() {
  return {.name = "mixed",
          .logits = {2, 5, 9, 11},
          .desc = make_loss({loss_term("ce", 1, std::array{0.1f}), loss_term("dice")}),
          .class_weights = true,
          .labeled = 11};
}

TEST_P(OpProperty, LossWithoutAValidPixelIsZero) {
  for (const AbsentClass absent : {AbsentClass::skip, AbsentClass::zero, AbsentClass::suppress}) {
    LossCase loss = mixed_loss();
    loss.desc.absent = absent;
    OpCase op = segmentation_loss(loss, DType::f32, true);
    Values inputs = make_inputs(op);
    std::fill(inputs["labels"].begin(), inputs["labels"].end(), 255);
    const Values results = run(op, inputs);
    EXPECT_EQ(results.at("values"), std::vector<double>(kLossValues, 0));
    const std::vector<double>& gradient = results.at("dlogits");
    EXPECT_EQ(gradient, std::vector<double>(gradient.size(), 0));
  }
}

TEST_P(OpProperty, LossOfNanIsNan) {
  const OpCase op = segmentation_loss(mixed_loss(), DType::f32, true);
  Values inputs = make_inputs(op);
  inputs["labels"][40] = 3;
  for (const size_t score : {size_t{0}, size_t{3}, size_t{10}}) {
    Values broken = inputs;
    broken["logits"][40 * 11 + score] = kNan;
    EXPECT_TRUE(std::isnan(run(op, broken).at("values")[0])) << "score " << score;
  }
}

TEST_P(OpProperty, AStudentWithItsTeachersScoresHasNothingToLearn) {
  const OpCase op =
      distill({.name = "same", .scores = {2, 17, 23, 5}}, DType::f32, Direction::gradient);
  Values inputs = make_inputs(op);
  inputs["teacher"] = inputs["student"];
  const Values same = run(op, inputs);
  EXPECT_NEAR(same.at("value")[0], 0, 1e-5);
  for (const double slope : same.at("dstudent")) ASSERT_NEAR(slope, 0, 1e-9);
  // What is added to all scores of an image changes no softmax.
  for (double& score : inputs["teacher"]) score += 2;
  EXPECT_NEAR(run(op, inputs).at("value")[0], 0, 1e-4);
}

TEST_P(OpProperty, GatheredAndSummedGradientsRepeatBitForBit) {
  const Shape shape{2, 17, 23, 19};
  const PoolDesc pool{
      .kernel_h = 3, .kernel_w = 3, .stride_h = 2, .stride_w = 2, .padding = Padding::all(1)};
  const ResizeCase resize{shape, 40, 31};
  for (const OpCase& op :
       {max_pool_backward(shape, DType::f32, pool), average_pool_backward(shape, DType::f32, pool),
        nearest_backward(resize, DType::f32), bilinear_backward(resize, DType::f32, DType::f32),
        epilogue_backward({.activation = Activation::relu, .shape = shape}, DType::f32),
        channel_mean({1, 61, 67, 40}, DType::f32),
        channel_scale_backward({2, 61, 67, 40}, DType::f32, Wanted::all),
        squeeze_excite_backward({.images = 5, .channels = 96, .hidden = 4}),
        distill({.name = "many", .scores = {2, 61, 67, 19}}, DType::f32, Direction::gradient)}) {
    const Values inputs = make_inputs(op);
    EXPECT_EQ(run(op, inputs), run(op, inputs)) << op.full_name();
  }
}

TEST(Distillation, ThreadsChangeNoBit) {
  Backend& cpu = *find_backend("Cpu");
  const OpCase op =
      distill({.name = "threads", .scores = {3, 61, 67, 19}}, DType::f32, Direction::gradient);
  const Values inputs = make_inputs(op);
  const int threads = omp_get_max_threads();
  std::vector<Values> found;
  for (const int count : {1, 2, 5}) {
    omp_set_num_threads(count);
    BoundOp bound(op, cpu.ops, cpu.stream, inputs);
    bound.run();
    found.push_back(bound.results());
  }
  omp_set_num_threads(threads);
  EXPECT_EQ(found[1], found[0]);
  EXPECT_EQ(found[2], found[0]);
}

TEST(Dropout, LayersAndSeedsDiffer) {
  const auto words = [](uint64_t seed, uint64_t step, uint32_t layer, uint32_t group) {
    const scalar::PhiloxBlock block = scalar::dropout_block(seed, step, layer, group);
    return std::vector<uint32_t>(std::begin(block.word), std::end(block.word));
  };
  const std::vector<uint32_t> base = words(1, 1, 1, 1);
  EXPECT_NE(words(2, 1, 1, 1), base);
  EXPECT_NE(words(1 + (uint64_t{1} << 32), 1, 1, 1), base);
  EXPECT_NE(words(1, 2, 1, 1), base);
  EXPECT_NE(words(1, 1 + (uint64_t{1} << 32), 1, 1), base);
  EXPECT_NE(words(1, 1, 2, 1), base);
  EXPECT_NE(words(1, 1, 1, 2), base);
}

TEST(Dropout, ThresholdAndScaleAgree) {
  for (const float p : {0.0f, 0.1f, 0.25f, 0.5f, 0.9f}) {
    const Dropout dropout{.p = p};
    EXPECT_NEAR(dropout.threshold() / 65536.0, p, 0.5 / 65536);
    EXPECT_NEAR(dropout.scale() * (1 - dropout.threshold() / 65536.0), 1, 1e-6);
  }
  EXPECT_EQ(Dropout{.p = 0}.scale(), 1.0f);
}

}  // namespace
}  // namespace macadam::testing
