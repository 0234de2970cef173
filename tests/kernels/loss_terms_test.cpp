// The formulas of the loss's terms against others, and the two steps of a loss.

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <set>
#include <vector>

#include "base/to_size.h"
#include "kernels/reference/reference_ops.h"
#include "tests/kernels/backends.h"
#include "tests/kernels/op_cases.h"
#include "tests/kernels/op_runner.h"

namespace macadam::testing {
namespace {

constexpr Shape kShape{2, 5, 9, 8};

TEST(LossTerms, AllHaveCases) {
  std::set<std::string_view> tested;
  for (const LossTermCase& one : loss_term_cases()) tested.insert(one.term);
  for (const LossTermInfo& info : loss_term_infos()) {
    EXPECT_TRUE(tested.contains(info.name)) << info.name;
  }
}

/// Whether a label of another class is at most `reach` rows and columns away.
bool near_another(const std::vector<double>& labels, size_t at, int reach) {
  const auto pixel = static_cast<int>(at);
  const int line = pixel / kShape.w, x = pixel % kShape.w;
  for (size_t other = 0; other < labels.size(); ++other) {
    const int other_line = static_cast<int>(other) / kShape.w;
    const int other_x = static_cast<int>(other) % kShape.w;
    const bool same_image = other_line / kShape.h == line / kShape.h;
    const bool close = std::abs(other_line - line) <= reach && std::abs(other_x - x) <= reach;
    if (same_image && close && labels[other] < kShape.c && labels[other] != labels[at]) return true;
  }
  return false;
}

/// The mean over the pixels, or over the classes that occur, of the case's own formula.
double in_other_words(const LossTermCase& one, const Values& inputs, bool weigh_regions = false) {
  const std::vector<double>& logits = inputs.at("logits");
  const std::vector<double>& labels = inputs.at("labels");
  const std::vector<double>& weights = inputs.at("weights");
  constexpr size_t kClasses = kShape.c;
  std::array<double, kClasses> intersection{}, predicted{}, labeled{};
  std::array<std::vector<RankedError>, kClasses> errors;
  double sum = 0, weight_sum = 0;
  struct Pixel {
    size_t label;
    std::array<double, kClasses> p;
    double value, weight;
  };
  std::vector<Pixel> pixels;
  std::vector<double> label_p;
  for (size_t i = 0; i < labels.size(); ++i) {
    if (labels[i] >= kClasses) continue;
    Pixel& pixel = pixels.emplace_back(Pixel{static_cast<size_t>(labels[i]), {}, 0, 0});
    double all = 0;
    for (size_t c = 0; c < kClasses; ++c) all += pixel.p[c] = std::exp(logits[i * kClasses + c]);
    for (double& one_p : pixel.p) one_p /= all;
    label_p.push_back(pixel.p[pixel.label]);
    const std::span<const double> z = std::span(logits).subspan(i * kClasses, kClasses);
    if (one.pixel) pixel.value = one.pixel(pixel.p, pixel.label);
    if (one.scores) pixel.value = one.scores(z, pixel.label);
    pixel.weight = weights[pixel.label] *
                   (near_another(labels, i, one.near) ? one.near_weight : one.other_weight);
  }
  std::ranges::sort(label_p);
  const double most = one.most ? one.most(label_p) : 1;
  for (const auto& [label, p, value, weight] : pixels) {
    if (p[label] <= most) {
      sum += weight * value;
      weight_sum += weight;
    }
    intersection[label] += p[label];
    labeled[label] += 1;
    for (size_t c = 0; c < kClasses; ++c) {
      predicted[c] += p[c];
      errors[c].push_back({c == label ? 1 - p[c] : p[c], c == label});
    }
  }
  if (one.pixel || one.scores) return sum / weight_sum;
  sum = 0;
  double present = 0;
  for (size_t c = 0; c < kClasses; ++c) {
    if (labeled[c] == 0) continue;
    std::ranges::sort(errors[c], std::ranges::greater(), &RankedError::error);
    const double weight = weigh_regions ? weights[c] : 1;
    sum += weight * (one.region ? one.region(intersection[c], predicted[c], labeled[c])
                                : one.rank(errors[c]));
    present += weight;
  }
  return sum / present;
}

TEST(LossTerms, AreWhatTheirCasesSay) {
  for (const LossTermCase& one : loss_term_cases()) {
    const LossCase loss{.name = one.term,
                        .logits = kShape,
                        .desc = make_loss({one.with_weight(3)}),
                        .class_weights = true,
                        .labeled = 6,
                        .patch = one.near > 0 ? 4 : 1};
    const OpCase op = segmentation_loss(loss, DType::f32, false);
    const Values inputs = make_inputs(op);
    const std::vector<double> got = reference_results(op, inputs).at("values");
    const double wanted = in_other_words(one, inputs);
    EXPECT_NEAR(got[2], wanted, 1e-6 * wanted) << one.term;
    EXPECT_NEAR(got[0], 3 * wanted, 3e-6 * wanted) << one.term;
  }
}

TEST(LossTerms, OfRegionsMayHaveTheClassesWeights) {
  for (const LossTermCase& one : loss_term_cases()) {
    if (!one.region) continue;
    LossCase loss{.name = one.term,
                  .logits = kShape,
                  .desc = make_loss({one.with_weight(3)}),
                  .class_weights = true,
                  .labeled = 6};
    loss.desc.weigh_regions = true;
    const OpCase op = segmentation_loss(loss, DType::f32, false);
    Values inputs = make_inputs(op);
    const double wanted = in_other_words(one, inputs, true);
    EXPECT_NEAR(reference_results(op, inputs).at("values")[2], wanted, 1e-6 * wanted) << one.term;
    inputs["weights"].assign(kShape.c, 0);
    EXPECT_EQ(reference_results(op, inputs).at("values")[2], 0) << "no class counts";
  }
}

// The mean of what each image has alone, but for one without a label.
TEST(LossTerms, OfRegionsMayBeOfImages) {
  LossCase all{.name = "images",
               .logits = {3, 5, 9, 4},
               .desc = make_loss({loss_term("dice"), loss_term("jaccard", 2)}),
               .labeled = 4};
  all.desc.per_image = true;
  LossCase one = all;
  one.logits.n = 1;
  const OpCase op = segmentation_loss(all, DType::f32, true);
  Values inputs = make_inputs(op);
  const size_t pixels = inputs["labels"].size() / 3, scores = 4 * pixels;
  std::fill_n(inputs["labels"].begin() + static_cast<ptrdiff_t>(pixels), pixels, 255);
  const Values whole = reference_results(op, inputs);
  double sum = 0;
  for (const size_t image : {size_t{0}, size_t{2}}) {
    const OpCase op_of_one = segmentation_loss(one, DType::f32, true);
    Values of_one = inputs;
    const auto cut = [&](const char* name, size_t count) {
      const auto first = inputs[name].begin() + static_cast<ptrdiff_t>(image * count);
      of_one[name].assign(first, first + static_cast<ptrdiff_t>(count));
    };
    cut("logits", scores);
    cut("labels", pixels);
    const Values alone = reference_results(op_of_one, of_one);
    sum += alone.at("values")[0];
    for (size_t i = 0; i < scores; ++i) {
      ASSERT_NEAR(whole.at("dlogits")[image * scores + i], alone.at("dlogits")[i] / 2, 1e-9);
    }
  }
  EXPECT_NEAR(whole.at("values")[0], sum / 2, 1e-6);
}

// Whatever is kept: as if the others had no label.
TEST(LossTerms, OhemIsCrossEntropyOfThePixelsThatItKeeps) {
  for (const std::array<float, 2> parameters : {std::array{0.4f, 0.0f}, std::array{0.3f, 0.9f}}) {
    const LossCase ohem{.name = "ohem",
                        .logits = kShape,
                        .desc = make_loss({loss_term("ohem", 2, parameters)}),
                        .class_weights = true,
                        .labeled = 8};
    LossCase ce = ohem;
    ce.desc = make_loss({loss_term("ce", 2)});
    Values inputs = make_inputs(segmentation_loss(ohem, DType::f32, true));
    const Values got = reference_results(segmentation_loss(ohem, DType::f32, true), inputs);
    size_t kept = 0, pixels = 0;
    for (size_t i = 0; i < inputs["labels"].size(); ++i) {
      if (inputs["labels"][i] >= kShape.c) continue;
      ++pixels;
      const auto first = got.at("dlogits").begin() + static_cast<ptrdiff_t>(i * kShape.c);
      const bool is_kept = std::any_of(first, first + kShape.c, [](double d) { return d != 0; });
      if (is_kept) ++kept;
      if (!is_kept) inputs["labels"][i] = 255;
    }
    const double least =
        std::ceil(static_cast<double>(parameters[1]) * static_cast<double>(pixels));
    EXPECT_GE(static_cast<double>(kept), least);
    EXPECT_LT(kept, pixels);
    if (least > 0) {
      EXPECT_LE(static_cast<double>(kept), least + 1) << "few share a bin";
    }
    const Values wanted = reference_results(segmentation_loss(ce, DType::f32, true), inputs);
    EXPECT_FLOAT_EQ(static_cast<float>(got.at("values")[0]),
                    static_cast<float>(wanted.at("values")[0]));
    for (size_t i = 0; i < wanted.at("dlogits").size(); ++i) {
      ASSERT_NEAR(got.at("dlogits")[i], wanted.at("dlogits")[i], 1e-8);
    }
  }
}

TEST(HardnessBins, AreFractionsOfOctaves) {
  EXPECT_EQ(scalar::hardness_bin(0.0f), 0);
  EXPECT_EQ(scalar::hardness_bin(0x1p-17f), 0);
  EXPECT_EQ(scalar::hardness_bin(0x1p-16f), 1);
  EXPECT_EQ(scalar::hardness_bin(0.5f), 64 * 15 + 1);
  EXPECT_EQ(scalar::hardness_bin(0.5f * (1 + 1.5f / 64)), 64 * 15 + 2);
  EXPECT_EQ(scalar::hardness_bin(1.0f), scalar::kHardnessBins - 1);
  EXPECT_EQ(scalar::hardness_bin(std::nanf("")), scalar::kHardnessBins - 1);
  EXPECT_TRUE(scalar::HardPixels().keep(std::nanf("")));
  EXPECT_FALSE(scalar::HardPixels().keep(0));
}

TEST(LossTerms, AreFoundByNameAndSorted) {
  const LossDesc loss = make_loss({loss_term("tversky", 2), loss_term("ce", 0.5f)});
  ASSERT_EQ(loss.used().size(), 2u);
  EXPECT_EQ(name_of(loss.terms[0]), "ce");
  EXPECT_EQ(loss.terms[0].weight, 0.5f);
  EXPECT_EQ(name_of(loss.terms[1]), "tversky");
  EXPECT_EQ(loss.terms[1].parameters[0], 0.3f);
  EXPECT_TRUE(is_pixel_term(loss.terms[0]));
  EXPECT_FALSE(is_pixel_term(loss.terms[1]));
  EXPECT_THROW(loss_term("hinge"), std::logic_error);
  const LossTerm ce = loss_term("ce");
  EXPECT_THROW(make_loss({ce, ce, ce, ce, ce}), std::logic_error);
  EXPECT_THROW(check_loss(make_loss({ce, ce}), Tensor(nullptr, kShape, DType::f32),
                          Tensor(nullptr, {2, 5, 9, 1}, DType::u8)),
               std::logic_error);
}

class LossParts : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    backend_ = find_backend(GetParam());
    if (!backend_) GTEST_SKIP() << "no CUDA device";
  }

  Tensor on_device(Buffer& buffer, const std::vector<std::byte>& bytes, Shape shape, DType dtype) {
    buffer = Buffer(backend_->stream.device(), bytes.size());
    copy_bytes(backend_->stream, buffer.data(), bytes.data(), bytes.size());
    return Tensor(buffer.data(), shape, dtype, backend_->stream.device());
  }

  Backend* backend_ = nullptr;
};

INSTANTIATE_TEST_SUITE_P(Cpu, LossParts, ::testing::Values("Cpu"));
#if defined(MACADAM_HAS_EMULATED)
INSTANTIATE_TEST_SUITE_P(Emulated, LossParts, ::testing::Values("Emulated"));
#endif
#if defined(MACADAM_HAS_CUDA)
INSTANTIATE_TEST_SUITE_P(Cuda, LossParts, ::testing::Values("Cuda"));
#endif

/// As several devices will: each takes the sums of its images, all sums are added, and each takes
/// its images' gradient.
TEST_P(LossParts, AddUpToTheWhole) {
  Stream& stream = backend_->stream;
  LossOps& ops = *backend_->ops.loss;
  const std::array of_batch{
      make_loss({loss_term("ce")}),
      make_loss({loss_term("dice")}),
      make_loss({loss_term("focal"), loss_term("jaccard")}),
      make_loss({loss_term("ce"), loss_term("lovasz")}),
      make_loss({loss_term("ohem", 1, std::array{0.1f, 0.3f}), loss_term("dice")}),
      make_loss({loss_term("focal"), loss_term("ohem"), loss_term("lovasz")}),
      make_loss(
          {loss_term("edge"), loss_term("boundary"), loss_term("focal_ovr"), loss_term("dice")})};
  LossDesc per_image = make_loss({loss_term("ce"), loss_term("dice"), loss_term("tversky")});
  per_image.per_image = true;
  const auto desc = [&] {
    std::vector<LossDesc> all(of_batch.begin(), of_batch.end());
    all.push_back(per_image);
    return all;
  }();
  constexpr int kImages = 3;
  constexpr Shape kAll{kImages, 7, 11, 5}, kOne{1, 7, 11, 5};
  std::mt19937 random(3);
  std::normal_distribution<float> normal;
  std::vector<float> scores(to_size(kAll.elements()));
  for (float& s : scores) s = normal(random);
  std::vector<uint8_t> classes(to_size(kAll.pixels()));
  for (uint8_t& c : classes) c = static_cast<uint8_t>(random() % 6);
  const auto bytes = [](const auto& list, int image, size_t count) {
    const auto all = std::as_bytes(std::span(list));
    const size_t begin = image < 0 ? 0 : count * to_size(image);
    return std::vector<std::byte>(all.begin() + static_cast<ptrdiff_t>(begin),
                                  all.begin() + static_cast<ptrdiff_t>(begin + count));
  };
  struct Part {
    Buffer scores, labels, workspace, values;
    Tensor logits, label;
  };
  const auto make_part = [&](const LossDesc& loss, int image, Shape shape) {
    Part part;
    Shape mask = shape;
    mask.c = 1;
    part.logits =
        on_device(part.scores, bytes(scores, image, to_size(shape.elements()) * sizeof(float)),
                  shape, DType::f32);
    part.label =
        on_device(part.labels, bytes(classes, image, to_size(shape.pixels())), mask, DType::u8);
    part.workspace = Buffer(stream.device(), ops.workspace_bytes(loss, shape));
    part.values = Buffer(stream.device(), sizeof(LossValues));
    return part;
  };
  const auto is_share = [](const LossDesc& loss, size_t k) {
    return is_pixel_term(loss.terms[k]) || (loss.per_image && is_region_term(loss.terms[k]));
  };
  const auto values_of = [&](Part& part) {
    LossValues values;
    copy_bytes(stream, &values, part.values.data(), sizeof values);
    stream.synchronize();
    return values;
  };
  const auto gradient_of = [&](Part& part) {
    std::vector<float> gradient(part.scores.bytes() / sizeof(float));
    copy_bytes(stream, gradient.data(), part.scores.data(), part.scores.bytes());
    stream.synchronize();
    return gradient;
  };
  for (const LossDesc& loss : desc) {
    SCOPED_TRACE(name_of(loss.terms[0]));
    Part whole = make_part(loss, -1, kAll);
    ops.run(loss, whole.logits, whole.label, {}, whole.logits,
            reinterpret_cast<LossValues*>(whole.values.data()), whole.workspace.data());
    const LossValues wanted = values_of(whole);
    const std::vector<float> wanted_gradient = gradient_of(whole);

    std::vector<Part> parts;
    const auto shared = to_size(LossSums(loss, kAll.c).shared());
    std::vector<double> added(shared), own(shared);
    for (int i = 0; i < kImages; ++i) {
      Part& part = parts.emplace_back(make_part(loss, i, kOne));
      ops.sums(loss, part.logits, part.label, {}, part.workspace.data());
      copy_bytes(stream, own.data(), part.workspace.data(), shared * sizeof(double));
      stream.synchronize();
      for (size_t k = 0; k < shared; ++k) added[k] += own[k];
    }
    LossValues got;
    for (int i = 0; i < kImages; ++i) {
      Part& part = parts[to_size(i)];
      copy_bytes(stream, part.workspace.data(), added.data(), shared * sizeof(double));
      ops.gradient(loss, part.logits, part.label, {}, part.logits,
                   reinterpret_cast<LossValues*>(part.values.data()), part.workspace.data());
      const LossValues share = values_of(part);
      for (size_t k = 0; k < loss.used().size(); ++k) {
        if (is_share(loss, k)) {
          got.terms[k] += share.terms[k];
        } else {
          EXPECT_FLOAT_EQ(share.terms[k], wanted.terms[k]);
        }
      }
      EXPECT_EQ(share.valid_pixels, wanted.valid_pixels);
      const std::vector<float> gradient = gradient_of(part);
      for (size_t k = 0; k < gradient.size(); ++k) {
        const float whole_gradient = wanted_gradient[to_size(i) * gradient.size() + k];
        ASSERT_NEAR(gradient[k], whole_gradient, 1e-8f + 1e-5f * std::abs(whole_gradient));
      }
    }
    for (size_t k = 0; k < loss.used().size(); ++k) {
      if (is_share(loss, k)) {
        EXPECT_NEAR(got.terms[k], wanted.terms[k], 1e-6f);
      }
    }
  }
}

}  // namespace
}  // namespace macadam::testing
