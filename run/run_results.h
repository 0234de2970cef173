#pragma once
// What the folder of a run says of it, for whoever compares runs.

#include <cstdint>
#include <filesystem>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/train/best_epochs.h"

namespace macadam {

/// What its best epoch makes of a class.
struct ClassResult {
  std::string name;
  double iou = 0, dice = 0;  // NaN: the class is absent
};

/// scores.json.
struct BestScores {
  int64_t epoch = 0;
  std::vector<ClassResult> classes;
  std::string device, precision;  // empty where they are not told
};

struct RunResults {
  static constexpr int64_t kAllEpochs = std::numeric_limits<int64_t>::max();

  std::filesystem::path folder;
  std::string name;  // of the folder
  /// The resolved configuration by dotted keys, as text, in its order; `network` is the network's
  /// name, whether it has options or not.
  std::vector<std::pair<std::string, std::string>> config;
  std::vector<EpochRecord> history;
  std::optional<BestScores> best_scores;  // when it has ended

  /// The value of a key of the configuration; empty where it has none.
  std::string_view setting(std::string_view key) const;
  /// By what the run chose its best epoch.
  BestBy best_by() const;
  /// The best epoch of those up to `last`, as the trainer chose it: the one of best.safetensors.
  /// Null without one.
  const EpochRecord* best(int64_t last = kAllEpochs) const;
  /// The value of a score of the best epoch whose name begins so; NaN without one.
  double best_score(std::string_view beginning, int64_t last = kAllEpochs) const;
  /// Training and validation of all epochs.
  double seconds() const;
  std::filesystem::path model() const { return folder / "best.safetensors"; }
};

/// Throws InputError when the folder holds no run, or a file of it is damaged.
RunResults read_run_results(const std::filesystem::path& folder);

}  // namespace macadam
