#pragma once
// The convolution plans that were found fastest, kept in a file from one run to the next. Building
// a known plan takes a tenth of a millisecond, without a search and without timing. As a cache it
// never fails: a file that is damaged, of another device or not writable is as good as none.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "kernels/cuda/cudnn/graph.h"

namespace macadam::cuda {

/// What the tuner found for one direction of one convolution.
struct TunedPlan {
  PlanRecipe recipe;
  bool epilogue = false;       // ConvPath::epilogue
  size_t workspace_bytes = 0;  // to recognise the plan that was meant when it is built again
  float milliseconds = 0;      // of one run; 0: there was nothing to choose, and nothing was timed

  bool operator==(const TunedPlan&) const = default;
};

/// By path_key() (cudnn_paths.h).
using TunedPlans = std::map<std::string, TunedPlan>;

/// The content of a file: one line a plan. `device` says which device and libraries the plans are
/// for; it and the keys are single lines, and keys hold no '='.
std::string to_text(const TunedPlans& plans, std::string_view device);

/// The plans in a file; none when it is not whole, not of this format, or not for `device`.
std::optional<TunedPlans> parse_tuned_plans(std::string_view text, std::string_view device);

/// Tells a file from those that were in its place before, and from itself before it was changed.
struct FileStamp {
  uint64_t id = 0, bytes = 0;
  int64_t seconds = 0, nanoseconds = 0;  // of the last change

  bool operator==(const FileStamp&) const = default;
};

/// Reads its file when it is made, and again on a miss when others have written it since; rewrites
/// it at each store(). Several objects, also of other processes, may do so at once: the file is
/// always whole, and a plan that is lost between them is tuned again.
class PlanCache {
 public:
  /// An empty `folder`: plans are kept for the life of this object only.
  PlanCache(const std::filesystem::path& folder, std::string_view device);

  /// Null when there is none. Valid until the next store().
  const TunedPlan* find(const std::string& key);
  void store(const std::string& key, const TunedPlan& plan);

  /// Empty without a folder.
  const std::filesystem::path& file() const { return file_; }

 private:
  /// Adds what the file holds besides, if it is not the one that was read or written last.
  void read_changes();

  std::string device_;
  std::filesystem::path file_;
  std::optional<FileStamp> known_;  // of the file that was read or written last
  TunedPlans plans_;
};

}  // namespace macadam::cuda
