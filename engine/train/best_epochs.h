#pragma once
// The models of a run's best epochs, a file each, and the average of their parameters.

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "engine/infer/metrics.h"
#include "engine/plan/parameters.h"
#include "engine/train/checkpoint.h"
#include "engine/train/epoch_record.h"

namespace macadam {

/// By what an epoch is the best so far.
enum class BestBy : uint8_t { miou, mdice, pixel_accuracy, val_loss };

/// "miou", "mdice" and so on.
std::string_view name_of(BestBy by);
/// For people: "mean IoU", "validation loss".
std::string title_of(BestBy by);

/// How good an epoch is, more is better: a score, or the negative validation loss. NaN where
/// nothing could be scored.
double merit_of(const EpochRecord& record, BestBy by);

/// FOLDER/best_NNNN.safetensors of up to `count` epochs. A process may die at any moment: what an
/// epoch makes superfluous is removed by settle(), behind the checkpoint that has that epoch.
class BestEpochs {
 public:
  /// Reads what is there. Files of epochs behind `epoch` are of no run that is known: they go.
  /// Throws InputError when a file is damaged. `count` may be 0: then nothing is read or written.
  BestEpochs(std::filesystem::path folder, int64_t count, int64_t epoch);

  /// Writes the model of state.epoch if it is among the best; of equals the earlier ones are.
  void offer(double merit, const Snapshot& model, const ModelInfo& info, const RunState& state);
  /// Removes the files that are no longer among the best.
  void settle();

  /// In ascending order.
  std::vector<int64_t> epochs() const;
  /// Gives `parameters` the means of the models' values, taken in double. Requires an epoch.
  void average_into(Parameters& parameters) const;

 private:
  std::filesystem::path file_of(int64_t epoch) const;
  /// The epoch that is to go when there are too many.
  int64_t worst() const;

  std::filesystem::path folder_;
  size_t count_;
  std::map<int64_t, double> merits_;  // by epoch
  std::vector<int64_t> superfluous_;
};

}  // namespace macadam
