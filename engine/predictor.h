#pragma once
// From a photo to a mask: windows of the network's size, blended, brought to any size.

#include <cstdint>
#include <span>
#include <vector>

#include "engine/batch_upload.h"
#include "engine/plan.h"
#include "engine/replay.h"

namespace macadam {

struct PredictorOptions {
  DType dtype = DType::f32;
  Normalization normalization;
  bool flip = false;  // average the class probabilities of the photo and of its mirror image
};

struct Prediction {
  int height = 0, width = 0;
  std::vector<uint8_t> classes;  // height x width
  std::vector<float> scores;     // height x width x C; empty unless asked for
};

class Predictor {
 public:
  /// `graph` takes one image; its size is the window's. `parameters`, `stream` and `ops` outlive
  /// it.
  Predictor(const Graph& graph, Parameters& parameters, Stream& stream, Ops& ops,
            const PredictorOptions& options);

  /// Classes of `rgb` (height x width x 3 bytes) at out_height x out_width. A photo of the window's
  /// size is seen at once; any other is covered by windows that overlap by half, whose class
  /// probabilities are blended with weights that fall towards a window's edges (a photo smaller
  /// than the window is continued by its edge pixels). The scores are logits, or logarithms of
  /// averaged probabilities; they are resized bilinearly before the largest is taken.
  Prediction run(std::span<const uint8_t> rgb, int height, int width, int out_height, int out_width,
                 bool keep_scores);

 private:
  /// Fills the window buffer from the photo at (top, left) and runs the network on it.
  void forward_window(std::span<const uint8_t> rgb, int height, int width, int top, int left,
                      bool mirrored);
  /// The window's class probabilities, averaged over its mirror image if asked.
  void window_probabilities(std::span<const uint8_t> rgb, int height, int width, int top, int left);
  /// Blended logarithms of probabilities of the whole photo, into blended_.
  void blend_windows(std::span<const uint8_t> rgb, int height, int width);
  /// Memory for the scores of a whole window, allocated when first asked for.
  Tensor window_scores();
  /// The network's scores at the window's size, up-sampled into window_scores() where the network's
  /// last layer did that.
  Tensor scores_of_window();
  Prediction finish(const Tensor& scores, int out_height, int out_width, bool keep_scores);

  Stream& stream_;
  Ops& ops_;
  PredictorOptions options_;
  Plan plan_;  // without the last up-sampling
  BatchUpload upload_;
  Replay forward_;
  Shape window_;
  int classes_;
  Buffer host_window_, host_flip_;
  Buffer window_scores_, host_logits_;  // empty until needed
  std::vector<float> probabilities_;    // of one window
  std::vector<float> blended_;          // of the photo
};

}  // namespace macadam
