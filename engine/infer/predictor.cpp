#include "engine/infer/predictor.h"

#include <algorithm>

namespace macadam {

namespace {

/// The windows of one axis of a photo: they begin every half window, the last one flush with the
/// end.
class WindowStarts {
 public:
  WindowStarts(int extent, int window)
      : last_(std::max(0, extent - window)), step_(std::max(1, window / 2)) {}

  int count() const { return 1 + (last_ + step_ - 1) / step_; }
  int operator[](int i) const { return std::min(i * step_, last_); }

 private:
  int last_, step_;
};

/// Memory for `shape` in `buffer`, which grows if need be.
Tensor tensor_in(Buffer& buffer, const Shape& shape, DType dtype, Device device) {
  const size_t bytes = static_cast<size_t>(shape.elements()) * size_of(dtype);
  if (buffer.bytes() < bytes) {
    buffer = Buffer();
    buffer = Buffer(device, bytes);
  }
  return {buffer.data(), shape, dtype, device};
}

}  // namespace

int windows_at_once(Device device, int height, int width) {
  const int64_t most = device.is_cuda() ? 1024 * 2048 : 512 * 1024;  // pixels
  const int64_t pixels = std::max<int64_t>(1, int64_t{height} * width);
  return static_cast<int>(std::clamp<int64_t>(most / pixels, 1, 8));
}

Predictor::Predictor(std::span<const Graph> graphs, Parameters& parameters, Stream& stream,
                     Ops& ops, const PredictorOptions& options)
    : stream_(stream), ops_(ops), options_(options) {
  require(!graphs.empty(), "a predictor has a graph");
  for (const Graph& graph : graphs) {
    const Plan* first = classifiers_.empty() ? nullptr : &classifiers_.front()->plan();
    auto made = std::make_unique<Classifier>(
        graph, parameters, stream, ops,
        ClassifierOptions{options.dtype, options.normalization, options.confidence}, first);
    if (made->shape().n == 1) {
      classifiers_.push_back(std::move(made));
      continue;
    }
    require(first != nullptr && several_ == nullptr, "one graph for several images, not the first");
    const Shape &one = classifiers_.front()->shape(), &many = made->shape();
    require(one.h == many.h && one.w == many.w, "several windows are of the first graph's size");
    several_ = std::move(made);
  }
  classes_ = classifiers_.front()->plan().output().shape.c;
}

Predictor::Predictor(const Graph& graph, Parameters& parameters, Stream& stream, Ops& ops,
                     const PredictorOptions& options)
    : Predictor(std::span(&graph, 1), parameters, stream, ops, options) {}

Classifier* Predictor::classifier_of(const PhotoView& view) const {
  for (const auto& classifier : classifiers_) {
    const Shape& shape = classifier->shape();
    if (shape.h == view.height && shape.w == view.width) return classifier.get();
  }
  return nullptr;
}

Tensor Predictor::sums_in(Buffer& buffer, int height, int width) {
  const Tensor sums = tensor_in(buffer, {1, height, width, classes_}, DType::f32, stream_.device());
  zero_bytes(stream_, sums.data, sums.bytes());
  return sums;
}

Tensor Predictor::scores_at_once(Classifier& classifier, const PhotoView& view) {
  classifier.put(0, view);
  classifier.upload();
  const Tensor& scores = classifier.score(false);
  const Shape full{1, view.height, view.width, classes_};
  if (scores.shape == full) return scores;
  const Tensor resized = tensor_in(window_scores_, full, DType::f32, stream_.device());
  ops_.upsample->bilinear(scores, resized);
  return resized;
}

int Predictor::add_windows(Classifier& classifier, const PhotoView& view, int first, int end,
                           const Tensor& sums) {
  const Shape& window = classifier.shape();
  const WindowStarts rows(view.height, window.h), columns(view.width, window.w);
  const int count = std::min(window.n, end - first);
  const bool alone = end == 1;
  const auto place_of = [&](int i) {
    return WindowPlace{.top = rows[(first + i) / columns.count()],
                       .left = columns[(first + i) % columns.count()],
                       .height = window.h,
                       .width = window.w,
                       .fades = !alone};
  };
  for (int i = 0; i < count; ++i) {
    const WindowPlace place = place_of(i);
    classifier.put(i, view, place.top, place.left);
  }
  classifier.upload();
  for (const bool mirrored : {false, true}) {
    if (mirrored && !options_.flip) break;
    classifier.score(mirrored);
    for (int i = 0; i < count; ++i) {
      WindowPlace place = place_of(i);
      place.mirrored = mirrored;
      ops_.upsample->bilinear_add_softmax(classifier.scores(i), place, sums);
    }
  }
  return first + count;
}

Tensor Predictor::blend_windows(const PhotoView& view) {
  Classifier* const whole = classifier_of(view);
  Classifier& one = whole != nullptr ? *whole : *classifiers_.front();
  const Tensor sums = sums_in(view_sums_, view.height, view.width);
  const int windows = WindowStarts(view.height, one.shape().h).count() *
                      WindowStarts(view.width, one.shape().w).count();
  for (int next = 0; next < windows;) {
    // Half a batch takes about as long as a whole one.
    const bool together = several_ != nullptr && 2 * (windows - next) > several_->shape().n;
    next = add_windows(together && windows > 1 ? *several_ : one, view, next, windows, sums);
  }
  return sums;
}

Predictor::Scores Predictor::scores_of(const PhotoView& view) {
  Classifier* const whole = classifier_of(view);
  if (whole != nullptr && !options_.flip) return {scores_at_once(*whole, view), false};
  return {blend_windows(view), true};
}

Tensor Predictor::add_views(std::span<const PhotoView> views, int height, int width) {
  const Tensor sums = sums_in(photo_sums_, height, width);
  for (const PhotoView& view : views) {
    const Scores scores = scores_of(view);
    if (scores.sums) ops_.confusion->log_shares(scores.values);
    ops_.upsample->bilinear_add_softmax(scores.values, {.height = height, .width = width}, sums);
  }
  return sums;
}

void Predictor::choose(const Scores& from, bool keep_scores, Prediction& prediction) {
  const Device device = stream_.device();
  const Shape shape{1, prediction.height, prediction.width, classes_};
  const Shape mask{1, shape.h, shape.w, 1};
  const Tensor classes = tensor_in(mask_, mask, DType::u8, device);
  Tensor confidence;
  if (options_.confidence) confidence = tensor_in(confidence_, mask, DType::u8, device);
  Tensor scores = from.values;
  // The largest of the sums has the largest logarithm too.
  if (from.sums && (keep_scores || options_.confidence || scores.shape != shape)) {
    ops_.confusion->log_shares(scores);
  }
  if (keep_scores) {
    const Tensor resized = tensor_in(resized_, shape, DType::f32, device);
    ops_.upsample->bilinear(scores, resized);
    scores = resized;
  }
  if (scores.shape == shape) {
    ops_.confusion->argmax(scores, classes, confidence);
  } else {
    ops_.upsample->bilinear_argmax(scores, classes, confidence);
  }
  copy_bytes(stream_, prediction.classes.data(), classes.data, classes.bytes());
  if (options_.confidence) {
    copy_bytes(stream_, prediction.confidence.data(), confidence.data, confidence.bytes());
  }
  if (keep_scores) {
    copy_bytes(stream_, prediction.scores.data(), scores.data, scores.bytes());
  }
  stream_.synchronize();
}

void Predictor::run(std::span<const PhotoView> views, int out_height, int out_width,
                    bool keep_scores, Prediction& prediction) {
  require(!views.empty(), "a photo has a view");
  require(out_height > 0 && out_width > 0, "sizes are positive");
  const auto pixels = static_cast<size_t>(out_height) * static_cast<size_t>(out_width);
  prediction.height = out_height;
  prediction.width = out_width;
  prediction.classes.resize(pixels);
  prediction.confidence.resize(options_.confidence ? pixels : 0);
  prediction.scores.resize(keep_scores ? pixels * static_cast<size_t>(classes_) : 0);
  if (views.size() > 1) {
    choose({add_views(views, out_height, out_width), true}, keep_scores, prediction);
    return;
  }
  const PhotoView& view = views.front();
  Classifier* const whole = classifier_of(view);
  // One up-sampling can be done together with the choice of the class, two cannot.
  if (whole != nullptr && !options_.flip && !keep_scores && out_height == view.height &&
      out_width == view.width) {
    const InferenceImage image{view.height, view.width, view.rgb, prediction.classes,
                               prediction.confidence};
    whole->run({&image, 1});
    return;
  }
  choose(scores_of(view), keep_scores, prediction);
}

Prediction Predictor::run(std::span<const PhotoView> views, int out_height, int out_width,
                          bool keep_scores) {
  Prediction prediction;
  run(views, out_height, out_width, keep_scores, prediction);
  return prediction;
}

Prediction Predictor::run(std::span<const uint8_t> rgb, int height, int width, int out_height,
                          int out_width, bool keep_scores) {
  const PhotoView view{rgb, height, width};
  return run({&view, 1}, out_height, out_width, keep_scores);
}

}  // namespace macadam
