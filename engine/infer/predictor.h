#pragma once
// From a photo to a mask: at once or in windows of the network's size, at one scale or at several,
// blended and brought to any size.

#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <set>
#include <span>
#include <vector>

#include "engine/infer/classifier.h"

namespace macadam {

struct PredictorOptions {
  DType dtype = DType::f32;
  Normalization normalization;
  bool flip = false;        // average the class probabilities of the photo and of its mirror image
  bool confidence = false;  // Prediction::confidence is wanted
  /// PlanOptions::weights: predictors on several streams share them. Null: it has its own.
  PackedWeights* weights = nullptr;
};

/// What one prediction is to have, whatever the options say of all.
struct PredictionWishes {
  bool flip = false;
  bool confidence = false;  // requires that of PredictorOptions
  bool scores = false;      // Prediction::scores
};

struct Prediction {
  int height = 0, width = 0;
  std::vector<uint8_t> classes;  // height x width
  /// height x width: round(255 * the class's probability, the softmax of the resized scores). Empty
  /// unless wanted.
  std::vector<uint8_t> confidence;
  std::vector<float> scores;  // height x width x C; empty unless asked for
};

/// Whether to give a prediction up; empty: never. Asked before every few windows.
using StopPrediction = std::function<bool()>;

/// StopPrediction said so: the prediction is not whole.
class PredictionStopped : public std::exception {
 public:
  const char* what() const noexcept override { return "the prediction was stopped"; }
};

/// A photo of a batch, and what becomes of it.
struct PredictionTask {
  PhotoView view;
  int height = 0, width = 0;  // of the mask
  PredictionWishes wishes;
  Prediction* prediction = nullptr;  // not null; its memory serves again
  StopPrediction stop{};
};

/// How many windows of height x width a network should see at once: as many as come to the pixels
/// of one image of 1024 x 2048 on a GPU, of 512 x 1024 on a CPU, but 1 to 8.
int windows_at_once(Device device, int height, int width);

class Predictor {
 public:
  /// `graphs`: a network in one or more sizes, for one image each; all have the same parameters and
  /// pack them once. More, of the first's size, may be for several images: they see so many
  /// windows, or photos, at once (at most 64). `parameters` and `context` outlive it.
  /// Requires at least one graph.
  Predictor(std::span<const Graph> graphs, Parameters& parameters, DeviceContext& context,
            const PredictorOptions& options);
  /// The same for one size.
  Predictor(const Graph& graph, Parameters& parameters, DeviceContext& context,
            const PredictorOptions& options);

  /// Classes of a photo at out_height x out_width, from one view of it or from several (scales of
  /// it). A view of one of the graphs' sizes is seen at once; any other is covered by windows of
  /// the first graph's size that overlap by half, whose class probabilities are blended with
  /// weights that fall towards a window's edges (a view smaller than the window is continued by its
  /// edge pixels). The scores are logits, or logarithms of averaged probabilities; they are resized
  /// bilinearly before the largest is taken. With several views, those of each are resized so, and
  /// the probabilities that they stand for are averaged. All of it is the device's work. Sums over
  /// the windows of one view, at its own size, are those of a band of rows at a time
  /// (WindowGrid::band). Nothing is allocated once photos, and the memory of `prediction`, have
  /// been as large before, but for sums of more than 64 MiB, which are not kept. Requires at least
  /// one view.
  void run(std::span<const PhotoView> views, int out_height, int out_width, bool keep_scores,
           Prediction& prediction);
  /// The same with wishes of its own.
  void run(std::span<const PhotoView> views, int out_height, int out_width,
           const PredictionWishes& wishes, Prediction& prediction);
  /// Photos of one view each, those of the first graph's size that are not to be flipped together
  /// as far as there are graphs for several images. Each has the prediction that it has alone.
  /// Throws PredictionStopped.
  void run(std::span<const PredictionTask> tasks);
  /// The same in new memory.
  Prediction run(std::span<const PhotoView> views, int out_height, int out_width, bool keep_scores);
  /// The same for one view.
  Prediction run(std::span<const uint8_t> rgb, int height, int width, int out_height, int out_width,
                 bool keep_scores);

  /// Runs all of its networks until they are at full speed: Classifier::warm_up().
  void warm_up();

  /// Adds the memory on the device: the networks, which share an arena, and their packed weights,
  /// which predictors may share. Without Parameters.
  void add_memory(std::set<const Buffer*>& memory) const;
  /// Of that memory.
  size_t bytes() const;

 private:
  /// Sums of probabilities, or scores whose softmax they are.
  struct Scores {
    Tensor values;
    bool sums = false;
  };
  /// Sums of some of a photo's rows.
  struct Band {
    Tensor sums;
    int top = 0;  // in the photo
  };

  /// The network that sees all of the view at once, or null.
  Classifier* classifier_of(const PhotoView& view) const;
  /// The network that takes the most of `left` images of the first graph's size without more than
  /// half of its places empty; the one for a single image when there is no other.
  Classifier& classifier_for(int64_t left) const;
  /// Scores of the image at `place`, of what the classifier has been shown, at the network's size.
  Tensor full_scores(Classifier& classifier, int place);
  /// Sums over the windows that cover the view, at its size, of whose rows at most `rows` are held
  /// at once: `finish` is called for the others, from the top on, as soon as no window adds to them
  /// any more. Gives the last ones. Requires as many rows as WindowGrid::band() says.
  template <typename Finish>
  Band blend_windows(const PhotoView& view, bool flip, int rows, const StopPrediction& stop,
                     const Finish& finish);
  /// All of them.
  Tensor blend_windows(const PhotoView& view, bool flip);
  /// The mask of a view at its own size.
  void choose_by_bands(const PhotoView& view, const PredictionWishes& wishes,
                       const StopPrediction& stop, Prediction& prediction);
  /// Adds `count` windows from number `first` of blend_windows() on.
  void add_windows(Classifier& classifier, const PhotoView& view, int64_t first, int count,
                   bool flip, const Band& band);
  /// Makes `top` the first row: the rows above it are lost, those that are new are zeros.
  void slide(Band& band, int top);
  /// Gives back what only large photos need.
  void shrink();
  /// Scores of a view, at its own size.
  Scores scores_of(const PhotoView& view, bool flip);
  /// Sums over the views at that size.
  Tensor add_views(std::span<const PhotoView> views, int height, int width, bool flip);
  /// Makes memory for what is wished for.
  void prepare(Prediction& prediction, int height, int width, const PredictionWishes& wishes) const;
  /// Whether the classifier can choose the classes itself: one up-sampling can be done together
  /// with that, two cannot.
  static bool chooses(const Classifier& classifier, const PredictionTask& task);
  void run(std::span<const PhotoView> views, int out_height, int out_width,
           const PredictionWishes& wishes, const StopPrediction& stop, Prediction& prediction);
  /// Tasks that one classifier sees at once.
  void run_together(Classifier& classifier, std::span<const PredictionTask* const> tasks);
  /// Zeros.
  Tensor sums_in(Buffer& buffer, int height, int width);
  /// The mask of a photo, from scores of any size.
  void choose(const Scores& scores, const PredictionWishes& wishes, Prediction& prediction);
  /// Its rows that the band has.
  void choose_rows(const Band& band, const PredictionWishes& wishes, Prediction& prediction);

  DeviceContext& context_;
  PredictorOptions options_;
  int classes_ = 0;
  std::vector<std::unique_ptr<Classifier>> classifiers_;  // for one image each
  std::vector<std::unique_ptr<Classifier>> several_;      // for more, the fewest first
  // They grow with the photos.
  Buffer window_scores_;  // up-sampled
  Buffer view_sums_, photo_sums_;
  Buffer resized_, mask_, confidence_;
};

}  // namespace macadam
