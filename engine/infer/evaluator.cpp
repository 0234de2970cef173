#include "engine/infer/evaluator.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <utility>

#include "base/to_size.h"

namespace macadam {

namespace {

PlanOptions plan_options(const EvaluatorOptions& options) {
  PlanOptions plan;
  plan.mode = Mode::infer;
  plan.dtype = options.dtype;
  plan.loss = options.loss;
  return plan;
}

}  // namespace

Evaluator::Evaluator(const Graph& graph, Parameters& parameters, DeviceContext& context,
                     const EvaluatorOptions& options)
    : context_(context),
      plan_(graph, parameters, context, plan_options(options)),
      upload_(plan_, context.stream, options.normalization),
      term_sums_(options.loss.used().size()) {
  const Shape scores = plan_.output().shape;
  const Device device = context.device();
  const auto pixels = to_size(scores.pixels());
  const auto classes = to_size(scores.c);
  predictions_ = Buffer(device, pixels);
  host_predictions_ = Buffer::host_for(device, pixels);
  counts_ = Buffer(device, classes * classes * sizeof(uint64_t));
  losses_ = Buffer(device, sizeof(LossValues));
  weights_ = Buffer(device, options.class_weights.size() * sizeof(float));
  prediction_ = Tensor(predictions_.data(), {scores.n, scores.h, scores.w, 1}, DType::u8, device);
  if (!options.class_weights.empty()) {
    require(options.class_weights.size() == classes, "one weight a class");
    copy_bytes(context.stream, weights_.data(), options.class_weights.data(), weights_.bytes());
    class_weights_ = Tensor(weights_.data(), {1, 1, 1, scores.c}, DType::f32, device);
  }
  reset();
}

void Evaluator::reset() {
  zero_bytes(context_.stream, counts_.data(), counts_.bytes());
  loss_sum_ = pixel_sum_ = 0;
  std::ranges::fill(term_sums_, 0.0);
  plan_.pack_weights();
  context_.stream.synchronize();
}

void Evaluator::add(const Batch& batch) {
  require(batch.labels.data != nullptr, "an evaluated batch has labels");
  upload_.run(batch);
  scoring_.run(context_.stream, [this] {
    plan_.forward();
    context_.ops.confusion->argmax(plan_.output(), prediction_, {});
    context_.ops.confusion->count(prediction_, plan_.labels(), plan_.output().shape.c,
                                  reinterpret_cast<uint64_t*>(counts_.data()));
    plan_.loss(class_weights_, reinterpret_cast<LossValues*>(losses_.data()));
  });
  LossValues loss;
  copy_bytes(context_.stream, &loss, losses_.data(), sizeof loss);
  context_.stream.synchronize();
  const auto pixels = static_cast<double>(loss.valid_pixels);
  loss_sum_ += static_cast<double>(loss.total) * pixels;
  for (size_t k = 0; k < term_sums_.size(); ++k) {
    term_sums_[k] += static_cast<double>(loss.terms[k]) * pixels;
  }
  pixel_sum_ += pixels;
}

const uint8_t* Evaluator::predictions() {
  copy_bytes(context_.stream, host_predictions_.data(), predictions_.data(), predictions_.bytes());
  context_.stream.synchronize();
  return reinterpret_cast<const uint8_t*>(host_predictions_.data());
}

ConfusionMatrix Evaluator::confusion() {
  const int classes = plan_.output().shape.c;
  std::vector<uint64_t> counts(to_size(classes) * to_size(classes));
  copy_bytes(context_.stream, counts.data(), counts_.data(), counts_.bytes());
  context_.stream.synchronize();
  return ConfusionMatrix(classes, std::move(counts));
}

double Evaluator::mean_loss() const {
  return pixel_sum_ > 0 ? loss_sum_ / pixel_sum_ : std::numeric_limits<double>::quiet_NaN();
}

std::vector<double> Evaluator::mean_terms() const {
  std::vector<double> means;
  for (const double sum : term_sums_) {
    means.push_back(pixel_sum_ > 0 ? sum / pixel_sum_ : std::numeric_limits<double>::quiet_NaN());
  }
  return means;
}

namespace {

/// Sample `k` of a batch whose predicted classes are `predictions`, without its score.
EvaluatedSample sample_of(const Batch& batch, const uint8_t* predictions, int k) {
  const Shape shape = batch.images.shape;
  const auto pixels = to_size(shape.h) * to_size(shape.w), first = to_size(k) * pixels;
  const auto copy = [](const uint8_t* data, size_t bytes) {
    return std::vector<uint8_t>(data, data + bytes);
  };
  return {.sample = batch.samples[to_size(k)],
          .height = shape.h,
          .width = shape.w,
          .rgb = copy(batch.images.as<uint8_t>() + 3 * first, 3 * pixels),
          .labels = copy(batch.labels.as<uint8_t>() + first, pixels),
          .classes = copy(predictions + first, pixels)};
}

/// Mean IoU of one image over the classes that it has, in the labels or in what was predicted.
double mean_iou(std::span<const uint8_t> labels, std::span<const uint8_t> predictions,
                int classes) {
  const size_t row = to_size(classes);
  std::vector<uint64_t> counts(row * row);
  for (size_t i = 0; i < labels.size(); ++i) {
    if (labels[i] < row) ++counts[labels[i] * row + predictions[i]];
  }
  return compute_metrics(ConfusionMatrix(classes, std::move(counts)), AbsentRule::drop)
      .mean_iou()
      .value;
}

/// The samples of the lowest and of the highest score so far.
class Extremes {
 public:
  explicit Extremes(int64_t count) : count_(to_size(count)) {}

  void add(const Batch& batch, const uint8_t* predictions, int classes) {
    const auto pixels = to_size(batch.images.shape.h) * to_size(batch.images.shape.w);
    for (int k = 0; k < batch.n; ++k) {
      const size_t first = to_size(k) * pixels;
      const double iou = mean_iou({batch.labels.as<uint8_t>() + first, pixels},
                                  {predictions + first, pixels}, classes);
      if (std::isnan(iou)) continue;
      const auto make = [&] {
        EvaluatedSample sample = sample_of(batch, predictions, k);
        sample.iou = iou;
        return sample;
      };
      keep(worst_, iou, std::less<>(), make);
      keep(best_, iou, std::greater<>(), make);
    }
  }

  void take(Evaluation& evaluation) {
    // Of a split of few samples, those that are both are the worst.
    std::erase_if(best_, [&](const EvaluatedSample& sample) {
      return std::ranges::find(worst_, sample.sample, &EvaluatedSample::sample) != worst_.end();
    });
    evaluation.worst = std::move(worst_);
    evaluation.best = std::move(best_);
  }

 private:
  /// Into the place that the order gives it, if that is among the first; of equals the earlier.
  template <typename Order, typename Make>
  void keep(std::vector<EvaluatedSample>& list, double iou, Order before, const Make& make) {
    const auto place = std::ranges::upper_bound(list, iou, before, &EvaluatedSample::iou);
    if (place == list.end() && list.size() >= count_) return;
    list.insert(place, make());
    if (list.size() > count_) list.pop_back();
  }

  size_t count_;
  std::vector<EvaluatedSample> worst_, best_;
};

}  // namespace

std::optional<Evaluation> evaluate(Evaluator& evaluator, BatchSource& source, KeptSamples keep,
                                   const std::function<bool(int64_t, int64_t)>& go_on) {
  evaluator.reset();
  std::vector<EvaluatedSample> kept;
  const int64_t batches = source.batches();
  const int64_t every = std::max<int64_t>(1, batches / std::max<int64_t>(keep.spread, 1));
  Extremes extremes(keep.extremes);
  source.start(0, 0);
  for (int64_t i = 0; i < batches; ++i) {
    const Batch& batch = source.next();
    evaluator.add(batch);
    const bool keeps = i % every == 0 && static_cast<int64_t>(kept.size()) < keep.spread;
    if (keeps || keep.extremes > 0) {
      const uint8_t* const predictions = evaluator.predictions();
      if (keeps) kept.push_back(sample_of(batch, predictions, 0));
      if (keep.extremes > 0) {
        extremes.add(batch, predictions, evaluator.plan().output().shape.c);
      }
    }
    if (!go_on(i + 1, batches) && i + 1 < batches) return std::nullopt;
  }
  Evaluation evaluation{evaluator.confusion(),
                        evaluator.mean_loss(),
                        evaluator.mean_terms(),
                        std::move(kept),
                        {},
                        {}};
  extremes.take(evaluation);
  return evaluation;
}

}  // namespace macadam
