#pragma once
// Boundary IoU: IoU of the pixels along the classes' outlines, which large areas do not outweigh.
// Source: Cheng, Girshick, Dollar, Berg, Kirillov: Boundary IoU: Improving Object-Centric Image
// Segmentation Evaluation, CVPR 2021, and its boundary_utils.py.

#include <cstdint>
#include <span>
#include <vector>

#include "engine/infer/metrics.h"

namespace macadam {

/// The boundary's width that the paper proposes, over the image's diagonal.
inline constexpr double kBoundaryRatio = 0.02;

/// ratio x diagonal in pixels, rounded to the nearest integer (halves to even), at least 1.
int boundary_width(double ratio, int height, int width);

/// 1 for the pixels of every class that lie within `distance` rows and columns of another value or
/// of the image's edge, 0 for the others: what erosion by a square of 3 x 3, `distance` times, with
/// nothing around the image, takes off each class's area. Requires height x width values and
/// distance >= 1.
std::vector<uint8_t> boundary_pixels(std::span<const uint8_t> values, int height, int width,
                                     int distance);

/// Counts of a data set's boundary pixels, class by class.
class BoundaryCounts {
 public:
  /// All zero. `ratio`: the boundary's width over the image's diagonal. Requires classes >= 1 and
  /// ratio > 0.
  BoundaryCounts(int classes, double ratio);

  double ratio() const { return ratio_; }
  /// Counts one image of height x width. Labels and predictions of no class count nowhere; where
  /// the label is none, the prediction is taken as none too, so that both have their boundary
  /// there.
  void add(std::span<const uint8_t> labels, std::span<const uint8_t> predictions, int height,
           int width);
  /// |G & P| / |G | P| with G and P the boundary pixels of the class in labels and predictions, of
  /// all images together; NaN when there are none.
  double iou(int label) const;
  int classes() const { return static_cast<int>(both_.size()); }

 private:
  double ratio_;
  std::vector<uint64_t> label_, prediction_, both_;  // one a class
};

/// Sets the classes' boundary IoU and adds its mean "mbiou_present" (or what the rule for absent
/// classes calls it) to the scores. Requires as many classes.
void add_boundary_scores(const BoundaryCounts& counts, SegmentationMetrics& metrics);

}  // namespace macadam
