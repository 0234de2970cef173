#include "engine/plan/parameters.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

using namespace macadam;

namespace {

constexpr Parameters::Field kValue = Parameters::Field::value;

std::vector<ParameterSpec> example() {
  return {{"a.weight", {8, 3, 5, 6}, ParameterRole::conv_weight, Init::he_normal},
          {"a.bias", {1, 1, 1, 8}, ParameterRole::bias, {}},
          {"n.weight", {1, 1, 1, 8}, ParameterRole::norm_scale, {}},
          {"n.bias", {1, 1, 1, 8}, ParameterRole::norm_shift, {}},
          {"n.running_mean", {1, 1, 1, 8}, ParameterRole::running_mean, {}},
          {"n.running_var", {1, 1, 1, 8}, ParameterRole::running_var, {}},
          {"b.weight", {8, 3, 5, 6}, ParameterRole::conv_weight, Init::he_normal}};
}

TEST(Parameters, FilesHaveConvolutionsInPyTorchsOrder) {
  Stream stream;
  Parameters parameters(example(), stream, true);
  std::vector<float> oihw(8 * 6 * 3 * 5);
  std::iota(oihw.begin(), oihw.end(), 0.0f);
  parameters.write(0, kValue, oihw);
  EXPECT_EQ(parameters.read(0, kValue), oihw);
  const float* ohwi = parameters.value(0).as<float>();
  // Element (k=7, c=4, h=2, w=3).
  EXPECT_EQ(ohwi[((7 * 3 + 2) * 5 + 3) * 6 + 4], oihw[((7 * 6 + 4) * 3 + 2) * 5 + 3]);

  parameters.write(6, Parameters::Field::gradient, oihw);
  EXPECT_EQ(parameters.read(6, Parameters::Field::gradient), oihw);
  EXPECT_EQ(parameters.read(0, kValue), oihw) << "fields are apart";
  EXPECT_THROW(parameters.write(1, kValue, oihw), std::logic_error);
}

TEST(Parameters, InitialValuesHaveTheirDistributions) {
  Stream stream;
  const std::vector<ParameterSpec> specs{
      {"he.weight", {64, 3, 3, 32}, ParameterRole::conv_weight, Init::he_normal},
      {"glorot.weight", {64, 3, 3, 32}, ParameterRole::conv_weight, Init::glorot_uniform}};
  Parameters parameters(specs, stream, false);
  parameters.initialize(5);
  const auto statistics = [&](size_t p) {
    double mean = 0, square = 0, largest = 0;
    const std::vector<float> values = parameters.read(p, kValue);
    for (float f : values) {
      const auto v = static_cast<double>(f);
      mean += v / static_cast<double>(values.size());
      square += v * v / static_cast<double>(values.size());
      largest = std::max(largest, std::abs(v));
    }
    return std::array{mean, std::sqrt(square), largest};
  };
  const auto [he_mean, he_sigma, he_largest] = statistics(0);
  const double sigma = std::sqrt(2.0 / (9 * 32));
  EXPECT_NEAR(he_mean, 0, 0.03 * sigma);
  EXPECT_NEAR(he_sigma, sigma, 0.03 * sigma);
  EXPECT_GT(he_largest, 3 * sigma) << "normal, not uniform";
  const auto [glorot_mean, glorot_sigma, glorot_largest] = statistics(1);
  const double limit = std::sqrt(6.0 / (9 * 32 + 9 * 64));
  EXPECT_NEAR(glorot_mean, 0, 0.03 * limit);
  EXPECT_NEAR(glorot_sigma, limit / std::sqrt(3.0), 0.03 * limit);
  EXPECT_LE(glorot_largest, limit * (1 + 1e-6));
  EXPECT_GT(glorot_largest, 0.99 * limit);
}

TEST(Parameters, InitialValuesDependOnSeedAndNameAlone) {
  Stream stream;
  Parameters parameters(example(), stream, true);
  parameters.initialize(5);
  for (size_t p : {1, 3, 4}) {
    EXPECT_EQ(parameters.read(p, kValue), std::vector<float>(8, 0.0f)) << p;
  }
  for (size_t p : {2, 5}) {
    EXPECT_EQ(parameters.read(p, kValue), std::vector<float>(8, 1.0f)) << p;
  }
  EXPECT_NE(parameters.read(0, kValue), parameters.read(6, kValue)) << "another name";

  std::vector<ParameterSpec> reversed = example();
  std::reverse(reversed.begin(), reversed.end());
  Parameters other(reversed, stream, false);
  other.initialize(5);
  EXPECT_EQ(other.read(6, kValue), parameters.read(0, kValue)) << "another order";
  other.initialize(6);
  EXPECT_NE(other.read(6, kValue), parameters.read(0, kValue)) << "another seed";
}

TEST(Parameters, OnlyTrainedOnesHaveGradientsAndLearn) {
  Stream stream;
  Parameters parameters(example(), stream, true);
  EXPECT_TRUE(parameters.training());
  EXPECT_NE(parameters.gradient(0).data, nullptr);
  EXPECT_EQ(parameters.gradient(4).data, nullptr);
  EXPECT_EQ(parameters.gradient(5).data, nullptr);
  const std::vector<ParameterSegment> segments = parameters.segments(0.01f);
  ASSERT_EQ(segments.size(), 7u);
  int64_t end = 0;
  for (size_t p = 0; p < segments.size(); ++p) {
    const ParameterSegment& s = segments[p];
    const ParameterSpec& spec = parameters.specs()[p];
    EXPECT_EQ(s.offset % 64, 0);
    EXPECT_GE(s.offset, end);
    EXPECT_EQ(s.count, spec.shape.elements());
    EXPECT_EQ(s.lr_scale, spec.trainable() ? 1.0f : 0.0f);
    EXPECT_EQ(s.weight_decay, spec.role == ParameterRole::conv_weight ? 0.01f : 0.0f)
        << "convolution weights alone decay";
    EXPECT_EQ(parameters.flat(kValue).as<float>() + s.offset, parameters.value(p).as<float>());
    end = s.offset + s.count;
  }
  EXPECT_GE(parameters.flat(kValue).shape.elements(), end);
  const std::vector<float> scales{0.5f, 0, 1, 1, 9, 9, 2};
  const std::vector<ParameterSegment> scaled = parameters.segments(0.01f, scales);
  EXPECT_EQ(scaled[0].lr_scale, 0.5f);
  EXPECT_EQ(scaled[1].lr_scale, 0);
  EXPECT_EQ(scaled[4].lr_scale, 0) << "running statistics";
  EXPECT_EQ(scaled[6].lr_scale, 2);
  EXPECT_EQ(scaled[6].weight_decay, 0.01f);
  Parameters inference(example(), stream, false);
  EXPECT_FALSE(inference.training());
  EXPECT_EQ(inference.gradient(0).data, nullptr);
  EXPECT_THROW(inference.flat(Parameters::Field::gradient), std::logic_error);
  EXPECT_EQ(2 * inference.bytes(), parameters.bytes());
}

}  // namespace
