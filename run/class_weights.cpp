#include "run/class_weights.h"

#include <fmt/format.h>

#include <algorithm>
#include <span>
#include <string>

#include "base/error.h"
#include "base/text.h"
#include "base/to_size.h"
#include "loader/class_counts.h"

namespace macadam {

namespace {

std::vector<float> by_rule(const Config& config, const TrainingData& data, Observer& observer) {
  const LabelSet& labels = data.train_labels;
  const ClassWeighting rule = *config.class_weighting;
  std::vector<ClassFrequency> counts(to_size(labels.classes()));
  if (rule == ClassWeighting::cityscapes) {
    if (labels.name != "trainids19" || labels.classes() != kCityscapesWeights) {
      throw InputError(fmt::format("the weights of cityscapes are of the 19 classes of trainids19, "
                                   "not of the {} of {}",
                                   labels.classes(), labels.name),
                       "class_weights", "use another rule, or give one weight a class");
    }
  } else {
    counts =
        count_classes(data.train, labels, config.loader_threads, [&](int64_t done, int64_t total) {
          observer.on_progress("counting classes", done, total);
        });
    for (size_t c = 0; c < counts.size(); ++c) {
      if (counts[c].pixels > 0) continue;
      observer.on_notice(fmt::format("class {} has no pixel in the training masks: its weight is 0",
                                     labels.class_names[c]));
    }
  }
  const std::vector<double> weights = class_weights(rule, counts, config.class_weighting_options);
  return {weights.begin(), weights.end()};
}

}  // namespace

std::vector<float> resolve_class_weights(const Config& config, const TrainingData& data,
                                         const std::vector<float>& begun, Observer& observer) {
  const LabelSet& labels = data.train_labels;
  const std::span<const LossTerm> terms = config.loss.used();
  const bool regions = config.loss.weigh_regions && std::ranges::any_of(terms, is_region_term);
  const bool weighted = regions || std::ranges::any_of(terms, is_pixel_term);
  if (!weighted) return {};
  if (regions && config.class_weights.empty() && !config.class_weighting) {
    throw InputError("the classes have no weights", "region_weights",
                     "give class_weights, or leave it out");
  }
  if (!config.class_weighting) {
    if (!config.class_weights.empty() && config.class_weights.size() != to_size(labels.classes())) {
      throw InputError(fmt::format("{} class weights for {} classes", config.class_weights.size(),
                                   labels.classes()),
                       "class_weights", "give one weight a class of label_set " + labels.name);
    }
    return config.class_weights;
  }
  std::vector<float> weights = begun.empty() ? by_rule(config, data, observer) : begun;
  std::vector<std::string> words;
  for (size_t c = 0; c < weights.size(); ++c) {
    words.push_back(fmt::format("{} {:.4g}", labels.class_names[c], weights[c]));
  }
  observer.on_notice(
      fmt::format("class weights by {}: {}", name_of(*config.class_weighting), joined(words)));
  return weights;
}

}  // namespace macadam
