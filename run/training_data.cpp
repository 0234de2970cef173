#include "run/training_data.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <map>
#include <tuple>

#include "base/error.h"
#include "loader/class_presence.h"
#include "loader/pack.h"
#include "loader/split_file.h"
#include "run/label_sets.h"

namespace macadam {

namespace {

namespace fs = std::filesystem;

/// The splits that are there for all that training does with them.
std::optional<Dataset> open_test_split(const Config& config, Observer& observer) {
  const fs::path folder = config.dataset.test;
  if (folder.empty()) return std::nullopt;
  const bool named = config.dataset.test != config.dataset.train;
  if (!named) {
    if (is_split_file(folder)) return std::nullopt;  // its test split is for `macadam eval`
    const std::vector<std::string> splits = list_splits(folder);
    if (recognize_layout(folder) == Layout::cityscapes ||
        std::ranges::find(splits, "test") == splits.end()) {
      return std::nullopt;
    }
  }
  const SplitScan scan = scan_split(folder, "test");
  if (!is_unlabeled(scan)) return open_dataset(folder, "test");
  if (named) {
    throw InputError("the test split has no masks to be scored with", folder.string(),
                     "add them, or leave dataset.test out");
  }
  observer.on_notice(fmt::format("the test split has no masks: its {} photos will not be scored",
                                 scan.without_mask.size()));
  return std::nullopt;
}

/// A file whatever its path, and a photo's place in it where it is a pack.
using Identity = std::tuple<dev_t, ino_t, uint64_t>;

std::optional<Identity> identity_of(const Sample& sample) {
  struct stat status {};
  const fs::path& file = sample.pack ? sample.pack->path() : sample.image;
  if (stat(file.c_str(), &status) != 0) return std::nullopt;
  return Identity{status.st_dev, status.st_ino, sample.record ? sample.record->offset : 0};
}

std::map<Identity, const Sample*> identities_of(const Dataset& dataset) {
  std::map<Identity, const Sample*> samples;
  for (const Sample& sample : dataset.samples) {
    if (const auto identity = identity_of(sample)) samples.emplace(*identity, &sample);
  }
  return samples;
}

void check_disjoint(const std::map<Identity, const Sample*>& samples, const Dataset& other,
                    std::string_view pair, std::string_view remedy) {
  for (const Sample& sample : other.samples) {
    const auto identity = identity_of(sample);
    const auto found = identity ? samples.find(*identity) : samples.end();
    if (found == samples.end()) continue;
    const fs::path &a = found->second->image, &b = sample.image;
    throw InputError(fmt::format("{} would see the same photos", pair),
                     a == b ? a.string() : fmt::format("{}, {}", a.string(), b.string()), remedy);
  }
}

}  // namespace

TrainingData open_training_data(Config& config, Observer& observer) {
  TrainingData data;
  data.train_labels = make_label_set(config, config.dataset.train);
  const LabelSet& labels = data.train_labels;
  config.label_set = labels.name;
  config.void_policy = labels.void_is_class ? VoidPolicy::as_class : VoidPolicy::ignore;
  const ClassList classes{"the training data set", labels.name, labels.void_is_class,
                          labels.class_names};
  data.train = open_dataset(config.dataset.train, "train");
  data.val_labels = make_label_set_like(classes, config.dataset.val);
  data.val = open_dataset(config.dataset.val, "val");
  data.test = open_test_split(config, observer);

  const auto trained = identities_of(data.train);
  check_disjoint(trained, data.val, "training and validation",
                 "give the data set folders train and val, or name two data sets");
  require_two_classes(data.train, labels, config.loader_threads);
  require_two_classes(data.val, data.val_labels, config.loader_threads);
  if (data.test) {
    constexpr std::string_view kRemedy = "leave dataset.test out, or name photos of its own";
    check_disjoint(trained, *data.test, "training and test", kRemedy);
    check_disjoint(identities_of(data.val), *data.test, "validation and test", kRemedy);
    require_two_classes(*data.test, make_label_set_like(classes, config.dataset.test),
                        config.loader_threads);
  }
  return data;
}

}  // namespace macadam
