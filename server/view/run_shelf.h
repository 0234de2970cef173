#pragma once
// The training runs of a folder, as the page shows them. Names that come from outside are looked up
// among those that are there, never joined to a path.

#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>

namespace macadam {

class RunShelf {
 public:
  /// Throws InputError when there is no such folder.
  explicit RunShelf(const std::filesystem::path& folder);

  /// {"runs": [{"name", "config": {key: text}, "epochs", "seconds", "best_epoch", "scores": {name:
  /// value}, "report": bool, "samples": [file], "epoch_samples": {sample: [epoch]}}]}, the youngest
  /// first. A run that cannot be read has "error" instead.
  nlohmann::ordered_json list() const;
  /// The folder of a run; nothing when there is none of this name.
  std::optional<std::filesystem::path> find(std::string_view name) const;

  // Of a run's folder. These throw InputError when it has no such file.

  /// {"epochs": [{"epoch", "lr", "seconds", "values": {"train_loss": ...}}]}
  static nlohmann::ordered_json history(const std::filesystem::path& run);
  /// scores.json: what its best epoch makes of each class.
  static nlohmann::ordered_json scores(const std::filesystem::path& run);
  static std::string report(const std::filesystem::path& run);
  /// A picture of samples/.
  static std::string sample(const std::filesystem::path& run, std::string_view file);
  /// The mask that an epoch made of a sample.
  static std::string epoch_sample(const std::filesystem::path& run, std::string_view sample,
                                  std::string_view epoch);

 private:
  std::filesystem::path folder_;
};

}  // namespace macadam
