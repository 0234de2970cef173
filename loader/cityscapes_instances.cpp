#include "loader/cityscapes_instances.h"

#include <fmt/format.h>

#include <map>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/to_size.h"

namespace macadam {

namespace {

constexpr std::string_view kLabelIds = "_labelIds.png", kInstanceIds = "_instanceIds.png";
constexpr int kIdsAnInstance = 1000;

/// Mean pixels of the classes' instances in the training data; 0: a class without instances, or one
/// that is not evaluated.
constexpr std::array<double, kCityscapesIds> kMeanSizes = [] {
  std::array<double, kCityscapesIds> sizes{};
  sizes[24] = 3462.4756337644;   // person
  sizes[25] = 3930.4788056518;   // rider
  sizes[26] = 12794.0202738185;  // car
  sizes[27] = 27855.1264367816;  // truck
  sizes[28] = 35732.1511111111;  // bus
  sizes[31] = 67583.7075812274;  // train
  sizes[32] = 6298.7200839748;   // motorcycle
  sizes[33] = 4672.3249222261;   // bicycle
  return sizes;
}();

/// The evaluated classes, and the categories besides void, of all ids.
struct Tables {
  LabelSet classes = make_label_set("trainids19", VoidPolicy::ignore, {});
  LabelSet categories = make_label_set("categories8", VoidPolicy::ignore, {});

  bool is_evaluated(int id) const { return classes.label_of_id[to_size(id)] != kIgnore; }
  size_t category_of(int id) const { return categories.label_of_id[to_size(id)]; }
};

const Tables& tables() {
  static const Tables all;
  return all;
}

struct Counts {
  uint64_t pixels = 0, in_class = 0, in_category = 0;
};

double iou(const CityscapesInstances::Weights& weights, uint64_t false_alarms) {
  // In the official order of the sum.
  return weights.hits / (weights.hits + static_cast<double>(false_alarms) + weights.misses);
}

}  // namespace

std::filesystem::path instance_file(const Sample& sample) {
  std::string name = sample.mask.filename().string();
  if (!name.ends_with(kLabelIds)) {
    throw InputError("instances are looked for by the mask's name, which does not end in " +
                         std::string(kLabelIds),
                     sample.mask.string(), "name masks and instances as Cityscapes does");
  }
  name.replace(name.size() - kLabelIds.size(), kLabelIds.size(), kInstanceIds);
  return sample.mask.parent_path() / name;
}

void CityscapesInstances::add(std::span<const uint16_t> instances,
                              std::span<const uint8_t> predictions, std::string_view file) {
  require(instances.size() == predictions.size(), "a prediction a pixel");
  const Tables& known = tables();
  std::map<uint16_t, Counts> counts;
  auto found = counts.end();
  for (size_t p = 0; p < instances.size(); ++p) {
    if (instances[p] <= kIdsAnInstance) continue;
    // Neighbors mostly are of one instance.
    if (found == counts.end() || found->first != instances[p]) {
      found = counts.try_emplace(instances[p]).first;
    }
    const int id = instances[p] / kIdsAnInstance;
    ++found->second.pixels;
    if (id >= kCityscapesIds || predictions[p] >= kCityscapesIds) continue;
    if (predictions[p] == id) ++found->second.in_class;
    if (known.category_of(predictions[p]) == known.category_of(id)) ++found->second.in_category;
  }
  for (const auto& [instance, count] : counts) {
    const int id = instance / kIdsAnInstance;
    if (id < kCityscapesIds && !known.is_evaluated(id)) continue;
    if (id >= kCityscapesIds || kMeanSizes[to_size(id)] == 0) {
      throw InputError(
          fmt::format("instance {} is of {}, which has no instances", instance,
                      id >= kCityscapesIds
                          ? fmt::format("id {}", id)
                          : known.classes.class_names[known.classes.label_of_id[to_size(id)]]),
          file, "an instance's id is 1000 times that of its class, and its number");
    }
    const uint64_t pixels = count.pixels;
    const double weight = kMeanSizes[to_size(id)] / static_cast<double>(pixels);
    const auto add = [pixels, weight](Weights& weights, uint64_t hits) {
      weights.hits += static_cast<double>(hits) * weight;
      weights.misses += static_cast<double>(pixels - hits) * weight;
    };
    add(classes_[to_size(id)], count.in_class);
    add(categories_[known.category_of(id)], count.in_category);
  }
}

CityscapesInstanceScores instance_scores(const ConfusionMatrix& ids,
                                         const CityscapesInstances& instances) {
  require(ids.classes() == kCityscapesIds, "counts of Cityscapes ids");
  const Tables& known = tables();
  CityscapesInstanceScores scores;
  std::vector<bool> of_instances(known.categories.class_names.size());
  for (int id = 0; id < kCityscapesIds; ++id) {
    if (kMeanSizes[to_size(id)] == 0) continue;
    of_instances[known.category_of(id)] = true;
    uint64_t false_alarms = 0;
    for (int label = 0; label < kCityscapesIds; ++label) {
      if (label != id && known.is_evaluated(label)) false_alarms += ids.at(label, id);
    }
    scores.classes.push_back({known.classes.class_names[known.classes.label_of_id[to_size(id)]],
                              iou(instances.of_class(id), false_alarms)});
  }
  for (size_t category = 0; category < of_instances.size(); ++category) {
    if (!of_instances[category]) continue;
    uint64_t false_alarms = 0;
    for (int label = 0; label < kCityscapesIds; ++label) {
      if (!known.is_evaluated(label) || known.category_of(label) == category) continue;
      for (int id = 0; id < kCityscapesIds; ++id) {  // evaluated or not
        if (known.category_of(id) == category) false_alarms += ids.at(label, id);
      }
    }
    scores.categories.push_back(
        {known.categories.class_names[category],
         iou(instances.of_category(static_cast<int>(category)), false_alarms)});
  }
  scores.class_iou = mean_of(scores.classes);
  scores.category_iou = mean_of(scores.categories);
  return scores;
}

}  // namespace macadam
