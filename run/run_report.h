#pragma once
// The report of a training run.

#include <cstdint>
#include <string>
#include <vector>

#include "engine/infer/evaluator.h"
#include "kernels/device.h"
#include "loader/loader.h"
#include "report/report.h"
#include "run/config.h"

namespace macadam {

/// What the configuration does not say.
struct RunSummary {
  DeviceInfo device;
  DType dtype = DType::f32;
  uint64_t parameters = 0;  // of the network, in scalars
  int64_t best_epoch = 0;
  std::vector<float> class_weights = {};  // that a rule gave
  uint64_t step_bytes = 0;                // activations, gradients, workspaces, packed weights
  uint64_t parameter_bytes = 0;           // parameters, their gradients and moments
};

/// The classes with what is to be said of them.
std::vector<ClassScore> class_scores(const LabelSet& labels, const SegmentationMetrics& metrics);
ReportSample report_sample(const EvaluatedSample& sample, std::string name);

/// Writes report.html, curves.svg, confusion.svg, scores.json (the scores of `macadam eval --json`)
/// and samples/*.png into the run's folder, from its results.csv and from what the `best` epoch
/// made of the split of `val_loader`.
void write_run_report(const Config& config, const Loader& val_loader, const RunSummary& run,
                      const Evaluation& best);

}  // namespace macadam
