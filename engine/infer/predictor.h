#pragma once
// From a photo to a mask: at once or in windows of the network's size, at one scale or at several,
// blended and brought to any size.

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "engine/input/batch_upload.h"
#include "engine/plan/plan.h"
#include "engine/plan/replay.h"

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

/// A photo as it is shown to the network: height x width x 3 bytes.
struct PhotoView {
  std::span<const uint8_t> rgb;
  int height = 0, width = 0;
};

class Predictor {
 public:
  /// `graphs`: a network in one or more sizes, for one image each; all have the same parameters and
  /// pack them once. `parameters`, `stream` and `ops` outlive it. Requires at least one graph.
  Predictor(std::span<const Graph> graphs, Parameters& parameters, Stream& stream, Ops& ops,
            const PredictorOptions& options);
  /// The same for one size.
  Predictor(const Graph& graph, Parameters& parameters, Stream& stream, Ops& ops,
            const PredictorOptions& options);
  ~Predictor();
  Predictor(const Predictor&) = delete;
  Predictor& operator=(const Predictor&) = delete;

  /// Classes of a photo at out_height x out_width, from one view of it or from several (scales of
  /// it). A view of one of the graphs' sizes is seen at once; any other is covered by windows of
  /// the first graph's size that overlap by half, whose class probabilities are blended with
  /// weights that fall towards a window's edges (a view smaller than the window is continued by its
  /// edge pixels). The scores are logits, or logarithms of averaged probabilities; they are resized
  /// bilinearly before the largest is taken. With several views, those of each are resized so, and
  /// the probabilities that they stand for are averaged. Requires at least one view.
  Prediction run(std::span<const PhotoView> views, int out_height, int out_width, bool keep_scores);
  /// The same for one view.
  Prediction run(std::span<const uint8_t> rgb, int height, int width, int out_height, int out_width,
                 bool keep_scores);

 private:
  /// The network at one size, and what feeds it.
  struct Window;

  /// The window that sees all of the view at once, or null.
  Window* window_of(const PhotoView& view) const;
  /// Fills the window's input from the view at (top, left) and runs the network on it.
  void forward(Window& window, const PhotoView& view, int top, int left, bool mirrored);
  /// The network's scores at the window's size, up-sampled where the network's last layer did that.
  Tensor scores_of(Window& window);
  /// Class probabilities of the window at (top, left), averaged over its mirror image if asked,
  /// into probabilities_.
  void find_probabilities(Window& window, const PhotoView& view, int top, int left);
  /// Blended logarithms of probabilities of the whole view, into blended_.
  void blend_windows(Window& window, const PhotoView& view);
  /// Logarithms of the views' averaged probabilities at that size, into blended_.
  void average_views(std::span<const PhotoView> views, int out_height, int out_width);
  /// Scores of a view at its own size, on the device: of its window, or blended and kept in
  /// uploaded_.
  Tensor scores_of_view(const PhotoView& view);
  /// blended_ as a tensor in uploaded_.
  Tensor upload_blended(int height, int width);
  Prediction finish(const Tensor& scores, int out_height, int out_width, bool keep_scores);

  Stream& stream_;
  Ops& ops_;
  PredictorOptions options_;
  std::vector<std::unique_ptr<Window>> windows_;
  int classes_;
  Buffer uploaded_;                   // scores made on the host
  std::vector<float> probabilities_;  // of one window
  std::vector<float> blended_;        // of a view, or of the photo
};

}  // namespace macadam
