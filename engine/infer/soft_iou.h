#pragma once
// The IoU that segmentation_models reports for Keras (IOUScore with its defaults), to be compared
// with numbers that it published: of probabilities, not of a mask, and a mean over batches. It
// depends on how photos are batched, and says little beside a data set's IoU.
// Source: segmentation_models 1.0.1, base/functional.py, iou_score() and average(): threshold None,
// per_image False, class_weights 1, smooth 1e-5.

#include <cstdint>
#include <span>
#include <vector>

namespace macadam {

class SoftIou {
 public:
  /// Requires classes >= 1 and batch >= 1.
  SoftIou(int classes, int batch);

  /// Adds the next photo: a label a pixel, and its scores (logits), class by class. A label of no
  /// class is one of which no probability is right: there is no ignoring in this score.
  void add(std::span<const uint8_t> labels, std::span<const float> scores);
  /// Mean over the batches, the last of which may be smaller, of the mean over all classes of
  /// (sum of p g + s) / (sum of p + sum of g - sum of p g + s), g being 1 for the label's class and
  /// 0 for the others. NaN without photos.
  double value() const;
  int batch() const { return batch_; }

 private:
  double batch_score() const;

  int batch_, photos_ = 0;  // of the batch that is being filled
  int64_t batches_ = 0;
  double sum_ = 0;
  std::vector<double> hits_, both_;  // sums of p g, and of p + g, one a class
};

}  // namespace macadam
