// Presets against the numbers of the frameworks they are named for
// (tests/golden/make_loss_goldens.py).

#include "run/loss_presets.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "base/files.h"
#include "base/to_size.h"
#include "kernels/cpu/cpu_ops.h"
#include "run/loss_expression.h"
#include "tests/paths.h"

namespace macadam {
namespace {

/// Errors are rounded for lovasz (kernels/scalar/error_bins.h).
constexpr double kRounded = 0.5 / scalar::kErrorSteps;

class LossPresets : public ::testing::Test {
 protected:
  LossPresets()
      : golden_(nlohmann::json::parse(
            read_file(source_path("tests/golden/losses.json"), size_t{1} << 20))) {
    const auto sides = golden_.at("shape").get<std::vector<int>>();
    shape_ = {sides[0], sides[1], sides[2], sides[3]};
    scores_ = golden_.at("scores").get<std::vector<float>>();
  }

  /// The loss of an expression on the golden's scores, and its gradient in `gradient`.
  double value(const std::string& expression, const char* labels, std::vector<float>& gradient) {
    const LossDesc loss = with_classes(parse_loss(expression, "w").loss(), shape_.c);
    auto mask = golden_.at(labels).get<std::vector<uint8_t>>();
    gradient.resize(scores_.size());
    const auto ops = cpu::make_loss_ops();
    std::vector<double> workspace(ops->workspace_bytes(loss, shape_) / sizeof(double) + 1);
    LossValues values;
    const Shape pixels{shape_.n, shape_.h, shape_.w, 1};
    ops->run(loss, Tensor(scores_.data(), shape_, DType::f32),
             Tensor(mask.data(), pixels, DType::u8), {},
             Tensor(gradient.data(), shape_, DType::f32), &values, workspace.data());
    return static_cast<double>(values.total);
  }

  nlohmann::json golden_;
  Shape shape_;
  std::vector<float> scores_;
};

TEST_F(LossPresets, AreWhatTheirFrameworksSay) {
  std::set<std::string> named;
  for (const LossPreset& preset : loss_presets()) named.emplace(preset.name);
  for (const std::string& name : named) {
    SCOPED_TRACE(name);
    ASSERT_TRUE(golden_.at("losses").contains(name));
    const nlohmann::json& wanted = golden_.at("losses").at(name);
    std::vector<float> gradient;
    const bool ignored = name.ends_with(":smp");
    const double got = value(name, ignored ? "labels_with_ignored" : "labels", gradient);
    const bool rounded = name.starts_with("lovasz");
    const double total = wanted.at("value");
    EXPECT_NEAR(got, total, rounded ? kRounded : 1e-6);
    EXPECT_EQ(wanted.contains("gradient"), ignored);
    if (!ignored) continue;
    const auto by_score = wanted.at("gradient").get<std::vector<double>>();
    ASSERT_EQ(by_score.size(), gradient.size());
    double error = 0, norm = 0;
    for (size_t i = 0; i < gradient.size(); ++i) {
      const double difference = static_cast<double>(gradient[i]) - by_score[i];
      error += difference * difference;
      norm += by_score[i] * by_score[i];
    }
    EXPECT_LE(std::sqrt(error / norm), rounded ? 0.03 : 1e-5);
  }
  EXPECT_EQ(golden_.at("losses").size(), named.size());
}

}  // namespace
}  // namespace macadam
