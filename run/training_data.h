#pragma once
// The data sets of a training run, found fit for it before anything is computed.

#include <optional>

#include "loader/dataset.h"
#include "loader/label_set.h"
#include "run/config.h"
#include "run/observer.h"

namespace macadam {

struct TrainingData {
  Dataset train, val;
  std::optional<Dataset> test;        // to be scored when training is done
  LabelSet train_labels, val_labels;  // of the same classes
};

/// Opens the splits of `config`, and replaces its label set and void by those of the data set where
/// they are "auto". The test split is scored where it has masks; the test masks of Cityscapes are
/// dummies and count only where the configuration names a folder for that split. Throws InputError
/// when a split is missing, empty, lacks masks or shows fewer than two classes, when two splits
/// have a photo in common, and when validation or test has other classes than training.
TrainingData open_training_data(Config& config, Observer& observer);

}  // namespace macadam
