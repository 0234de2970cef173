#include "engine/infer/predictor.h"

#include <algorithm>
#include <cmath>

#include "engine/graph/rewrite.h"

namespace macadam {

namespace {

PlanOptions plan_options(const PredictorOptions& options, const Plan* weights_of) {
  PlanOptions plan;
  plan.mode = Mode::infer;
  plan.dtype = options.dtype;
  plan.weights_of = weights_of;
  return plan;
}

/// Where windows of `window` pixels begin on an axis of `extent` pixels: every half window, the
/// last one flush with the end.
std::vector<int> window_starts(int extent, int window) {
  std::vector<int> starts{0};
  while (starts.back() + window < extent) {
    starts.push_back(std::min(starts.back() + std::max(1, window / 2), extent - window));
  }
  return starts;
}

/// Falls linearly from the middle of a window to its edges, never to zero.
float edge_weight(int position, int extent) {
  return static_cast<float>(std::min(position + 1, extent - position));
}

/// Softmax of one pixel's logits, added to `sum` with `weight`.
void add_softmax(const float* logits, int classes, float weight, float* sum) {
  const float top = *std::max_element(logits, logits + classes);
  float total = 0;
  for (int c = 0; c < classes; ++c) total += std::exp(logits[c] - top);
  for (int c = 0; c < classes; ++c) sum[c] += weight * std::exp(logits[c] - top) / total;
}

/// Sums of probabilities to logarithms of their shares; the smallest float stands for zero.
void to_log_probabilities(std::span<float> sums, size_t classes) {
  for (size_t p = 0; p < sums.size(); p += classes) {
    const auto pixel = sums.subspan(p, classes);
    float total = 0;
    for (const float sum : pixel) total += sum;
    for (float& sum : pixel) sum = std::log(std::max(sum / total, 1e-38f));
  }
}

}  // namespace

struct Predictor::Window {
  Window(const Graph& graph, Parameters& parameters, Stream& stream, Ops& ops,
         const PredictorOptions& options, const Plan* weights_of)
      : plan(without_last_upsampling(graph), parameters, stream, ops,
             plan_options(options, weights_of)),
        upload(plan, stream, options.normalization),
        shape(plan.input().shape),
        host_pixels(Buffer::host_for(stream.device(), static_cast<size_t>(shape.elements()))),
        host_flip(Buffer::host_for(stream.device(), 1)) {
    require(shape.n == 1, "a predictor's graph takes one image");
    require(graph.shape(graph.output()).h == shape.h && graph.shape(graph.output()).w == shape.w,
            "a predictor's network scores every pixel");
    plan.pack_weights();
  }

  /// Memory for scores at the window's size, allocated when first asked for.
  Tensor full_scores(Stream& stream) {
    const Shape full{1, shape.h, shape.w, plan.output().shape.c};
    if (scores.bytes() == 0) {
      scores = Buffer(stream.device(), static_cast<size_t>(full.elements()) * sizeof(float));
    }
    return {scores.data(), full, DType::f32, stream.device()};
  }

  Plan plan;  // without the last up-sampling
  BatchUpload upload;
  Replay replay;
  Shape shape;  // of the input
  Buffer host_pixels, host_flip;
  Buffer scores, host_scores;  // empty until needed
};

Predictor::Predictor(std::span<const Graph> graphs, Parameters& parameters, Stream& stream,
                     Ops& ops, const PredictorOptions& options)
    : stream_(stream), ops_(ops), options_(options) {
  require(!graphs.empty(), "a predictor has a graph");
  for (const Graph& graph : graphs) {
    const Plan* first = windows_.empty() ? nullptr : &windows_.front()->plan;
    windows_.push_back(std::make_unique<Window>(graph, parameters, stream, ops, options, first));
  }
  classes_ = windows_.front()->plan.output().shape.c;
}

Predictor::Predictor(const Graph& graph, Parameters& parameters, Stream& stream, Ops& ops,
                     const PredictorOptions& options)
    : Predictor(std::span(&graph, 1), parameters, stream, ops, options) {}

Predictor::~Predictor() = default;

Predictor::Window* Predictor::window_of(const PhotoView& view) const {
  for (const auto& window : windows_) {
    if (window->shape.h == view.height && window->shape.w == view.width) return window.get();
  }
  return nullptr;
}

void Predictor::forward(Window& window, const PhotoView& view, int top, int left, bool mirrored) {
  const Shape& shape = window.shape;
  auto* out = reinterpret_cast<uint8_t*>(window.host_pixels.data());
  const auto row_bytes = static_cast<size_t>(view.width) * 3;
  for (int y = 0; y < shape.h; ++y) {
    const uint8_t* row =
        view.rgb.data() + static_cast<size_t>(std::min(top + y, view.height - 1)) * row_bytes;
    const int inside = std::min(shape.w, view.width - left);
    out = std::copy(row + static_cast<size_t>(left) * 3,
                    row + static_cast<size_t>(left + inside) * 3, out);
    const uint8_t* last = row + row_bytes - 3;
    for (int x = inside; x < shape.w; ++x) out = std::copy(last, last + 3, out);
  }
  *window.host_flip.data() = static_cast<std::byte>(mirrored);
  Batch batch;
  batch.n = 1;
  batch.images = Tensor(window.host_pixels.data(), shape, DType::u8);
  batch.flips = reinterpret_cast<const uint8_t*>(window.host_flip.data());
  window.upload.run(batch);
  window.replay.run(stream_, [&window] { window.plan.forward(); });
}

Tensor Predictor::scores_of(Window& window) {
  const Tensor scores = window.plan.output();
  if (scores.shape.h == window.shape.h && scores.shape.w == window.shape.w) return scores;
  const Tensor full = window.full_scores(stream_);
  ops_.upsample->bilinear(scores, full);
  return full;
}

void Predictor::find_probabilities(Window& window, const PhotoView& view, int top, int left) {
  const Shape& shape = window.shape;
  const auto classes = static_cast<size_t>(classes_), columns = static_cast<size_t>(shape.w);
  probabilities_.assign(static_cast<size_t>(shape.pixels()) * classes, 0.0f);
  const int passes = options_.flip ? 2 : 1;
  const float weight = 1.0f / static_cast<float>(passes);
  const Tensor logits = window.full_scores(stream_);
  if (window.host_scores.bytes() == 0) {
    window.host_scores = Buffer::host_for(stream_.device(), logits.bytes());
  }
  for (int pass = 0; pass < passes; ++pass) {
    forward(window, view, top, left, pass == 1);
    const Tensor scores = scores_of(window);
    if (scores.data != logits.data) ops_.elementwise->copy(scores, logits, false);
    copy_bytes(stream_, window.host_scores.data(), logits.data, logits.bytes());
    stream_.synchronize();
    const auto* host = reinterpret_cast<const float*>(window.host_scores.data());
    for (size_t row = 0; row < static_cast<size_t>(shape.pixels()); row += columns) {
      for (size_t x = 0; x < columns; ++x) {
        const size_t from = pass == 1 ? columns - 1 - x : x;
        add_softmax(host + (row + from) * classes, classes_, weight,
                    probabilities_.data() + (row + x) * classes);
      }
    }
  }
}

void Predictor::blend_windows(Window& window, const PhotoView& view) {
  const Shape& shape = window.shape;
  const auto classes = static_cast<size_t>(classes_);
  const auto width = static_cast<size_t>(view.width), columns = static_cast<size_t>(shape.w);
  blended_.assign(static_cast<size_t>(view.height) * width * classes, 0.0f);
  for (const int top : window_starts(view.height, shape.h)) {
    for (const int left : window_starts(view.width, shape.w)) {
      find_probabilities(window, view, top, left);
      for (int y = 0; y < std::min(shape.h, view.height - top); ++y) {
        const float* from = probabilities_.data() + static_cast<size_t>(y) * columns * classes;
        float* to = blended_.data() +
                    (static_cast<size_t>(top + y) * width + static_cast<size_t>(left)) * classes;
        for (int x = 0; x < std::min(shape.w, view.width - left); ++x) {
          const float weight = edge_weight(y, shape.h) * edge_weight(x, shape.w);
          for (size_t c = 0; c < classes; ++c) *to++ += weight * *from++;
        }
      }
    }
  }
  to_log_probabilities(blended_, classes);
}

Tensor Predictor::upload_blended(int height, int width) {
  const Shape shape{1, height, width, classes_};
  const size_t bytes = blended_.size() * sizeof(float);
  if (uploaded_.bytes() != bytes) uploaded_ = Buffer(stream_.device(), bytes);
  copy_bytes(stream_, uploaded_.data(), blended_.data(), bytes);
  return {uploaded_.data(), shape, DType::f32, stream_.device()};
}

Tensor Predictor::scores_of_view(const PhotoView& view) {
  Window* const window = window_of(view);
  if (window && !options_.flip) {
    forward(*window, view, 0, 0, false);
    return scores_of(*window);
  }
  blend_windows(window ? *window : *windows_.front(), view);
  return upload_blended(view.height, view.width);
}

void Predictor::average_views(std::span<const PhotoView> views, int out_height, int out_width) {
  const Shape shape{1, out_height, out_width, classes_};
  const auto classes = static_cast<size_t>(classes_);
  const Buffer resized(stream_.device(), static_cast<size_t>(shape.elements()) * sizeof(float));
  const Tensor scores(resized.data(), shape, DType::f32, stream_.device());
  std::vector<float> host(static_cast<size_t>(shape.elements())), sum(host.size());
  const float weight = 1.0f / static_cast<float>(views.size());
  for (const PhotoView& view : views) {
    ops_.upsample->bilinear(scores_of_view(view), scores);
    copy_bytes(stream_, host.data(), scores.data, scores.bytes());
    stream_.synchronize();
    for (size_t i = 0; i < sum.size(); i += classes) {
      add_softmax(host.data() + i, classes_, weight, sum.data() + i);
    }
  }
  blended_ = std::move(sum);
  to_log_probabilities(blended_, classes);
}

Prediction Predictor::finish(const Tensor& scores, int out_height, int out_width,
                             bool keep_scores) {
  const Device device = stream_.device();
  const Shape shape{1, out_height, out_width, classes_};
  const Buffer mask(device, static_cast<size_t>(shape.pixels()));
  const Tensor classes(mask.data(), {1, out_height, out_width, 1}, DType::u8, device);
  Buffer resized;
  if (keep_scores) {
    resized = Buffer(device, static_cast<size_t>(shape.elements()) * 4);
    const Tensor out(resized.data(), shape, DType::f32, device);
    ops_.upsample->bilinear(scores, out);
    ops_.confusion->argmax(out, classes);
  } else if (scores.shape == shape) {
    ops_.confusion->argmax(scores, classes);
  } else {
    ops_.upsample->bilinear_argmax(scores, classes);
  }

  Prediction prediction;
  prediction.height = out_height;
  prediction.width = out_width;
  prediction.classes.resize(mask.bytes());
  copy_bytes(stream_, prediction.classes.data(), mask.data(), mask.bytes());
  if (keep_scores) {
    prediction.scores.resize(static_cast<size_t>(shape.elements()));
    copy_bytes(stream_, prediction.scores.data(), resized.data(), resized.bytes());
  }
  stream_.synchronize();
  return prediction;
}

Prediction Predictor::run(std::span<const PhotoView> views, int out_height, int out_width,
                          bool keep_scores) {
  require(!views.empty(), "a photo has a view");
  require(out_height > 0 && out_width > 0, "sizes are positive");
  for (const PhotoView& view : views) {
    require(view.height > 0 && view.width > 0, "sizes are positive");
    const auto pixels = static_cast<size_t>(view.height) * static_cast<size_t>(view.width);
    require(view.rgb.size() == 3 * pixels, "three bytes a pixel");
  }
  if (views.size() > 1) {
    average_views(views, out_height, out_width);
    return finish(upload_blended(out_height, out_width), out_height, out_width, keep_scores);
  }
  const PhotoView& view = views.front();
  Window* const window = window_of(view);
  // One up-sampling can be done together with the choice of the class, two cannot.
  if (window && !options_.flip && !keep_scores && out_height == view.height &&
      out_width == view.width) {
    forward(*window, view, 0, 0, false);
    return finish(window->plan.output(), out_height, out_width, false);
  }
  return finish(scores_of_view(view), out_height, out_width, keep_scores);
}

Prediction Predictor::run(std::span<const uint8_t> rgb, int height, int width, int out_height,
                          int out_width, bool keep_scores) {
  const PhotoView view{rgb, height, width};
  return run({&view, 1}, out_height, out_width, keep_scores);
}

}  // namespace macadam
