// UNet-mini against PyTorch in double precision: tests/golden/make_unet_mini_golden.py wrote the
// results; weights, images and labels come from the same hash here and there.

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "base/to_size.h"
#include "engine/train/training_step.h"
#include "models/network.h"
#include "tests/engine/cpu_dtypes.h"
#include "tests/engine/hashed.h"
#include "tests/paths.h"

using namespace macadam;
using macadam::testing::hashed;
using macadam::testing::set_hashed_values;

namespace {

constexpr Shape kInput{2, 16, 24, 3};
constexpr int kClasses = 8;
constexpr int kTile = 4;  // pixels of one label

const nlohmann::json& golden() {
  static const nlohmann::json content = [] {
    std::ifstream file(source_path("tests/golden/unet_mini.json"));
    return nlohmann::json::parse(file);
  }();
  return content;
}

class HashedBatch {
 public:
  HashedBatch() : images_(to_size(kInput.elements())), labels_(to_size(kInput.pixels())) {
    for (uint32_t i = 0; i < images_.size(); ++i) {
      images_[i] = static_cast<uint8_t>(hashed(1000, i) >> 24);
    }
    constexpr int kRows = kInput.h / kTile, kColumns = kInput.w / kTile;
    for (int i = 0; i < static_cast<int>(labels_.size()); ++i) {
      const int n = i / (kInput.h * kInput.w), y = i / kInput.w % kInput.h, x = i % kInput.w;
      const int tile = (n * kRows + y / kTile) * kColumns + x / kTile;
      const uint32_t drawn = hashed(1001, static_cast<uint32_t>(tile)) % (kClasses + 1);
      labels_[to_size(i)] = drawn == kClasses ? 255 : static_cast<uint8_t>(drawn);
    }
    batch_.n = kInput.n;
    batch_.images = Tensor(images_.data(), kInput, DType::u8);
    batch_.labels = Tensor(labels_.data(), {kInput.n, kInput.h, kInput.w, 1}, DType::u8);
  }
  const Batch& batch() const { return batch_; }

 private:
  std::vector<uint8_t> images_, labels_;
  Batch batch_;
};

LossDesc loss_desc(bool dice) {
  return dice ? make_loss({loss_term("ce"), loss_term("dice")}) : LossDesc{};
}

class UnetMiniGolden : public ::testing::Test {
 protected:
  UnetMiniGolden()
      : graph_(build_network({"unet_mini", kClasses, {{"dropout", "0"}}}, kInput)),
        parameters_(graph_.parameters(), context_.stream, true) {
    set_hashed_values(parameters_);
  }

  Plan make_plan(Mode mode, DType dtype, bool dice) {
    PlanOptions options;
    options.mode = mode;
    options.dtype = dtype;
    options.loss = loss_desc(dice);
    Plan plan(graph_, parameters_, context_, options);
    plan.pack_weights();
    BatchUpload(plan, context_.stream, Normalization()).run(batch_.batch());
    plan.forward();
    return plan;
  }

  /// |scores - golden| / |golden|.
  double logits_error(Mode mode, DType dtype) {
    const Plan plan = make_plan(mode, dtype, false);
    std::vector<float> scores(to_size(plan.output().shape.elements()));
    context_.ops.elementwise->copy(plan.output(),
                                   Tensor(scores.data(), plan.output().shape, DType::f32), false);
    const auto wanted = golden().at("logits").get<std::vector<double>>();
    EXPECT_EQ(wanted.size(), scores.size());
    double difference = 0, size = 0;
    for (size_t i = 0; i < scores.size(); ++i) {
      difference += std::pow(static_cast<double>(scores[i]) - wanted[i], 2);
      size += wanted[i] * wanted[i];
    }
    return std::sqrt(difference / size);
  }

  void expect_gradients(const std::string& loss, DType dtype, double loss_tolerance,
                        double gradient_tolerance) {
    SCOPED_TRACE(loss);
    const nlohmann::json& wanted = golden().at(loss);
    Plan plan = make_plan(Mode::train, dtype, loss == "ce_dice");
    LossValues values;
    plan.loss({}, &values);
    plan.backward();
    const auto expect_loss = [&](const char* part, float got) {
      const double value = wanted.at("loss").at(part);
      EXPECT_NEAR(static_cast<double>(got), value, loss_tolerance * value) << part;
    };
    expect_loss("total", values.total);
    expect_loss("ce", values.terms[0]);
    if (loss == "ce_dice") expect_loss("dice", values.terms[1]);

    ASSERT_EQ(wanted.at("gradients").size(), parameters_.size());
    for (size_t p = 0; p < parameters_.size(); ++p) {
      const std::string& name = parameters_.specs()[p].name;
      SCOPED_TRACE(name);
      const nlohmann::json& tensor = wanted.at("gradients").at(name);
      const double norm = tensor.at("norm");
      const auto samples = tensor.at("samples").get<std::vector<double>>();
      const std::vector<float> got = parameters_.read(p, Parameters::Field::gradient);
      double squares = 0, distance = 0;
      for (float g : got) squares += static_cast<double>(g) * static_cast<double>(g);
      EXPECT_NEAR(std::sqrt(squares), norm, gradient_tolerance * norm);
      for (size_t k = 0; k < samples.size(); ++k) {
        const auto g = static_cast<double>(got[k * got.size() / samples.size()]);
        distance += std::pow(g - samples[k], 2);
      }
      // The samples' share of the norm.
      const double scale =
          norm * std::sqrt(static_cast<double>(samples.size()) / static_cast<double>(got.size()));
      EXPECT_LE(std::sqrt(distance), gradient_tolerance * scale);
    }
  }

  void expect_training(const std::string& run, DType dtype, double tolerance) {
    SCOPED_TRACE(run);
    TrainingStepOptions options;
    options.dtype = dtype;
    options.loss = loss_desc(true);
    options.optimizer.kind = run == "sgd" ? OptimizerKind::sgd : OptimizerKind::adamw;
    options.optimizer.sgd.nesterov = true;
    options.optimizer.weight_decay = 0.01f;
    TrainingStep step(graph_, parameters_, context_, options);
    const auto wanted = golden().at(run).get<std::vector<double>>();
    for (size_t i = 0; i < wanted.size(); ++i) {
      step.run(batch_.batch(), i, run == "sgd" ? 5e-4f : 1e-3f);
      const double loss = static_cast<double>(step.finish()->loss.total);
      EXPECT_NEAR(loss, wanted[i], tolerance * wanted[i]) << "step " << i;
    }
  }

  DeviceContext context_;
  Graph graph_;
  Parameters parameters_;
  HashedBatch batch_;
};

TEST_F(UnetMiniGolden, Fp32Logits) {
  EXPECT_LT(logits_error(Mode::infer, DType::f32), 1e-5);
  EXPECT_LT(logits_error(Mode::train, DType::f32), 1e-5);
}

TEST_F(UnetMiniGolden, Fp32Gradients) {
  expect_gradients("ce", DType::f32, 1e-5, 1e-4);
  expect_gradients("ce_dice", DType::f32, 1e-5, 1e-4);
}

TEST_F(UnetMiniGolden, Fp32AdamWLosses) { expect_training("adamw", DType::f32, 1e-4); }
TEST_F(UnetMiniGolden, Fp32SgdLosses) { expect_training("sgd", DType::f32, 1e-4); }

TEST_F(UnetMiniGolden, Bf16Logits) {
  if (!cpu_has_bf16()) GTEST_SKIP() << "no bf16 on this processor";
  EXPECT_LT(logits_error(Mode::infer, DType::bf16), 2e-2);
  EXPECT_LT(logits_error(Mode::train, DType::bf16), 2e-2);
}

TEST_F(UnetMiniGolden, Bf16Gradients) {
  if (!cpu_has_bf16()) GTEST_SKIP() << "no bf16 on this processor";
  expect_gradients("ce_dice", DType::bf16, 0.01, 0.15);
}

TEST_F(UnetMiniGolden, Bf16AdamWLosses) {
  if (!cpu_has_bf16()) GTEST_SKIP() << "no bf16 on this processor";
  expect_training("adamw", DType::bf16, 0.03);
}

TEST_F(UnetMiniGolden, Bf16SgdLosses) {
  if (!cpu_has_bf16()) GTEST_SKIP() << "no bf16 on this processor";
  expect_training("sgd", DType::bf16, 0.03);
}

}  // namespace
