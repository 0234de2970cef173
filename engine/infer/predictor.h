#pragma once
// From a photo to a mask: at once or in windows of the network's size, at one scale or at several,
// blended and brought to any size.

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "engine/infer/classifier.h"

namespace macadam {

struct PredictorOptions {
  DType dtype = DType::f32;
  Normalization normalization;
  bool flip = false;        // average the class probabilities of the photo and of its mirror image
  bool confidence = false;  // Prediction::confidence is wanted
};

struct Prediction {
  int height = 0, width = 0;
  std::vector<uint8_t> classes;  // height x width
  /// height x width: round(255 * the class's probability, the softmax of the resized scores). Empty
  /// unless wanted.
  std::vector<uint8_t> confidence;
  std::vector<float> scores;  // height x width x C; empty unless asked for
};

/// How many windows of height x width a network should see at once: as many as come to the pixels
/// of one image of 1024 x 2048 on a GPU, of 512 x 1024 on a CPU, but 1 to 8.
int windows_at_once(Device device, int height, int width);

class Predictor {
 public:
  /// `graphs`: a network in one or more sizes, for one image each; all have the same parameters and
  /// pack them once. One more, of the first's size, may be for several images: it sees so many
  /// windows at once. `parameters`, `stream` and `ops` outlive it. Requires at least one graph.
  Predictor(std::span<const Graph> graphs, Parameters& parameters, Stream& stream, Ops& ops,
            const PredictorOptions& options);
  /// The same for one size.
  Predictor(const Graph& graph, Parameters& parameters, Stream& stream, Ops& ops,
            const PredictorOptions& options);

  /// Classes of a photo at out_height x out_width, from one view of it or from several (scales of
  /// it). A view of one of the graphs' sizes is seen at once; any other is covered by windows of
  /// the first graph's size that overlap by half, whose class probabilities are blended with
  /// weights that fall towards a window's edges (a view smaller than the window is continued by its
  /// edge pixels). The scores are logits, or logarithms of averaged probabilities; they are resized
  /// bilinearly before the largest is taken. With several views, those of each are resized so, and
  /// the probabilities that they stand for are averaged. All of it is the device's work. Nothing is
  /// allocated once photos, and the memory of `prediction`, have been as large before. Requires at
  /// least one view.
  void run(std::span<const PhotoView> views, int out_height, int out_width, bool keep_scores,
           Prediction& prediction);
  /// The same in new memory.
  Prediction run(std::span<const PhotoView> views, int out_height, int out_width, bool keep_scores);
  /// The same for one view.
  Prediction run(std::span<const uint8_t> rgb, int height, int width, int out_height, int out_width,
                 bool keep_scores);

 private:
  /// Sums of probabilities, or scores whose softmax they are.
  struct Scores {
    Tensor values;
    bool sums = false;
  };

  /// The network that sees all of the view at once, or null.
  Classifier* classifier_of(const PhotoView& view) const;
  /// Scores of a view of the network's size, at that size.
  Tensor scores_at_once(Classifier& classifier, const PhotoView& view);
  /// Sums over the windows that cover the view, at its size.
  Tensor blend_windows(const PhotoView& view);
  /// Adds the windows from number `first` of blend_windows() on, as many as `classifier` takes.
  /// Gives the number after them.
  int add_windows(Classifier& classifier, const PhotoView& view, int first, int end,
                  const Tensor& sums);
  /// Scores of a view, at its own size.
  Scores scores_of(const PhotoView& view);
  /// Sums over the views at that size.
  Tensor add_views(std::span<const PhotoView> views, int height, int width);
  /// Zeros.
  Tensor sums_in(Buffer& buffer, int height, int width);
  /// The mask of a photo, from scores of any size.
  void choose(const Scores& scores, bool keep_scores, Prediction& prediction);

  Stream& stream_;
  Ops& ops_;
  PredictorOptions options_;
  int classes_ = 0;
  std::vector<std::unique_ptr<Classifier>> classifiers_;  // for one image each
  std::unique_ptr<Classifier> several_;                   // for several windows, or null
  // They grow with the photos.
  Buffer window_scores_;  // up-sampled
  Buffer view_sums_, photo_sums_;
  Buffer resized_, mask_, confidence_;
};

}  // namespace macadam
