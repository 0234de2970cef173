#pragma once
// Segmentation metrics of a whole data set, from one confusion matrix. Averages of per-batch or
// per-image scores depend on the batch size and are not offered.

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace macadam {

/// What a class that occurs neither in the labels nor in the predictions contributes to a mean.
/// The same predictions score differently under each rule, so the rule is part of a mean's name.
enum class AbsentRule : uint8_t {
  drop,  // left out of the mean (Cityscapes, mmsegmentation): "miou_present"
  one,   // counts as 1 (segmentation_models, PaddleSeg): "miou_absent1"
  zero,  // counts as 0 (image-segmentation-keras): "miou_absent0"
};

/// "present", "absent1", "absent0": what follows "miou_", "mdice_" and "macc_".
std::string_view suffix_of(AbsentRule rule);

/// Pixel counts: row = label, column = prediction. Ignored labels are not in it. A prediction may
/// be none of the classes, where it comes from a tool that has others: a miss of its label.
class ConfusionMatrix {
 public:
  /// All zero. Requires classes >= 1.
  explicit ConfusionMatrix(int classes);
  /// Requires counts.size() == classes * classes.
  ConfusionMatrix(int classes, std::vector<uint64_t> counts);

  int classes() const { return classes_; }
  uint64_t at(int label, int prediction) const;
  /// Row by row.
  std::span<const uint64_t> counts() const { return counts_; }
  void add(int label, int prediction, uint64_t pixels = 1);
  /// Of pixels with this label, those whose prediction is no class.
  uint64_t unclassified(int label) const;
  void add_unclassified(int label, uint64_t pixels = 1);
  bool has_unclassified() const;
  /// Adds the counts of a matrix of the same size.
  ConfusionMatrix& operator+=(const ConfusionMatrix& other);
  bool operator==(const ConfusionMatrix&) const = default;

 private:
  size_t index(int label, int prediction) const;

  int classes_;
  std::vector<uint64_t> counts_;
  std::vector<uint64_t> unclassified_;  // one a label
};

/// With TP = M[c][c], FN = rest of row c and what is unclassified of it, FP = rest of column c. NaN
/// where the divisor is 0: for IoU and Dice when the class is absent from labels and predictions.
struct ClassMetrics {
  double iou = 0;        // TP / (TP + FP + FN)
  double dice = 0;       // 2 TP / (2 TP + FP + FN)
  double precision = 0;  // TP / (TP + FP)
  double recall = 0;     // TP / (TP + FN), the class's accuracy
  /// Where boundaries were counted (engine/infer/boundary.h); NaN without boundary pixels.
  std::optional<double> boundary_iou = std::nullopt;
  uint64_t label_pixels = 0;
  uint64_t predicted_pixels = 0;
};

/// Mean of the values of classes, NaN for what is absent.
double mean_score(std::span<const double> values, AbsentRule absent);

/// A number with the name that it has in results.csv, JSON and model files.
struct Score {
  std::string name;
  double value = 0;

  bool operator==(const Score&) const = default;
};

/// A score's name for people: "mean IoU" of "miou_present"; "pixel accuracy" of "pixel_accuracy".
std::string title_of(std::string_view score);

struct SegmentationMetrics {
  std::vector<ClassMetrics> classes;
  AbsentRule absent = AbsentRule::drop;
  uint64_t pixels = 0;
  /// What is said of the whole: the means of IoU, Dice and recall under `absent` (NaN when every
  /// class was dropped; a recall is absent where there are no labels), the pixel accuracy and the
  /// IoU weighted by the classes' shares of the labels (both NaN without pixels; Long, Shelhamer,
  /// Darrell: Fully Convolutional Networks, CVPR 2015, section 5). Tables, logs, results, reports
  /// and model files show whatever is in this list.
  std::vector<Score> scores;

  /// "miou_present" and so on: the first score, by which the best epoch is chosen.
  const Score& mean_iou() const { return scores.at(0); }
  const Score& mean_dice() const { return scores.at(1); }
  const Score& pixel_accuracy() const { return scores.at(2); }
};

SegmentationMetrics compute_metrics(const ConfusionMatrix& matrix, AbsentRule absent);

/// Four digits after the point; "-" for a score that is NaN because there was nothing to score.
std::string score_text(double value);

/// One line a class and the means below, columns aligned; absent classes show "-".
/// Requires one name a class (UTF-8).
std::string metrics_table(const SegmentationMetrics& metrics,
                          std::span<const std::string> class_names);
/// Rows = labels, columns = predictions, in per cent of the row; "-" for classes without labels. A
/// last column "(none)" where predictions are no class. In as many parts, one below the other, as
/// 80 characters a line ask for.
std::string confusion_table(const ConfusionMatrix& matrix,
                            std::span<const std::string> class_names);
/// A number, or null for NaN, which JSON does not have.
nlohmann::ordered_json json_number(double value);
/// One object: the scores, "classes" (name, iou, dice, precision, recall, pixels, and boundary_iou
/// where it was counted), "confusion" (counts, row by row) and, where predictions are no class,
/// "unclassified" (counts, one a row).
nlohmann::ordered_json metrics_json(const SegmentationMetrics& metrics,
                                    const ConfusionMatrix& matrix,
                                    std::span<const std::string> names);

}  // namespace macadam
