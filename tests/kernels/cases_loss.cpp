#include <array>
#include <cmath>

#include "base/to_size.h"
#include "tests/kernels/op_cases.h"

namespace macadam::testing {
namespace {

// Slopes of few pixels, of which some share a bin.
constexpr double kRankSlack = 20000;

const std::vector<double> kSeparated{0, -2.7, 0, 1.3, 0, -0.7, 0, 0.3, 0, -1.7, 0, 2.3};

std::vector<LossCase> losses() {
  const LossDesc ce;
  const LossDesc dice = make_loss({loss_term("dice")});
  const LossDesc both = make_loss({loss_term("ce"), loss_term("dice", 0.5f)});
  const LossDesc smoothed =
      make_loss({loss_term("ce", 0.7f, std::array{0.1f}), loss_term("dice", 1.5f)});
  const LossDesc most = make_loss({loss_term("ce", 0.7f, std::array{0.1f}), loss_term("focal", 2),
                                   loss_term("jaccard", 1.5f), loss_term("tversky", 0.5f)});
  LossDesc dice_zero = make_loss({loss_term("dice", 1, std::array{0.0f})});
  dice_zero.absent = AbsentClass::zero;
  LossDesc dice_suppress = dice;
  dice_suppress.absent = AbsentClass::suppress;
  LossDesc weighted = make_loss({loss_term("ce"), loss_term("dice"), loss_term("jaccard", 2)});
  weighted.weigh_regions = true;
  LossDesc weighted_suppress = dice;
  weighted_suppress.weigh_regions = true;
  weighted_suppress.absent = AbsentClass::suppress;
  LossDesc images = make_loss({loss_term("ce"), loss_term("dice"), loss_term("tversky", 2)});
  images.per_image = true;
  LossDesc images_and_others =
      make_loss({loss_term("edge"), loss_term("ohem"), loss_term("jaccard"), loss_term("lovasz")});
  images_and_others.per_image = true;
  images_and_others.weigh_regions = true;
  images_and_others.absent = AbsentClass::zero;
  LossDesc ignore_class = make_loss({loss_term("ce"), loss_term("dice")});
  ignore_class.ignore = 2;
  return {
      {.name = "one_pixel", .logits = {1, 1, 1, 3}, .desc = both, .labeled = 3},
      {.name = "ce", .logits = {2, 3, 5, 8}, .desc = ce, .labeled = 8},
      {.name = "ce_weighted",
       .logits = {2, 5, 9, 11},
       .desc = ce,
       .class_weights = true,
       .labeled = 11},
      {.name = "ce_large", .logits = {2, 16, 32, 19}, .desc = ce, .labeled = 19},
      {.name = "ce_extreme", .logits = {1, 5, 9, 8}, .desc = ce, .labeled = 8, .scale = 1000},
      {.name = "dice", .logits = {1, 5, 9, 5}, .desc = dice, .labeled = 5},
      {.name = "dice_absent_skip", .logits = {2, 5, 9, 8}, .desc = dice, .labeled = 4},
      {.name = "dice_absent_zero", .logits = {2, 5, 9, 8}, .desc = dice_zero, .labeled = 4},
      {.name = "dice_absent_suppress", .logits = {2, 5, 9, 8}, .desc = dice_suppress, .labeled = 4},
      {.name = "images", .logits = {3, 5, 9, 8}, .desc = images, .labeled = 6},
      {.name = "images_many_pixels", .logits = {3, 67, 129, 5}, .desc = images, .labeled = 4},
      {.name = "lovasz_images_and_others",
       .logits = {3, 61, 71, 5},
       .desc = images_and_others,
       .class_weights = true,
       .labeled = 4,
       .slack = kRankSlack,
       .patch = 9},
      {.name = "regions_weighted",
       .logits = {2, 5, 9, 8},
       .desc = weighted,
       .class_weights = true,
       .labeled = 6},
      {.name = "regions_weighted_suppress",
       .logits = {2, 5, 9, 8},
       .desc = weighted_suppress,
       .class_weights = true,
       .labeled = 4},
      {.name = "regions_without_weights", .logits = {2, 5, 9, 8}, .desc = weighted, .labeled = 6},
      {.name = "both", .logits = {1, 17, 23, 12}, .desc = both, .labeled = 12},
      {.name = "both_two_classes", .logits = {3, 5, 9, 2}, .desc = both, .labeled = 2},
      {.name = "smoothed_weighted",
       .logits = {2, 3, 5, 8},
       .desc = smoothed,
       .class_weights = true,
       .labeled = 7},
      {.name = "smoothed", .logits = {2, 16, 32, 31}, .desc = smoothed, .labeled = 31},
      {.name = "64_classes",
       .logits = {1, 5, 9, 64},
       .desc = smoothed,
       .class_weights = true,
       .labeled = 64},
      {.name = "33_classes", .logits = {1, 17, 23, 33}, .desc = both, .labeled = 30},
      // More than one block of pixels, the last one incomplete.
      {.name = "both_wide", .logits = {1, 3, 1023, 19}, .desc = both, .labeled = 19},
      {.name = "both_many_pixels", .logits = {1, 67, 129, 8}, .desc = both, .labeled = 8},
      {.name = "smoothed_weighted_many_pixels",
       .logits = {3, 61, 71, 5},
       .desc = smoothed,
       .class_weights = true,
       .labeled = 4},
      {.name = "label_out_of_range",
       .logits = {2, 5, 9, 8},
       .desc = both,
       .labeled = 8,
       .other = 8},
      {.name = "scaled",
       .logits = {2, 5, 9, 11},
       .desc = both,
       .labeled = 11,
       .gradient_scale = 300},
      {.name = "label_254", .logits = {2, 5, 9, 8}, .desc = both, .labeled = 8, .other = 254},
      {.name = "most_terms",
       .logits = {2, 5, 9, 11},
       .desc = most,
       .class_weights = true,
       .labeled = 9},
      // No step of a finite difference changes an order or a choice: scores of two classes whose
      // differences, and their opposites, are at least 0.4 apart.
      {.name = "lovasz_separated",
       .logits = {1, 2, 3, 2},
       .desc = make_loss({loss_term("lovasz", 2)}),
       .labeled = 2,
       .slack = kRankSlack,
       .scores = kSeparated},
      {.name = "ohem_separated",
       .logits = {1, 2, 3, 2},
       .desc = make_loss({loss_term("ohem", 2, std::array{0.5f, 0.0f})}),
       .class_weights = true,
       .labeled = 2,
       .scores = kSeparated},
      {.name = "most_terms_many_pixels", .logits = {1, 67, 129, 19}, .desc = most, .labeled = 17},
      {.name = "ignored_class",
       .logits = {2, 5, 9, 5},
       .desc = ignore_class,
       .labeled = 5,
       .other = 2},
  };
}

/// Labels below `classes` for squares of `side` pixels, and `other` for every eleventh pixel.
Fill patches(Shape shape, int side, int classes, int other) {
  return [=](std::span<double> values, std::mt19937& random) {
    const unsigned salt = random();
    for (size_t i = 0; i < values.size(); ++i) {
      const auto pixel = static_cast<int>(i);
      const int x = pixel % shape.w / side, y = pixel / shape.w / side;
      const size_t label = (to_size(3 * x + 5 * y) + salt) % to_size(classes);
      values[i] = pixel % 11 == 7 ? other : static_cast<double>(label);
    }
  };
}

/// Each term alone. Pixel terms also at probabilities of 0 and 1, which in fp32 are too coarse
/// there for sums over classes that small.
void add_terms(std::vector<LossCase>& cases) {
  int number = 0;
  for (const LossTermCase& one : loss_term_cases()) {
    const std::string name = std::string(one.term) + "_" + std::to_string(number++);
    LossCase loss{.name = name,
                  .logits = {2, 5, 9, 8},
                  .desc = make_loss({one.with_weight(1)}),
                  .class_weights = true,
                  .labeled = 6};
    if (one.rank) loss.slack = kRankSlack;
    if (one.near > 0) loss.patch = 4;
    cases.push_back(loss);
    if (one.near > 0) {
      loss.logits = {2, 21, 67, 3};
      loss.desc = make_loss({loss_term("ce", 0.5f), one.with_weight(2), loss_term("dice")});
      loss.patch = 9;
      loss.name = name + "_large";
    } else if (one.pixel || one.scores) {
      loss.scale = 60;
      loss.name = name + "_extreme";
    } else if (one.region) {
      loss.desc.absent = AbsentClass::suppress;
      loss.name = name + "_suppress";
    } else {
      loss.desc = make_loss({loss_term("ce", 0.5f), loss_term("dice"), one.with_weight(2)});
      loss.name = name + "_and_others";
    }
    cases.push_back(loss);
  }
}

}  // namespace

std::vector<LossTermCase> loss_term_cases() {
  return {
      {.term = "ce",
       .parameters = {0.2f},
       .pixel =
           [](std::span<const double> p, size_t label) {
             double all = 0;
             for (const double one : p) all += std::log(one);
             return -0.8 * std::log(p[label]) - 0.2 * all / static_cast<double>(p.size());
           }},
      {.term = "focal",
       .parameters = {2},
       .pixel = [](std::span<const double> p,
                   size_t label) { return -std::pow(1 - p[label], 2) * std::log(p[label]); }},
      {.term = "focal",
       .parameters = {0.5f},
       .pixel = [](std::span<const double> p,
                   size_t label) { return -std::sqrt(1 - p[label]) * std::log(p[label]); }},
      {.term = "focal",
       .parameters = {0},
       .pixel = [](std::span<const double> p, size_t label) { return -std::log(p[label]); }},
      {.term = "ohem",
       .parameters = {0.4f, 0},
       .pixel = [](std::span<const double> p, size_t label) { return -std::log(p[label]); },
       .most = [](std::span<const double>) { return 0.4f; }},
      {.term = "ohem",
       .parameters = {0.3f, 0.9f},
       .pixel = [](std::span<const double> p, size_t label) { return -std::log(p[label]); },
       .most =
           [](std::span<const double> sorted) {
             return sorted[static_cast<size_t>(
                               std::ceil(0.9 * static_cast<double>(sorted.size()))) -
                           1];
           }},
      {.term = "ohem",
       .parameters = {0, 1},
       .pixel = [](std::span<const double> p, size_t label) { return -std::log(p[label]); },
       .most = [](std::span<const double>) { return 1; }},
      {.term = "edge",
       .parameters = {1},
       .pixel = [](std::span<const double> p, size_t label) { return -std::log(p[label]); },
       .near = 1,
       .other_weight = 0},
      {.term = "boundary",
       .parameters = {2, 1.5f},
       .pixel = [](std::span<const double> p, size_t label) { return -std::log(p[label]); },
       .near = 2,
       .near_weight = 2.5},
      {.term = "focal_ovr",
       .parameters = {2},
       .scores =
           [](std::span<const double> z, size_t label) {
             double sum = 0;
             for (size_t c = 0; c < z.size(); ++c) {
               const double p = 1 / (1 + std::exp(-z[c])), right = c == label ? p : 1 - p;
               sum -= (1 - right) * (1 - right) * std::log(right);
             }
             return sum / static_cast<double>(z.size());
           }},
      {.term = "dice",
       .parameters = {1},
       .region = [](double i, double p, double g) { return 1 - (2 * i + 1) / (p + g + 1); }},
      {.term = "jaccard",
       .parameters = {0.5f},
       .region = [](double i, double p, double g) { return (p + g - 2 * i) / (p + g - i + 0.5); }},
      {.term = "tversky",
       .parameters = {0.25f, 0.75f, 2},
       .region =
           [](double i, double p, double g) {
             const double wrong = 0.25 * (p - i) + 0.75 * (g - i);
             return wrong / (i + wrong + 2);
           }},
      {.term = "lovasz",
       .rank =
           [](std::span<const RankedError> errors) {
             // 1 - IoU when the pixels so far are wrong, as differences.
             double labeled = 0, sum = 0, before = 0, hits = 0, misses = 0;
             for (const RankedError& e : errors) labeled += e.is_label ? 1 : 0;
             for (const RankedError& e : errors) {
               (e.is_label ? hits : misses) += 1;
               const double jaccard = 1 - (labeled - hits) / (labeled + misses);
               sum += e.error * (jaccard - before);
               before = jaccard;
             }
             return sum;
           }},
  };
}

OpCase segmentation_loss(const LossCase& loss, DType dtype, bool gradient, Variant variant) {
  const bool in_place = variant.in_place;
  const auto prepare = [=](Ops& ops) {
    PreparedOp op;
    op.workspace_bytes = ops.loss->workspace_bytes(loss.desc, loss.logits);
    op.call = [=, &ops](const Arguments& a) {
      const Tensor& logits = a("logits");
      LossDesc desc = loss.desc;
      desc.gradient_scale = a.pointer<float>("gradient_scale");
      ops.loss->run(desc, logits, a("labels"), a.optional("weights"),
                    in_place ? logits : a.optional("dlogits"), a.pointer<LossValues>("values"),
                    a.workspace());
    };
    return op;
  };
  Shape labels_shape = loss.logits;
  labels_shape.c = 1;
  Operand logits =
      laid_out(input("logits", loss.logits, dtype,
                     loss.scores.empty() ? normal(0, loss.scale) : values(loss.scores)),
               variant.layout, 0);
  if (in_place) {
    logits.role = Role::update;
    logits.slack = loss.slack;
    logits.keeps_spare = true;
  }
  Fill of_labels = labels(loss.labeled, loss.other);
  if (loss.patch > 1) of_labels = patches(labels_shape, loss.patch, loss.labeled, loss.other);
  OpCase op{.op = gradient ? "segmentation_loss" : "segmentation_loss_value",
            .name = loss.name + "_" + loss.logits.text() + variant.suffix(),
            .dtype = dtype,
            .operands = {output("values", {1, 1, 1, kLossValues}, DType::f32).loose(loss.slack),
                         std::move(logits),
                         input("labels", labels_shape, DType::u8, std::move(of_labels))},
            .prepare = prepare,
            .forward = nullptr};
  if (loss.gradient_scale != 1)
    op.operands.push_back(input("gradient_scale", {1, 1, 1, 1}, DType::f32,
                                values({static_cast<double>(loss.gradient_scale)})));
  if (loss.class_weights)
    op.operands.push_back(input("weights", {1, 1, 1, loss.logits.c}, DType::f32, uniform(0.2, 3)));
  if (gradient && !in_place) {
    op.operands.push_back(
        laid_out(output("dlogits", loss.logits, dtype), variant.layout, 1).loose(loss.slack));
    if (loss.gradient_scale == 1)  // else it is no derivative
      op.forward = std::make_shared<OpCase>(segmentation_loss(loss, dtype, false));
  }
  return op;
}

std::vector<OpCase> loss_cases() {
  std::vector<OpCase> cases;
  std::vector<LossCase> all = losses();
  add_terms(all);
  for (const DType dtype : kFloatTypes)
    for (const LossCase& loss : all) {
      cases.push_back(segmentation_loss(loss, dtype, false));
      cases.push_back(segmentation_loss(loss, dtype, true));
      cases.push_back(segmentation_loss(loss, dtype, true, {.in_place = true}));
      if (loss.logits.pixels() > 1000) continue;
      for (const Layout layout : {Layout::slices, Layout::ragged_slices, Layout::padded}) {
        cases.push_back(segmentation_loss(loss, dtype, true, {.layout = layout}));
        cases.push_back(segmentation_loss(loss, dtype, true, {.layout = layout, .in_place = true}));
      }
    }
  return cases;
}

}  // namespace macadam::testing
