#include "engine/predictor.h"

#include <algorithm>
#include <cmath>

#include "engine/rewrite.h"

namespace macadam {

namespace {

PlanOptions plan_options(const PredictorOptions& options) {
  PlanOptions plan;
  plan.mode = Mode::infer;
  plan.dtype = options.dtype;
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

}  // namespace

Predictor::Predictor(const Graph& graph, Parameters& parameters, Stream& stream, Ops& ops,
                     const PredictorOptions& options)
    : stream_(stream),
      ops_(ops),
      options_(options),
      plan_(without_last_upsampling(graph), parameters, stream, ops, plan_options(options)),
      upload_(plan_, stream, options.normalization),
      window_(plan_.input().shape),
      classes_(plan_.output().shape.c),
      host_window_(Buffer::host_for(stream.device(), static_cast<size_t>(window_.elements()))),
      host_flip_(Buffer::host_for(stream.device(), 1)) {
  require(window_.n == 1, "a predictor's graph takes one image");
  require(graph.shape(graph.output()).h == window_.h && graph.shape(graph.output()).w == window_.w,
          "a predictor's network scores every pixel");
  plan_.pack_weights();
}

void Predictor::forward_window(std::span<const uint8_t> rgb, int height, int width, int top,
                               int left, bool mirrored) {
  auto* out = reinterpret_cast<uint8_t*>(host_window_.data());
  for (int y = 0; y < window_.h; ++y) {
    const uint8_t* row = rgb.data() + static_cast<size_t>(std::min(top + y, height - 1)) *
                                          static_cast<size_t>(width) * 3;
    const int inside = std::min(window_.w, width - left);
    out = std::copy(row + static_cast<size_t>(left) * 3,
                    row + static_cast<size_t>(left + inside) * 3, out);
    const uint8_t* last = row + static_cast<size_t>(width - 1) * 3;
    for (int x = inside; x < window_.w; ++x) out = std::copy(last, last + 3, out);
  }
  *host_flip_.data() = static_cast<std::byte>(mirrored);
  Batch batch;
  batch.n = 1;
  batch.images = Tensor(host_window_.data(), window_, DType::u8);
  batch.flips = reinterpret_cast<const uint8_t*>(host_flip_.data());
  upload_.run(batch);
  forward_.run(stream_, [this] { plan_.forward(); });
}

Tensor Predictor::window_scores() {
  const Shape shape{1, window_.h, window_.w, classes_};
  if (window_scores_.bytes() == 0) {
    window_scores_ = Buffer(stream_.device(), static_cast<size_t>(shape.elements()) * 4);
  }
  return {window_scores_.data(), shape, DType::f32, stream_.device()};
}

Tensor Predictor::scores_of_window() {
  const Tensor scores = plan_.output();
  if (scores.shape.h == window_.h && scores.shape.w == window_.w) return scores;
  const Tensor full = window_scores();
  ops_.upsample->bilinear(scores, full);
  return full;
}

void Predictor::window_probabilities(std::span<const uint8_t> rgb, int height, int width, int top,
                                     int left) {
  const Shape shape{1, window_.h, window_.w, classes_};
  probabilities_.assign(static_cast<size_t>(shape.elements()), 0.0f);
  const int passes = options_.flip ? 2 : 1;
  const float weight = 1.0f / static_cast<float>(passes);
  const Tensor logits = window_scores();
  if (host_logits_.bytes() == 0) {
    host_logits_ = Buffer::host_for(stream_.device(), logits.bytes());
  }
  for (int pass = 0; pass < passes; ++pass) {
    forward_window(rgb, height, width, top, left, pass == 1);
    const Tensor scores = scores_of_window();
    if (scores.data != logits.data) ops_.elementwise->copy(scores, logits, false);
    copy_bytes(stream_, host_logits_.data(), logits.data, logits.bytes());
    stream_.synchronize();
    const auto* host = reinterpret_cast<const float*>(host_logits_.data());
    for (int y = 0; y < shape.h; ++y) {
      for (int x = 0; x < shape.w; ++x) {
        const int from = pass == 1 ? shape.w - 1 - x : x;
        const auto row = static_cast<size_t>(y) * static_cast<size_t>(shape.w);
        add_softmax(
            host + (row + static_cast<size_t>(from)) * static_cast<size_t>(classes_), classes_,
            weight,
            probabilities_.data() + (row + static_cast<size_t>(x)) * static_cast<size_t>(classes_));
      }
    }
  }
}

void Predictor::blend_windows(std::span<const uint8_t> rgb, int height, int width) {
  const auto classes = static_cast<size_t>(classes_);
  blended_.assign(static_cast<size_t>(height) * static_cast<size_t>(width) * classes, 0.0f);
  for (const int top : window_starts(height, window_.h)) {
    for (const int left : window_starts(width, window_.w)) {
      window_probabilities(rgb, height, width, top, left);
      const int rows = std::min(window_.h, height - top),
                columns = std::min(window_.w, width - left);
      for (int y = 0; y < rows; ++y) {
        for (int x = 0; x < columns; ++x) {
          const float weight = edge_weight(y, window_.h) * edge_weight(x, window_.w);
          const float* from =
              probabilities_.data() +
              (static_cast<size_t>(y) * static_cast<size_t>(window_.w) + static_cast<size_t>(x)) *
                  classes;
          float* to = blended_.data() + (static_cast<size_t>(top + y) * static_cast<size_t>(width) +
                                         static_cast<size_t>(left + x)) *
                                            classes;
          for (size_t c = 0; c < classes; ++c) to[c] += weight * from[c];
        }
      }
    }
  }
  // Weighted sums to logarithms of probabilities; the smallest float stands for zero.
  for (size_t p = 0; p < blended_.size(); p += classes) {
    float total = 0;
    for (size_t c = 0; c < classes; ++c) total += blended_[p + c];
    for (size_t c = 0; c < classes; ++c) {
      blended_[p + c] = std::log(std::max(blended_[p + c] / total, 1e-38f));
    }
  }
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

Prediction Predictor::run(std::span<const uint8_t> rgb, int height, int width, int out_height,
                          int out_width, bool keep_scores) {
  require(height > 0 && width > 0 && out_height > 0 && out_width > 0, "sizes are positive");
  require(rgb.size() == static_cast<size_t>(height) * static_cast<size_t>(width) * 3,
          "three bytes a pixel");
  if (height == window_.h && width == window_.w && !options_.flip) {
    forward_window(rgb, height, width, 0, 0, false);
    // One up-sampling can be done together with the choice of the class, two cannot.
    const bool at_once = !keep_scores && out_height == height && out_width == width;
    return finish(at_once ? plan_.output() : scores_of_window(), out_height, out_width,
                  keep_scores);
  }
  blend_windows(rgb, height, width);
  const Buffer uploaded(stream_.device(), blended_.size() * sizeof(float));
  copy_bytes(stream_, uploaded.data(), blended_.data(), uploaded.bytes());
  const Tensor scores(uploaded.data(), {1, height, width, classes_}, DType::f32, stream_.device());
  return finish(scores, out_height, out_width, keep_scores);
}

}  // namespace macadam
