#pragma once
// The text files of a run folder: log.jsonl (one JSON object an event) and results.csv (one line
// an epoch). Resuming cuts both back to the checkpoint, so that nothing appears twice.

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <limits>
#include <vector>

#include "engine/infer/metrics.h"

namespace macadam {

/// The results of one epoch.
struct EpochSummary {
  int64_t epoch = 0;  // from 1
  int64_t step = 0;   // optimiser steps taken so far
  double train_loss = 0, val_loss = 0;
  SegmentationMetrics metrics;   // on the validation split
  double lr = 0;                 // of the last step
  double seconds = 0;            // training and validation
  double images_per_second = 0;  // training alone
  double data_wait_seconds = 0;  // waiting for batches while training
  bool best = false;
};

/// One line of results.csv.
struct ResultsRow {
  int64_t epoch = 0, step = 0;
  double train_loss = 0, val_loss = 0, mean_iou = 0, mean_dice = 0, pixel_accuracy = 0;
  double lr = 0, seconds = 0, images_per_second = 0, data_wait_seconds = 0;
};

/// The lines of a results.csv; empty when there is no such file. Throws InputError when it is not
/// one.
std::vector<ResultsRow> read_results(const std::filesystem::path& file);

class RunLog {
 public:
  /// Opens the files of `folder`; keeps only steps below `step` and epochs up to `epoch` (0, 0
  /// starts anew), and no damaged line. Throws RunError when they cannot be written.
  RunLog(const std::filesystem::path& folder, int64_t epoch, int64_t step);

  void step(int64_t epoch, int64_t step, double loss, double lr);
  void epoch(const EpochSummary& summary);
  /// Hands everything to the operating system. Throws RunError when the disk is full.
  void flush();

 private:
  std::filesystem::path log_path_, results_path_;
  std::ofstream log_, results_;
};

}  // namespace macadam
