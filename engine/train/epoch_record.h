#pragma once
// What is known of an epoch when it is over.

#include <cstdint>
#include <vector>

#include "engine/infer/metrics.h"

namespace macadam {

/// A value that is not known is NaN.
struct EpochRecord {
  int64_t epoch = 0;  // from 1
  int64_t step = 0;   // optimiser steps taken so far
  double train_loss = 0, val_loss = 0;
  std::vector<Score> terms{};    // of the loss, without weights: "train_ce", "val_ce" ...
  std::vector<Score> scores;     // of the validation split, the one that decides first
  double lr = 0;                 // of the last step
  double seconds = 0;            // training and validation
  double images_per_second = 0;  // training alone
  double data_wait_seconds = 0;  // waiting for batches while training
  bool best = false;             // so far; not in results.csv
};

}  // namespace macadam
