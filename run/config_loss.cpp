#include "run/config_loss.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "base/text.h"
#include "run/config_kinds.h"
#include "run/loss_expression.h"
#include "run/loss_presets.h"

namespace macadam {

namespace {

using Words = std::vector<std::string>;

/// What is said of the terms a loss may have.
struct LossTexts {
  std::string terms = "the sum of terms with weights: ";     // and what they are
  std::string pixel_weights = "weights of the classes in ";  // and how they come about
  std::string pixel, region, weighted;                       // "ce or focal in the loss"
  std::vector<std::string> wanted;                           // "ce in the loss"
};

const LossTexts& loss_texts() {
  static const LossTexts texts = [] {
    LossTexts all;
    std::vector<std::string> described, pixel, region;
    for (const LossTermInfo& info : loss_term_infos()) {
      described.push_back(fmt::format("{} ({})", info.name, info.meaning));
      const LossTerm term = loss_term(static_cast<int>(all.wanted.size()), 1);
      if (is_pixel_term(term)) pixel.emplace_back(info.name);
      if (is_region_term(term)) region.emplace_back(info.name);
      all.wanted.push_back(fmt::format("{} in the loss", info.name));
    }
    std::vector<std::string> presets;
    for (const LossPreset& preset : loss_presets()) {
      if (presets.empty() || presets.back() != preset.name) presets.emplace_back(preset.name);
    }
    all.terms += fmt::format(
        "{}; a weight WEIGHT/classes is over their number; as in "
        "segmentation_models.pytorch and Keras' segmentation_models: {}",
        joined(described), joined(presets));
    all.pixel_weights += joined(pixel, " and ") +
                         ", given or of the pixels of the training masks: enet (1 / ln(1.02 + "
                         "share)), median_frequency, effective_number, balanced (1 / (classes * "
                         "share)), or the fixed ones of cityscapes for trainids19";
    all.pixel = joined(pixel, " or ") + " in the loss";
    all.region = joined(region, " or ") + " in the loss";
    all.weighted = joined(pixel, " or ") + " in the loss, or region_weights = true";
    return all;
  }();
  return texts;
}

/// The keys of the terms of one kind, pixel or region.
void describe_parameters(Fields& f, LossDesc& loss, bool of_pixels) {
  for (size_t kind = 0; kind < loss_term_infos().size(); ++kind) {
    LossTerm term = loss_term(static_cast<int>(kind), 1);
    if (is_pixel_term(term) != of_pixels) continue;
    const auto used = std::ranges::find_if(
        loss.terms, [&](const LossTerm& one) { return one.weight != 0 && one.kind == term.kind; });
    const bool is_used = used != std::end(loss.terms);
    LossTerm& target = is_used ? *used : term;
    for (size_t i = 0; i < kMaxLossParameters; ++i) {
      const LossParameter& parameter = loss_term_infos()[kind].parameters[i];
      if (parameter.key == nullptr) continue;
      const Effect effect{is_used, "loss", loss_texts().wanted[kind]};
      f.number({parameter.key, parameter.meaning, {.effect = effect}}, target.parameters[i],
               parameter.least, parameter.most);
      f.check(!parameter.whole || target.parameters[i] == std::floor(target.parameters[i]),
              parameter.key, "holds a fraction", "write a whole number");
    }
  }
}

/// A loss that chooses no pixel at all trains nothing.
void check_hardest(Fields& f, const LossDesc& loss) {
  const int kind = loss_term("ohem").kind;
  for (const LossTerm& term : loss.used()) {
    const float threshold = term.parameters[0], min_kept = term.parameters[1];
    f.check(term.kind != kind || threshold > 0 || min_kept > 0, "ohem_min_kept",
            "is 0 beside ohem_threshold = 0: ohem keeps no pixel",
            "write a positive share, or a positive ohem_threshold");
  }
}

/// A teacher's scores are in the loss too.
void describe_teacher(Fields& f, Config& c) {
  f.path({"teacher",
          "a trained model of the same classes, to whose scores those of the network are drawn "
          "(docs/training.md); \"\": none",
          {.on_resume = OnResume::resolved}},
         c.teacher);
  const Effect taught{!c.teacher.empty(), "teacher", "a teacher"};
  f.number({"teacher_weight", "the weight of that in the loss", {.effect = taught}},
           c.distill.weight, 1e-6, 1e6);
  f.number({"teacher_temperature",
            "what both networks' scores are divided by: the higher, the more the lower ones count",
            {.effect = taught}},
           c.distill.temperature, 0.01, 1e3);
}

}  // namespace

void describe_loss(Fields& f, Config& c) {
  const LossTexts& texts = loss_texts();
  f.section("The loss");
  std::map<std::string, std::string> by_preset;
  f.visit({"loss", texts.terms}, loss_kind(c.loss, by_preset));
  for (const auto& [key, preset] : by_preset) {
    f.check(!f.given(key), key, fmt::format("is set by {} in the loss", preset),
            "leave it out, or name the term itself");
  }
  const bool pixel = std::ranges::any_of(c.loss.used(), is_pixel_term);
  const bool region = std::ranges::any_of(c.loss.used(), is_region_term);
  f.boolean({"region_weights",
             "the class weights count in the means of terms over classes too",
             {.effect = {region, "loss", texts.region}}},
            c.loss.weigh_regions);
  auto reduction = static_cast<size_t>(c.loss.per_image);
  f.word({kReductionKey,
          "terms over classes are of the sums of the whole batch, or means over its images",
          {.effect = {region, "loss", texts.region}}},
         reduction, Words{"batch", "image"});
  c.loss.per_image = reduction == 1;
  const bool weighted = pixel || (region && c.loss.weigh_regions);
  f.visit({"class_weights", texts.pixel_weights, {.effect = {weighted, "loss", texts.weighted}}},
          class_weights_kind(c.class_weights, c.class_weighting));
  const auto by_rule = [&](ClassWeighting rule, std::string_view wanted) {
    return Effect{weighted && c.class_weighting == rule, "class_weights", wanted};
  };
  f.number({"class_weights_beta",
            "what images of a class that has many add to it in effective_number: the closer to 1, "
            "the more",
            {.effect = by_rule(ClassWeighting::effective_number,
                               "class_weights = \"effective_number\"")}},
           c.class_weighting_options.beta, 0, 0.9999999);
  f.number({"class_weights_cap",
            "the most that a class weighs in balanced",
            {.effect = by_rule(ClassWeighting::balanced, "class_weights = \"balanced\"")}},
           c.class_weighting_options.cap, 1, 1e6);

  describe_parameters(f, c.loss, true);
  check_hardest(f, c.loss);
  f.choice({kAbsentKey,
            "a class without a pixel in the batch, in the mean of a term over classes: is left "
            "out, counts as a loss of 0, or is pushed down like any other",
            {.effect = {region, "loss", texts.region}}},
           c.loss.absent, Words{"skip", "zero", "suppress"});
  describe_parameters(f, c.loss, false);
  describe_teacher(f, c);
}

}  // namespace macadam
