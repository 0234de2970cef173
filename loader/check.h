#pragma once
// Verifies a data set before anybody trains on it.

#include <array>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "loader/class_weights.h"
#include "loader/dataset.h"
#include "loader/label_set.h"

namespace macadam {

struct CheckIssue {
  enum class Severity : uint8_t { error, warning };
  Severity severity = Severity::error;
  std::string what;   // "label id 77 at x=3, y=9 is not in the label set categories8"
  std::string where;  // file or files

  bool operator==(const CheckIssue&) const = default;
};

/// What was found in one split. Pixels are counted at the masks' own size.
struct SplitReport {
  std::string split;
  bool labeled = true;  // false: photos alone (is_unlabeled), whose labels are not counted
  int64_t samples = 0;  // readable pairs, or photos where these are alone
  int min_height = 0, min_width = 0, max_height = 0, max_width = 0;
  std::vector<ClassFrequency> classes;  // one a class of the label set
  uint64_t ignored_pixels = 0;
  uint64_t unknown_pixels = 0;          // of ids that the label set does not know
  std::array<double, 3> mean{}, std{};  // of R, G, B over all pixels, from 0 to 1
  std::vector<std::string> sequences;   // sorted, without repetition

  uint64_t labeled_pixels() const;
  /// A class's pixels over all classes'; 0 where nothing is labelled.
  double share(int label) const;
};

struct CheckReport {
  std::string name;
  Layout layout = Layout::plain;
  LabelSet labels;
  std::vector<SplitReport> splits;
  std::vector<CheckIssue> issues;  // errors first; within, in the order of splits and samples

  int64_t errors() const;
  int64_t warnings() const;
};

/// Called with (samples done, samples in all), never by two threads at once.
using Progress = std::function<void(int64_t, int64_t)>;

/// Decodes every file of every split of the data set `root` with `threads` threads (0 = all cores).
/// Errors in the report: a photo without a mask, dead links and devices, files that cannot be read,
/// differing sizes, unknown ids (the first a mask), an empty split, one whose labels show fewer
/// than two classes (but for the dummies of Cityscapes' test split), one photo's content in two
/// splits. Warnings: a mask without a photo, a split without masks (is_unlabeled), one content
/// twice in a split, a sequence in two splits, a class without a pixel in a split, and unless
/// `strict` (else an error) a JPEG with a fault that costs no pixel. Of a pack,
/// checksums and class counts are verified instead. The report does not depend on the number of
/// threads. Throws InputError only when `root` is not a data set, or a pack with another label set.
CheckReport check_dataset(const std::filesystem::path& root, const LabelSet& labels,
                          int threads = 0, const Progress& progress = {}, bool strict = true);

/// The same of splits that were looked for before, of one data set `root`; at least one.
CheckReport check_splits(const std::vector<SplitScan>& scans, const std::filesystem::path& root,
                         const LabelSet& labels, int threads = 0, const Progress& progress = {},
                         bool strict = true);

}  // namespace macadam
