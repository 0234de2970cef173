#include "engine/infer/predictor.h"

#include <algorithm>
#include <array>
#include <functional>
#include <numeric>

#include "base/to_size.h"
#include "engine/infer/windows.h"

namespace macadam {

namespace {

/// A graph for several images has at most so many.
constexpr size_t kMostTogether = 64;

/// Sums of more bytes are given back after the photo: those of few are so large.
constexpr size_t kKeptSums = size_t{64} << 20;

/// Memory for `shape` in `buffer`, which grows if need be.
Tensor tensor_in(Buffer& buffer, const Shape& shape, DType dtype, Device device) {
  const size_t bytes = to_size(shape.elements()) * size_of(dtype);
  if (buffer.bytes() < bytes) {
    buffer = Buffer();
    buffer = Buffer(device, bytes);
  }
  return {buffer.data(), shape, dtype, device};
}

/// One a graph, in that order. One runs at a time, so that they share an arena, which the largest
/// is the first to ask for.
std::vector<std::unique_ptr<Classifier>> make_classifiers(std::span<const Graph> graphs,
                                                          Parameters& parameters,
                                                          DeviceContext& context,
                                                          const PredictorOptions& options) {
  PackedWeights own(parameters, options.dtype, context.device());
  ArenaMemory arena(context.device());
  const auto pixels = [&](size_t i) { return graphs[i].shape(graphs[i].input()).pixels(); };
  std::vector<size_t> order(graphs.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::stable_sort(order, std::greater<>(), pixels);
  std::vector<std::unique_ptr<Classifier>> made(graphs.size());
  for (const size_t i : order) {
    made[i] = std::make_unique<Classifier>(
        graphs[i], parameters, options.weights == nullptr ? own : *options.weights, context,
        ClassifierOptions{options.dtype, options.normalization, options.confidence, &arena});
  }
  return made;
}

}  // namespace

int windows_at_once(Device device, int height, int width) {
  const int64_t most = device.is_cuda() ? 1024 * 2048 : 512 * 1024;  // pixels
  const int64_t pixels = std::max<int64_t>(1, int64_t{height} * width);
  return static_cast<int>(std::clamp<int64_t>(most / pixels, 1, 8));
}

Predictor::Predictor(std::span<const Graph> graphs, Parameters& parameters, DeviceContext& context,
                     const PredictorOptions& options)
    : context_(context), options_(options) {
  require(!graphs.empty(), "a predictor has a graph");
  for (auto& made : make_classifiers(graphs, parameters, context, options)) {
    if (made->shape().n == 1) {
      classifiers_.push_back(std::move(made));
      continue;
    }
    require(!classifiers_.empty(), "the first graph is for one image");
    require(made->shape().n <= static_cast<int>(kMostTogether), "at most 64 images at once");
    const Shape &one = classifiers_.front()->shape(), &many = made->shape();
    require(one.h == many.h && one.w == many.w, "several images are of the first graph's size");
    several_.push_back(std::move(made));
  }
  options_.weights = nullptr;  // which need not outlive the predictor
  std::ranges::sort(several_, {}, [](const auto& classifier) { return classifier->shape().n; });
  classes_ = classifiers_.front()->plan().output().shape.c;
}

Predictor::Predictor(const Graph& graph, Parameters& parameters, DeviceContext& context,
                     const PredictorOptions& options)
    : Predictor(std::span(&graph, 1), parameters, context, options) {}

Classifier* Predictor::classifier_of(const PhotoView& view) const {
  for (const auto& classifier : classifiers_) {
    const Shape& shape = classifier->shape();
    if (shape.h == view.height && shape.w == view.width) return classifier.get();
  }
  return nullptr;
}

void Predictor::warm_up() {
  for (const auto* list : {&classifiers_, &several_}) {
    for (const auto& classifier : *list) classifier->warm_up();
  }
}

void Predictor::add_memory(std::set<const Buffer*>& memory) const {
  for (const auto* list : {&classifiers_, &several_}) {
    for (const auto& classifier : *list) classifier->add_memory(memory);
  }
}

size_t Predictor::bytes() const {
  std::set<const Buffer*> memory;
  add_memory(memory);
  return bytes_of(memory);
}

Tensor Predictor::sums_in(Buffer& buffer, int height, int width) {
  const Tensor sums =
      tensor_in(buffer, {1, height, width, classes_}, DType::f32, context_.device());
  zero_bytes(context_.stream, sums.data, sums.bytes());
  return sums;
}

Classifier& Predictor::classifier_for(int64_t left) const {
  Classifier* best = classifiers_.front().get();
  for (const auto& classifier : several_) {
    // Half a batch takes about as long as a whole one.
    if (2 * left > classifier->shape().n) best = classifier.get();
  }
  return left > 1 ? *best : *classifiers_.front();
}

Tensor Predictor::full_scores(Classifier& classifier, int place) {
  const Tensor scores = classifier.scores(place);
  const Shape full{1, classifier.shape().h, classifier.shape().w, classes_};
  if (scores.shape == full) return scores;
  const Tensor resized = tensor_in(window_scores_, full, DType::f32, context_.device());
  context_.ops.upsample->bilinear(scores, resized, false);
  return resized;
}

void Predictor::add_windows(Classifier& classifier, const PhotoView& view, int64_t first, int count,
                            bool flip, const Band& band) {
  const Shape& window = classifier.shape();
  const WindowGrid grid(view.height, view.width, window.h, window.w);
  for (int i = 0; i < count; ++i)
    classifier.put(i, view, grid.top(first + i), grid.left(first + i));
  classifier.upload();
  for (const bool mirrored : {false, true}) {
    if (mirrored && !flip) break;
    classifier.score(mirrored);
    for (int i = 0; i < count; ++i) {
      const WindowPlace place{.top = grid.top(first + i) - band.top,
                              .left = grid.left(first + i),
                              .height = window.h,
                              .width = window.w,
                              .mirrored = mirrored,
                              .fades = grid.count() > 1};
      context_.ops.upsample->bilinear_add_softmax(classifier.scores(i), place, band.sums);
    }
  }
}

void Predictor::slide(Band& band, int top) {
  const Tensor& sums = band.sums;
  const int by = top - band.top;
  const size_t row = sums.bytes() / to_size(sums.shape.h);
  auto* const first = static_cast<std::byte*>(sums.data);
  for (int from = by; from < sums.shape.h; from += by) {  // pieces that do not overlap
    const size_t rows = to_size(std::min(by, sums.shape.h - from));
    copy_bytes(context_.stream, first + to_size(from - by) * row, first + to_size(from) * row,
               rows * row);
  }
  const size_t kept = to_size(std::max(0, sums.shape.h - by)) * row;
  zero_bytes(context_.stream, first + kept, sums.bytes() - kept);
  band.top = top;
}

template <typename Finish>
Predictor::Band Predictor::blend_windows(const PhotoView& view, bool flip, int rows,
                                         const StopPrediction& stop, const Finish& finish) {
  Classifier* const whole = classifier_of(view);
  Classifier& one = whole != nullptr ? *whole : *classifiers_.front();
  const WindowGrid grid(view.height, view.width, one.shape().h, one.shape().w);
  Band band{sums_in(view_sums_, rows, view.width)};
  const auto rows_to = [&](int end) {
    Band some = band;
    some.sums.shape.h = end - band.top;
    return some;
  };
  for (int64_t next = 0; next < grid.count();) {
    if (stop && stop()) {
      context_.stream.synchronize();  // it writes to the prediction
      shrink();
      throw PredictionStopped();
    }
    Classifier& classifier = grid.count() > 1 ? classifier_for(grid.count() - next) : one;
    const auto count =
        static_cast<int>(std::min<int64_t>(classifier.shape().n, grid.count() - next));
    const int top = grid.top(next), bottom = grid.top(next + count - 1) + one.shape().h;
    if (std::min(bottom, view.height) > band.top + rows) {
      finish(rows_to(top));
      slide(band, top);
    }
    add_windows(classifier, view, next, count, flip, band);
    next += count;
  }
  return rows_to(view.height);
}

Tensor Predictor::blend_windows(const PhotoView& view, bool flip) {
  return blend_windows(view, flip, view.height, {}, [](const Band&) {}).sums;
}

void Predictor::choose_by_bands(const PhotoView& view, const PredictionWishes& wishes,
                                const StopPrediction& stop, Prediction& prediction) {
  const Shape& window = classifiers_.front()->shape();
  const int together = several_.empty() ? 1 : several_.back()->shape().n;
  const int rows = classifier_of(view) != nullptr
                       ? view.height
                       : WindowGrid(view.height, view.width, window.h, window.w).band(together);
  // At once for all bands: what is queued uses it.
  const Shape mask{1, rows, view.width, 1};
  tensor_in(mask_, mask, DType::u8, context_.device());
  if (wishes.confidence) tensor_in(confidence_, mask, DType::u8, context_.device());
  const auto finish = [&](const Band& band) { choose_rows(band, wishes, prediction); };
  finish(blend_windows(view, wishes.flip, rows, stop, finish));
  context_.stream.synchronize();
}

void Predictor::shrink() {
  for (Buffer* const sums : {&view_sums_, &photo_sums_}) {
    if (sums->bytes() > kKeptSums) *sums = Buffer();
  }
}

Predictor::Scores Predictor::scores_of(const PhotoView& view, bool flip) {
  Classifier* const whole = classifier_of(view);
  if (whole == nullptr || flip) return {blend_windows(view, flip), true};
  whole->put(0, view);
  whole->upload();
  whole->score(false);
  return {full_scores(*whole, 0), false};
}

Tensor Predictor::add_views(std::span<const PhotoView> views, int height, int width, bool flip) {
  const Tensor sums = sums_in(photo_sums_, height, width);
  for (const PhotoView& view : views) {
    const Scores scores = scores_of(view, flip);
    if (scores.sums) context_.ops.confusion->log_shares(scores.values);
    context_.ops.upsample->bilinear_add_softmax(scores.values, {.height = height, .width = width},
                                                sums);
  }
  return sums;
}

void Predictor::choose(const Scores& from, const PredictionWishes& wishes, Prediction& prediction) {
  const Device device = context_.device();
  const Shape shape{1, prediction.height, prediction.width, classes_};
  const Shape mask{1, shape.h, shape.w, 1};
  const Tensor classes = tensor_in(mask_, mask, DType::u8, device);
  Tensor confidence;
  if (wishes.confidence) confidence = tensor_in(confidence_, mask, DType::u8, device);
  Tensor scores = from.values;
  // The largest of the sums has the largest logarithm too.
  if (from.sums && (wishes.scores || wishes.confidence || scores.shape != shape)) {
    context_.ops.confusion->log_shares(scores);
  }
  if (wishes.scores) {
    const Tensor resized = tensor_in(resized_, shape, DType::f32, device);
    context_.ops.upsample->bilinear(scores, resized, false);
    scores = resized;
  }
  if (scores.shape == shape) {
    context_.ops.confusion->argmax(scores, classes, confidence);
  } else {
    context_.ops.upsample->bilinear_argmax(scores, classes, confidence);
  }
  copy_bytes(context_.stream, prediction.classes.data(), classes.data, classes.bytes());
  if (wishes.confidence) {
    copy_bytes(context_.stream, prediction.confidence.data(), confidence.data, confidence.bytes());
  }
  if (wishes.scores) {
    copy_bytes(context_.stream, prediction.scores.data(), scores.data, scores.bytes());
  }
  context_.stream.synchronize();
}

void Predictor::choose_rows(const Band& band, const PredictionWishes& wishes,
                            Prediction& prediction) {
  const Device device = context_.device();
  const Tensor& sums = band.sums;
  const Shape mask{1, sums.shape.h, sums.shape.w, 1};
  const Tensor classes = tensor_in(mask_, mask, DType::u8, device);
  Tensor confidence;
  if (wishes.confidence) confidence = tensor_in(confidence_, mask, DType::u8, device);
  // The largest of the sums has the largest logarithm too.
  if (wishes.scores || wishes.confidence) context_.ops.confusion->log_shares(sums);
  context_.ops.confusion->argmax(sums, classes, confidence);
  const size_t first = to_size(band.top) * to_size(sums.shape.w);
  copy_bytes(context_.stream, prediction.classes.data() + first, classes.data, classes.bytes());
  if (wishes.confidence) {
    copy_bytes(context_.stream, prediction.confidence.data() + first, confidence.data,
               confidence.bytes());
  }
  if (wishes.scores) {
    copy_bytes(context_.stream, prediction.scores.data() + first * to_size(classes_), sums.data,
               sums.bytes());
  }
}

void Predictor::prepare(Prediction& prediction, int height, int width,
                        const PredictionWishes& wishes) const {
  require(height > 0 && width > 0, "sizes are positive");
  require(!wishes.confidence || options_.confidence, "confidence from a predictor that gives it");
  const auto pixels = to_size(height) * to_size(width);
  prediction.height = height;
  prediction.width = width;
  prediction.classes.resize(pixels);
  prediction.confidence.resize(wishes.confidence ? pixels : 0);
  prediction.scores.resize(wishes.scores ? pixels * to_size(classes_) : 0);
}

bool Predictor::chooses(const Classifier& classifier, const PredictionTask& task) {
  return !task.wishes.scores && task.height == classifier.shape().h &&
         task.width == classifier.shape().w;
}

void Predictor::run_together(Classifier& classifier, std::span<const PredictionTask* const> tasks) {
  if (std::ranges::all_of(tasks, [&](const auto* task) { return chooses(classifier, *task); })) {
    std::array<InferenceImage, kMostTogether> images;
    for (size_t i = 0; i < tasks.size(); ++i) {
      const PhotoView& view = tasks[i]->view;
      images.at(i) = {view.rgb, tasks[i]->prediction->classes, tasks[i]->prediction->confidence};
    }
    classifier.run(std::span(images).first(tasks.size()));
    return;
  }
  for (size_t i = 0; i < tasks.size(); ++i) classifier.put(static_cast<int>(i), tasks[i]->view);
  classifier.upload();
  classifier.score(false);
  for (size_t i = 0; i < tasks.size(); ++i) {
    choose({full_scores(classifier, static_cast<int>(i)), false}, tasks[i]->wishes,
           *tasks[i]->prediction);
  }
}

void Predictor::run(std::span<const PredictionTask> tasks) {
  const Shape& size = classifiers_.front()->shape();
  std::array<const PredictionTask*, kMostTogether> together{};
  size_t next = 0;
  const auto alone = [&](const PredictionTask& task) {
    return task.wishes.flip || task.view.height != size.h || task.view.width != size.w;
  };
  auto left = static_cast<int>(std::ranges::count_if(tasks, std::not_fn(alone)));
  Classifier* classifier = &classifier_for(left);
  for (const PredictionTask& task : tasks) {
    require(task.prediction != nullptr, "a prediction has memory");
    if (alone(task)) {
      run({&task.view, 1}, task.height, task.width, task.wishes, task.stop, *task.prediction);
      continue;
    }
    prepare(*task.prediction, task.height, task.width, task.wishes);
    together.at(next++) = &task;
    --left;
    if (left > 0 && next < to_size(classifier->shape().n)) continue;
    run_together(*classifier, std::span(together).first(next));
    next = 0;
    classifier = &classifier_for(left);
  }
}

void Predictor::run(std::span<const PhotoView> views, int out_height, int out_width,
                    const PredictionWishes& wishes, Prediction& prediction) {
  run(views, out_height, out_width, wishes, {}, prediction);
}

void Predictor::run(std::span<const PhotoView> views, int out_height, int out_width,
                    const PredictionWishes& wishes, const StopPrediction& stop,
                    Prediction& prediction) {
  require(!views.empty(), "a photo has a view");
  prepare(prediction, out_height, out_width, wishes);
  if (views.size() > 1) {
    choose({add_views(views, out_height, out_width, wishes.flip), true}, wishes, prediction);
    return shrink();
  }
  const PhotoView& view = views.front();
  Classifier* const whole = classifier_of(view);
  if (whole == nullptr || wishes.flip) {
    if (view.height == out_height && view.width == out_width) {
      choose_by_bands(view, wishes, stop, prediction);
    } else {
      choose(scores_of(view, wishes.flip), wishes, prediction);
    }
    return shrink();
  }
  const PredictionTask task{view, out_height, out_width, wishes, &prediction};
  const std::array tasks{&task};
  run_together(*whole, tasks);
}

void Predictor::run(std::span<const PhotoView> views, int out_height, int out_width,
                    bool keep_scores, Prediction& prediction) {
  run(views, out_height, out_width, {options_.flip, options_.confidence, keep_scores}, prediction);
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
